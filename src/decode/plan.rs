//! Turns template definitions into plans: which value becomes which field of the record.
//!
//! A log repeats a few definitions a million times. Each is read once, into a plan that gives the
//! same fields as the evtx crate's JSON of an instance, read by [`super::json`]. A definition with
//! parts that are not handled here has no plan.

use super::binxml::Unplannable;
use super::definition::{
    TemplateDefinition, TemplateElement, TemplateFingerprint, TemplateNode, TextSource,
};
use super::interner::Interner;
use crate::model::{FieldName, Str};

/// The most values of an instance. Instances of Windows have some dozens.
const MAX_VALUES: usize = 1024;

/// The fields that instances of a definition give.
#[derive(Debug)]
pub(super) struct TemplatePlan {
    /// The name of the definition's element.
    pub root: Str,
    /// The sources of System's fields, if the element is Event.
    pub system: Option<SystemSources>,
    /// The steps that give the record's data, in the order of its fields.
    pub steps: Vec<DataStep>,
    /// The use of each value.
    pub value_uses: Vec<ValueUse>,
    /// The cost and the identity of the definition.
    pub fingerprint: TemplateFingerprint,
}

impl TemplatePlan {
    /// Makes the plan of a definition.
    pub fn new(
        definition: TemplateDefinition,
        names: &mut Interner,
    ) -> Result<TemplatePlan, Unplannable> {
        let (root, fingerprint) = definition.parse(names)?;
        let name = root.name.clone();
        let plan = TemplatePlan {
            root: name.clone(),
            system: None,
            steps: vec![],
            value_uses: vec![],
            fingerprint,
        };
        let mut planner = TemplatePlanner { plan, root: false };
        if *root.name == *"Event" {
            planner.plan_event(root)?;
        } else {
            planner.root = true;
            planner.plan_element(TemplateElement { dependency: None, ..root }, name)?;
        }
        Ok(planner.plan)
    }
}

/// The use of a value in a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueUse {
    /// Nothing.
    Unused,
    /// The text of an element or attribute.
    Text,
    /// The text of an element. An array repeats the element ([MS-EVEN6] 3.1.4.7.5).
    RepeatedText,
    /// An element's content, a template instance of its own.
    Instance,
}

/// The source of a System field, and the value without which its element is left out.
#[derive(Debug, Clone)]
pub(super) struct SystemSource {
    pub source: TextSource,
    pub dependency: Option<u16>,
}

/// The sources of System's fields.
#[derive(Debug)]
pub(super) struct SystemSources {
    pub provider: SystemSource,
    pub event_id: SystemSource,
    pub level: SystemSource,
    pub keywords: SystemSource,
    pub time: SystemSource,
    pub record_id: SystemSource,
    pub activity_id: SystemSource,
    pub process_id: SystemSource,
    pub thread_id: SystemSource,
    pub channel: SystemSource,
    pub computer: SystemSource,
    pub user_sid: SystemSource,
}

/// A step that gives a part of an instance's data.
#[derive(Debug)]
pub(super) enum DataStep {
    /// Skips the next `steps` if the value is NULL, for an element that depends on it.
    SkipIfNull { value: u16, steps: usize },
    /// Gives a field. The evtx crate numbers the names of elements that an array repeats, but not
    /// those of `Data`.
    Field { name: FieldName, source: TextSource, empty: EmptyElement, numbered: bool },
    /// Gives a field without text if all these values are NULL, for an element whose child elements
    /// are all left out.
    OmittedChildren { dependencies: Vec<u16>, name: FieldName, empty: EmptyElement },
    /// Gives the fields of the instance in this value, unless its element has one of these names.
    Instance { value: u16, forbidden_names: &'static [&'static str] },
}

/// The result of an element without text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EmptyElement {
    /// An empty field.
    Field,
    /// No field: an empty EventData, or an element that has attributes.
    Nothing,
    /// No field if one of these values, its attributes, has content.
    Unless(Box<[u16]>),
}

/// Makes the plan of a definition.
struct TemplatePlanner {
    plan: TemplatePlan,
    /// The next element is the definition's own, which no array repeats.
    root: bool,
}

impl TemplatePlanner {
    /// Plans the record's own element: System, then the data.
    fn plan_event(&mut self, event: TemplateElement) -> Result<(), Unplannable> {
        self.note_attributes(&event.attributes)?;
        let mut seen: Vec<Str> = Vec::new();
        let mut instance = false;
        for node in event.content {
            match node {
                TemplateNode::Element(element) => {
                    let name = element.name.clone();
                    if seen.contains(&name) || instance || seen.is_empty() != (*name == *"System") {
                        return Err(Unplannable("an Event of unusual parts"));
                    }
                    seen.push(name.clone());
                    match &*name {
                        "System" => self.plan.system = Some(self.plan_system(element)?),
                        "RenderingInfo" => return Err(Unplannable("an Event of unusual parts")),
                        _ => self.plan_element(element, name)?,
                    }
                }
                // It comes last and stands only beside System, so that no two members share a name.
                TemplateNode::Value(value, true) if !instance && seen.len() == 1 => {
                    instance = true;
                    self.set_use(value, ValueUse::Instance)?;
                    let forbidden_names = &["System", "RenderingInfo", "Event"];
                    self.plan.steps.push(DataStep::Instance { value, forbidden_names });
                }
                _ => return Err(Unplannable("an Event of unusual parts")),
            }
        }
        if self.plan.system.is_none() {
            return Err(Unplannable("an Event without System"));
        }
        Ok(())
    }

    fn plan_system(&mut self, system: TemplateElement) -> Result<SystemSources, Unplannable> {
        self.note_attributes(&system.attributes)?;
        if system.dependency.is_some() {
            return Err(Unplannable("a System that depends on a value"));
        }
        let mut elements: Vec<TemplateElement> = Vec::new();
        for node in system.content {
            let TemplateNode::Element(element) = node else {
                return Err(Unplannable("a System of unusual parts"));
            };
            self.note_attributes(&element.attributes)?;
            match element.content[..] {
                [] | [TemplateNode::Text(_)] => {}
                [TemplateNode::Value(value, _)] => self.set_use(value, ValueUse::Text)?,
                _ => return Err(Unplannable("a System of unusual parts")),
            }
            if elements.iter().any(|known| known.name == element.name) {
                return Err(Unplannable("a System of unusual parts"));
            }
            elements.push(element);
        }
        if elements.iter().all(|element| element.dependency.is_some()) {
            return Err(Unplannable("a System that may be empty"));
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
                    TemplateNode::Text(text) => Some(TextSource::Fixed(text.clone())),
                    TemplateNode::Value(value, _) => Some(TextSource::Value(*value)),
                    TemplateNode::Element(_) => None,
                }),
            });
            SystemSource {
                source: source.unwrap_or(TextSource::Nothing),
                dependency: found.and_then(|element| element.dependency),
            }
        };
        Ok(SystemSources {
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
    fn plan_element(&mut self, element: TemplateElement, name: Str) -> Result<(), Unplannable> {
        let root = std::mem::take(&mut self.root);
        let guard = self.begin_element(element.dependency);
        let attributes = self.note_attributes(&element.attributes)?;
        let container = is_data_container(&name);
        let empty = if container { EmptyElement::Nothing } else { attributes };
        match element.content[..] {
            [] => self.add_field(name, TextSource::Nothing, empty, true),
            [TemplateNode::Text(ref text)] => {
                self.add_field(name, TextSource::Fixed(text.clone()), empty, true)
            }
            [TemplateNode::Value(value, false)] if !container => {
                // With attributes an empty item would differ from a missing one.
                let plain = !root && empty == EmptyElement::Field;
                self.set_use(value, if plain { ValueUse::RepeatedText } else { ValueUse::Text })?;
                self.add_field(name, TextSource::Value(value), empty, true);
            }
            [TemplateNode::Value(value, true)] if container => {
                self.set_use(value, ValueUse::Instance)?;
                self.plan
                    .steps
                    .push(DataStep::Instance { value, forbidden_names: &["Data", "Event"] });
            }
            _ => self.plan_parent_element(name, element.content, empty)?,
        }
        self.end_element(guard);
        Ok(())
    }

    /// Plans an element that contains elements.
    fn plan_parent_element(
        &mut self,
        name: Str,
        content: Vec<TemplateNode>,
        empty: EmptyElement,
    ) -> Result<(), Unplannable> {
        let container = is_data_container(&name);
        let elements = content.into_iter().map(|node| match node {
            TemplateNode::Element(element) => Ok(element),
            _ => Err(Unplannable("text between elements")),
        });
        let elements: Vec<TemplateElement> = elements.collect::<Result<_, _>>()?;
        let dependencies: Option<Vec<u16>> = elements.iter().map(|one| one.dependency).collect();
        if let Some(dependencies) = dependencies {
            let name = FieldName::new(name);
            self.plan.steps.push(DataStep::OmittedChildren { dependencies, name, empty });
        }
        // The evtx crate numbers names that occur twice, and puts unnamed Data at the place of the
        // first.
        let mut members: Vec<JsonMember> = Vec::new();
        for element in elements {
            let member = if container && *element.name == *"Data" {
                data_name(&element)?.map_or(JsonMember::Data, JsonMember::NamedData)
            } else {
                JsonMember::Element(element.name.clone())
            };
            let unnamed = member == JsonMember::Data;
            let usual = match members.last() {
                Some(JsonMember::Data) if unnamed => true,
                _ => !members.contains(&member),
            };
            // If one Data is named, the evtx crate skips the unnamed ones.
            let mixed = members.iter().any(|known| match known {
                JsonMember::Data => matches!(member, JsonMember::NamedData(_)),
                JsonMember::NamedData(_) => unnamed,
                JsonMember::Element(_) => false,
            });
            if !usual || mixed {
                return Err(Unplannable("elements of one name"));
            }
            match &member {
                JsonMember::Data => self.plan_data_element(&element, element.name.clone())?,
                JsonMember::NamedData(name) => self.plan_data_element(&element, name.clone())?,
                JsonMember::Element(name) => self.plan_element(element, name.clone())?,
            }
            members.push(member);
        }
        Ok(())
    }

    /// Plans a `Data` of EventData or UserData.
    fn plan_data_element(
        &mut self,
        element: &TemplateElement,
        name: Str,
    ) -> Result<(), Unplannable> {
        let guard = self.begin_element(element.dependency);
        self.note_attributes(&element.attributes)?;
        let source = match element.content[..] {
            [] => TextSource::Nothing,
            [TemplateNode::Text(ref text)] => TextSource::Fixed(text.clone()),
            [TemplateNode::Value(value, _)] => {
                self.set_use(value, ValueUse::RepeatedText)?;
                TextSource::Value(value)
            }
            _ => return Err(Unplannable("a Data of several parts")),
        };
        let empty =
            if is_data_container(&name) { EmptyElement::Nothing } else { EmptyElement::Field };
        self.add_field(name, source, empty, false);
        self.end_element(guard);
        Ok(())
    }

    fn add_field(&mut self, name: Str, source: TextSource, empty: EmptyElement, numbered: bool) {
        let name = FieldName::new(name);
        self.plan.steps.push(DataStep::Field { name, source, empty, numbered });
    }

    /// Notes the attributes' values. Returns the result of an element with these attributes when it
    /// is empty.
    fn note_attributes(
        &mut self,
        attributes: &[(Str, TextSource)],
    ) -> Result<EmptyElement, Unplannable> {
        let mut values = Vec::new();
        let mut fixed = false;
        for (_, source) in attributes {
            match source {
                TextSource::Nothing => {}
                TextSource::Fixed(text) => fixed |= !text.is_empty(),
                TextSource::Value(value) => {
                    self.set_use(*value, ValueUse::Text)?;
                    values.push(*value);
                }
            }
        }
        Ok(match values.is_empty() {
            _ if fixed => EmptyElement::Nothing,
            true => EmptyElement::Field,
            false => EmptyElement::Unless(values.into()),
        })
    }

    /// Begins the steps of an element that may depend on a value.
    fn begin_element(&mut self, dependency: Option<u16>) -> Option<usize> {
        let value = dependency?;
        self.plan.steps.push(DataStep::SkipIfNull { value, steps: 0 });
        Some(self.plan.steps.len())
    }

    fn end_element(&mut self, guard: Option<usize>) {
        let Some(first) = guard else { return };
        let after = self.plan.steps.len();
        if let Some(DataStep::SkipIfNull { steps, .. }) = self.plan.steps.get_mut(first - 1) {
            *steps = after - first;
        }
    }

    /// Notes the use of a value. It may have only one: the evtx crate renders a value with two uses
    /// in its own way.
    fn set_use(&mut self, value: u16, value_use: ValueUse) -> Result<(), Unplannable> {
        let index = usize::from(value);
        if index >= MAX_VALUES {
            return Err(Unplannable("a definition of too many values"));
        }
        if index >= self.plan.value_uses.len() {
            self.plan.value_uses.resize(index + 1, ValueUse::Unused);
        }
        match &mut self.plan.value_uses[index] {
            unused @ ValueUse::Unused => *unused = value_use,
            _ => return Err(Unplannable("a value of two uses")),
        }
        Ok(())
    }
}

/// A member of an element's JSON object.
#[derive(PartialEq)]
enum JsonMember {
    Element(Str),
    NamedData(Str),
    /// All unnamed `Data` are one.
    Data,
}

/// Returns whether an element's `Data` children are fields named by their attribute Name. Such an
/// element is not a field when it is empty.
pub(super) fn is_data_container(name: &str) -> bool {
    name == "EventData" || name == "UserData"
}

/// Returns the name of a `Data`, if it has one.
fn data_name(element: &TemplateElement) -> Result<Option<Str>, Unplannable> {
    match element.attributes.iter().find(|(name, _)| **name == *"Name") {
        None => Ok(None),
        Some((_, TextSource::Fixed(name))) if !name.is_empty() && !name.starts_with('#') => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(Unplannable("an unusual name")),
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
        let definition = TemplateDefinition::read_at(&bytes, 16).unwrap();
        let plan = TemplatePlan::new(definition, &mut Interner::default()).unwrap();
        assert_eq!(*plan.root, *"EventData");
        assert_eq!(plan.value_uses, [ValueUse::RepeatedText, ValueUse::RepeatedText]);
        let [first, guard, second] = &plan.steps[..] else { panic!("{:?}", plan.steps) };
        assert!(
            matches!(first, DataStep::Field { name, source: TextSource::Value(0), .. } if name.as_str() == "A")
        );
        assert!(matches!(guard, DataStep::SkipIfNull { value: 1, steps: 1 }));
        assert!(
            matches!(second, DataStep::Field { name, source: TextSource::Value(1), .. } if name.as_str() == "B")
        );
    }

    #[test]
    fn a_definition_is_known_again_elsewhere() {
        let (bytes, moved) = (event_data(16), event_data(48));
        let definition = TemplateDefinition::read_at(&bytes, 16).unwrap();
        let plan = TemplatePlan::new(definition, &mut Interner::default()).unwrap();
        assert!(plan.fingerprint.matches(TemplateDefinition::read_at(&moved, 48).unwrap()));
        // Any other byte, names' letters and offsets too, makes another definition of it; only
        // the offset of the next name in the string table says nothing.
        let mut others = 0;
        for at in 48 + 24..moved.len() {
            let mut other = moved.clone();
            other[at] ^= 0x10;
            others += u32::from(
                !plan.fingerprint.matches(TemplateDefinition::read_at(&other, 48).unwrap()),
            );
        }
        assert_eq!(others as usize, moved.len() - 48 - 24 - 5 * 4);
    }

    #[test]
    fn unusual_definitions_have_no_plan() {
        let plain = event_data(0);
        let plan = |bytes: &[u8]| {
            TemplatePlan::new(TemplateDefinition::read_at(bytes, 0)?, &mut Interner::default())
        };
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
