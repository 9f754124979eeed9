//! Turns template definitions into plans: which value becomes which field of the record.
//!
//! A log repeats a few definitions a million times. Each is read once, into a plan that gives the
//! same fields as the evtx crate's JSON of an instance, read by [`super::json`]. A definition with
//! parts that are not handled here has no plan.

use super::binxml::Odd;
use super::definition::{Definition, Element, Imprint, Node, Source};
use super::interner::Interner;
use crate::model::{FieldName, Str};

/// The most values of an instance. Instances of Windows have some dozens.
const MAX_VALUES: usize = 1024;

/// The fields that instances of a definition give.
#[derive(Debug)]
pub(super) struct Plan {
    /// The name of the definition's element.
    pub root: Str,
    /// The sources of System's fields, if the element is Event.
    pub system: Option<System>,
    /// The steps that give the record's data, in the order of its fields.
    pub steps: Vec<Step>,
    /// The use of each value.
    pub roles: Vec<Role>,
    /// The cost and the identity of the definition.
    pub imprint: Imprint,
}

impl Plan {
    /// Makes the plan of a definition.
    pub fn new(definition: Definition, names: &mut Interner) -> Result<Plan, Odd> {
        let (root, imprint) = definition.read(names)?;
        let name = root.name.clone();
        let plan = Plan { root: name.clone(), system: None, steps: vec![], roles: vec![], imprint };
        let mut planner = Planner { plan, root: false };
        if *root.name == *"Event" {
            planner.event(root)?;
        } else {
            planner.root = true;
            planner.element(Element { dependency: None, ..root }, name)?;
        }
        Ok(planner.plan)
    }
}

/// The use of a value in a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Unused,
    /// The text of an element or attribute.
    Text,
    /// The text of an element. An array repeats the element ([MS-EVEN6] 3.1.4.7.5).
    Items,
    /// An element's content, a template instance of its own.
    Instance,
}

/// The source of a System field, and the value without which its element is left out.
#[derive(Debug, Clone)]
pub(super) struct SystemField {
    pub source: Source,
    pub dependency: Option<u16>,
}

/// The sources of System's fields.
#[derive(Debug)]
pub(super) struct System {
    pub provider: SystemField,
    pub event_id: SystemField,
    pub level: SystemField,
    pub keywords: SystemField,
    pub time: SystemField,
    pub record_id: SystemField,
    pub activity_id: SystemField,
    pub process_id: SystemField,
    pub thread_id: SystemField,
    pub channel: SystemField,
    pub computer: SystemField,
    pub user_sid: SystemField,
}

/// A step that gives a part of an instance's data.
#[derive(Debug)]
pub(super) enum Step {
    /// Skips the next `steps` if the value is NULL, for an element that depends on it.
    Depends { value: u16, steps: usize },
    /// Gives a field. The evtx crate numbers the names of elements that an array repeats, but not
    /// those of `Data`.
    Field { name: FieldName, source: Source, empty: Empty, numbered: bool },
    /// Gives a field without text if all these values are NULL, for an element whose child elements
    /// are all left out.
    Left { dependencies: Vec<u16>, name: FieldName, empty: Empty },
    /// Gives the fields of the instance in this value, unless its element has one of these names.
    Instance { value: u16, barred: &'static [&'static str] },
}

/// The result of an element without text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Empty {
    /// An empty field.
    Field,
    /// No field: an empty EventData, or an element that has attributes.
    Nothing,
    /// No field if one of these values, its attributes, has content.
    Unless(Box<[u16]>),
}

/// Makes the plan of a definition.
struct Planner {
    plan: Plan,
    /// The next element is the definition's own, which no array repeats.
    root: bool,
}

impl Planner {
    /// Plans the record's own element: System, then the data.
    fn event(&mut self, event: Element) -> Result<(), Odd> {
        self.attributes(&event.attributes)?;
        let mut seen: Vec<Str> = Vec::new();
        let mut instance = false;
        for node in event.content {
            match node {
                Node::Element(element) => {
                    let name = element.name.clone();
                    if seen.contains(&name) || instance || seen.is_empty() != (*name == *"System") {
                        return Err(Odd("an Event of unusual parts"));
                    }
                    seen.push(name.clone());
                    match &*name {
                        "System" => self.plan.system = Some(self.system(element)?),
                        "RenderingInfo" => return Err(Odd("an Event of unusual parts")),
                        _ => self.element(element, name)?,
                    }
                }
                // It comes last and stands only beside System, so that no two members share a name.
                Node::Value(value, true) if !instance && seen.len() == 1 => {
                    instance = true;
                    self.role(value, Role::Instance)?;
                    let barred = &["System", "RenderingInfo", "Event"];
                    self.plan.steps.push(Step::Instance { value, barred });
                }
                _ => return Err(Odd("an Event of unusual parts")),
            }
        }
        if self.plan.system.is_none() {
            return Err(Odd("an Event without System"));
        }
        Ok(())
    }

    fn system(&mut self, system: Element) -> Result<System, Odd> {
        self.attributes(&system.attributes)?;
        if system.dependency.is_some() {
            return Err(Odd("a System that depends on a value"));
        }
        let mut elements: Vec<Element> = Vec::new();
        for node in system.content {
            let Node::Element(element) = node else { return Err(Odd("a System of unusual parts")) };
            self.attributes(&element.attributes)?;
            match element.content[..] {
                [] | [Node::Text(_)] => {}
                [Node::Value(value, _)] => self.role(value, Role::Text)?,
                _ => return Err(Odd("a System of unusual parts")),
            }
            if elements.iter().any(|known| known.name == element.name) {
                return Err(Odd("a System of unusual parts"));
            }
            elements.push(element);
        }
        if elements.iter().all(|element| element.dependency.is_some()) {
            return Err(Odd("a System that may be empty"));
        }
        // A field is an attribute's value, or without one the element's text.
        let field = |element: &str, attribute: Option<&str>| {
            let found = elements.iter().find(|known| *known.name == *element);
            let source = found.and_then(|element| match attribute {
                Some(name) => {
                    let known = element.attributes.iter().find(|(known, _)| **known == *name);
                    known.map(|(_, source)| source.clone())
                }
                None => element.content.first().and_then(|node| match node {
                    Node::Text(text) => Some(Source::Fixed(text.clone())),
                    Node::Value(value, _) => Some(Source::Value(*value)),
                    Node::Element(_) => None,
                }),
            });
            SystemField {
                source: source.unwrap_or(Source::Nothing),
                dependency: found.and_then(|element| element.dependency),
            }
        };
        Ok(System {
            provider: field("Provider", Some("Name")),
            event_id: field("EventID", None),
            level: field("Level", None),
            keywords: field("Keywords", None),
            time: field("TimeCreated", Some("SystemTime")),
            record_id: field("EventRecordID", None),
            activity_id: field("Correlation", Some("ActivityID")),
            process_id: field("Execution", Some("ProcessID")),
            thread_id: field("Execution", Some("ThreadID")),
            channel: field("Channel", None),
            computer: field("Computer", None),
            user_sid: field("Security", Some("UserID")),
        })
    }

    /// Plans an element of the data, under the name of its JSON member.
    fn element(&mut self, element: Element, name: Str) -> Result<(), Odd> {
        let root = std::mem::take(&mut self.root);
        let guard = self.open(element.dependency);
        let attributes = self.attributes(&element.attributes)?;
        let container = is_container(&name);
        let empty = if container { Empty::Nothing } else { attributes };
        match element.content[..] {
            [] => self.field(name, Source::Nothing, empty, true),
            [Node::Text(ref text)] => self.field(name, Source::Fixed(text.clone()), empty, true),
            [Node::Value(value, false)] if !container => {
                // With attributes an empty item would differ from a missing one.
                let plain = !root && empty == Empty::Field;
                self.role(value, if plain { Role::Items } else { Role::Text })?;
                self.field(name, Source::Value(value), empty, true);
            }
            [Node::Value(value, true)] if container => {
                self.role(value, Role::Instance)?;
                self.plan.steps.push(Step::Instance { value, barred: &["Data", "Event"] });
            }
            _ => self.object(name, element.content, empty)?,
        }
        self.close(guard);
        Ok(())
    }

    /// Plans an element that contains elements.
    fn object(&mut self, name: Str, content: Vec<Node>, empty: Empty) -> Result<(), Odd> {
        let container = is_container(&name);
        let elements = content.into_iter().map(|node| match node {
            Node::Element(element) => Ok(element),
            _ => Err(Odd("text between elements")),
        });
        let elements: Vec<Element> = elements.collect::<Result<_, _>>()?;
        let dependencies: Option<Vec<u16>> = elements.iter().map(|one| one.dependency).collect();
        if let Some(dependencies) = dependencies {
            let name = FieldName::new(name);
            self.plan.steps.push(Step::Left { dependencies, name, empty });
        }
        // The evtx crate numbers names that occur twice, and puts unnamed Data at the place of the
        // first.
        let mut members: Vec<Member> = Vec::new();
        for element in elements {
            let member = if container && *element.name == *"Data" {
                data_name(&element)?.map_or(Member::Data, Member::NamedData)
            } else {
                Member::Element(element.name.clone())
            };
            let unnamed = member == Member::Data;
            let usual = match members.last() {
                Some(Member::Data) if unnamed => true,
                _ => !members.contains(&member),
            };
            // If one Data is named, the evtx crate skips the unnamed ones.
            let mixed = members.iter().any(|known| match known {
                Member::Data => matches!(member, Member::NamedData(_)),
                Member::NamedData(_) => unnamed,
                Member::Element(_) => false,
            });
            if !usual || mixed {
                return Err(Odd("elements of one name"));
            }
            match &member {
                Member::Data => self.data(&element, element.name.clone())?,
                Member::NamedData(name) => self.data(&element, name.clone())?,
                Member::Element(name) => self.element(element, name.clone())?,
            }
            members.push(member);
        }
        Ok(())
    }

    /// Plans a `Data` of EventData or UserData.
    fn data(&mut self, element: &Element, name: Str) -> Result<(), Odd> {
        let guard = self.open(element.dependency);
        self.attributes(&element.attributes)?;
        let source = match element.content[..] {
            [] => Source::Nothing,
            [Node::Text(ref text)] => Source::Fixed(text.clone()),
            [Node::Value(value, _)] => {
                self.role(value, Role::Items)?;
                Source::Value(value)
            }
            _ => return Err(Odd("a Data of several parts")),
        };
        let empty = if is_container(&name) { Empty::Nothing } else { Empty::Field };
        self.field(name, source, empty, false);
        self.close(guard);
        Ok(())
    }

    fn field(&mut self, name: Str, source: Source, empty: Empty, numbered: bool) {
        let name = FieldName::new(name);
        self.plan.steps.push(Step::Field { name, source, empty, numbered });
    }

    /// Notes the attributes' values. Returns the result of an element with these attributes when it
    /// is empty.
    fn attributes(&mut self, attributes: &[(Str, Source)]) -> Result<Empty, Odd> {
        let mut values = Vec::new();
        let mut fixed = false;
        for (_, source) in attributes {
            match source {
                Source::Nothing => {}
                Source::Fixed(text) => fixed |= !text.is_empty(),
                Source::Value(value) => {
                    self.role(*value, Role::Text)?;
                    values.push(*value);
                }
            }
        }
        Ok(match values.is_empty() {
            _ if fixed => Empty::Nothing,
            true => Empty::Field,
            false => Empty::Unless(values.into()),
        })
    }

    /// Begins the steps of an element that may depend on a value.
    fn open(&mut self, dependency: Option<u16>) -> Option<usize> {
        let value = dependency?;
        self.plan.steps.push(Step::Depends { value, steps: 0 });
        Some(self.plan.steps.len())
    }

    fn close(&mut self, guard: Option<usize>) {
        let Some(first) = guard else { return };
        let after = self.plan.steps.len();
        if let Some(Step::Depends { steps, .. }) = self.plan.steps.get_mut(first - 1) {
            *steps = after - first;
        }
    }

    /// Notes the use of a value. It may have only one: the evtx crate renders a value with two uses
    /// in its own way.
    fn role(&mut self, value: u16, role: Role) -> Result<(), Odd> {
        let index = usize::from(value);
        if index >= MAX_VALUES {
            return Err(Odd("a definition of too many values"));
        }
        if index >= self.plan.roles.len() {
            self.plan.roles.resize(index + 1, Role::Unused);
        }
        match &mut self.plan.roles[index] {
            unused @ Role::Unused => *unused = role,
            _ => return Err(Odd("a value of two uses")),
        }
        Ok(())
    }
}

/// A member of an element's JSON object.
#[derive(PartialEq)]
enum Member {
    Element(Str),
    NamedData(Str),
    /// All unnamed `Data` are one.
    Data,
}

/// Returns whether an element's `Data` children are fields named by their attribute Name. Such an
/// element is not a field when it is empty.
pub(super) fn is_container(name: &str) -> bool {
    name == "EventData" || name == "UserData"
}

/// Returns the name of a `Data`, if it has one.
fn data_name(element: &Element) -> Result<Option<Str>, Odd> {
    match element.attributes.iter().find(|(name, _)| **name == *"Name") {
        None => Ok(None),
        Some((_, Source::Fixed(name))) if !name.is_empty() && !name.starts_with('#') => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(Odd("an unusual name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that stands right behind its offset, `at` of the chunk.
    fn name(bytes: &mut Vec<u8>, name: &str) {
        let here = bytes.len() as u32 + 4;
        bytes.extend(here.to_le_bytes());
        // No next name, no hash, the length, the name, a NUL.
        bytes.extend([0; 6]);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    }

    /// `<EventData><Data Name="A">%0</Data><Data Name="B">%1</Data></EventData>` after `before`
    /// other bytes; the second Data depends on its value.
    fn event_data(before: usize) -> Vec<u8> {
        let mut bytes = vec![0; before];
        bytes.extend([0; 24]);
        bytes.extend([0x0f, 1, 1, 0]);
        // Open: no dependency, size, name; close the start.
        bytes.extend([0x01, 0xff, 0xff, 0, 0, 0, 0]);
        name(&mut bytes, "EventData");
        bytes.push(0x02);
        for (value, dependency, text) in [(0, 0xff, b'A'), (1, 0, b'B')] {
            // Open with attributes: dependency, size, name, size of the attributes.
            let dependency = if dependency == 0 { [value, 0] } else { [0xff, 0xff] };
            bytes.extend([0x41, dependency[0], dependency[1], 0, 0, 0, 0]);
            name(&mut bytes, "Data");
            bytes.extend([0; 4]);
            bytes.push(0x06);
            name(&mut bytes, "Name");
            // Text of one character; close the start; an optional string; close the element.
            bytes.extend([0x05, 0x01, 1, 0, text, 0, 0x02, 0x0e, value, 0, 0x01, 0x04]);
        }
        // Close the element; the end.
        bytes.extend([0x04, 0x00]);
        let size = (bytes.len() - before - 24) as u32;
        bytes[before + 20..before + 24].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn data_becomes_fields_by_name() {
        let bytes = event_data(16);
        let definition = Definition::at(&bytes, 16).unwrap();
        let plan = Plan::new(definition, &mut Interner::default()).unwrap();
        assert_eq!(*plan.root, *"EventData");
        assert_eq!(plan.roles, [Role::Items, Role::Items]);
        let [first, guard, second] = &plan.steps[..] else { panic!("{:?}", plan.steps) };
        assert!(
            matches!(first, Step::Field { name, source: Source::Value(0), .. } if name.as_str() == "A")
        );
        assert!(matches!(guard, Step::Depends { value: 1, steps: 1 }));
        assert!(
            matches!(second, Step::Field { name, source: Source::Value(1), .. } if name.as_str() == "B")
        );
    }

    #[test]
    fn a_definition_is_known_again_elsewhere() {
        let (bytes, moved) = (event_data(16), event_data(48));
        let definition = Definition::at(&bytes, 16).unwrap();
        let plan = Plan::new(definition, &mut Interner::default()).unwrap();
        assert!(plan.imprint.is_of(Definition::at(&moved, 48).unwrap()));
        // Any other byte, names' letters and offsets too, makes another definition of it; only
        // the offset of the next name in the string table says nothing.
        let mut others = 0;
        for at in 48 + 24..moved.len() {
            let mut other = moved.clone();
            other[at] ^= 0x10;
            others += u32::from(!plan.imprint.is_of(Definition::at(&other, 48).unwrap()));
        }
        assert_eq!(others as usize, moved.len() - 48 - 24 - 5 * 4);
    }

    #[test]
    fn unusual_definitions_have_no_plan() {
        let plain = event_data(0);
        let plan = |bytes: &[u8]| Plan::new(Definition::at(bytes, 0)?, &mut Interner::default());
        assert!(plan(&plain).is_ok());
        for length in 0..plain.len() {
            assert!(plan(&plain[..length]).is_err());
        }
        // Both Data of one name, which the crate numbers; both of one value.
        for (from, to) in
            [(b"\x05\x01\x01\0B", b"\x05\x01\x01\0A"), (b"\x02\x0e\x01\0\x01", b"\x02\x0e\0\0\x01")]
        {
            let at = plain.windows(5).position(|bytes| bytes == from).unwrap();
            let mut unusual = plain.clone();
            unusual[at..at + 5].copy_from_slice(to);
            assert!(plan(&unusual).is_err());
        }
    }
}
