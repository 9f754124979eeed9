//! The values of rows, as the stages give them to whoever writes rows: whole texts, times, numbers,
//! lists. A value is never escaped, cut or joined here: writers do that.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::pointers::Pointers;
use super::texts::{SharedText, TextIdx};
use crate::table::Column;

/// The value of a row in a column.
///
/// Those that cannot be kept for later come last: serde numbers variants without those it skips when it
/// reads, and with them when it writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value<'v> {
    /// Nothing is known, or there is nothing.
    Null,
    /// A text, whole and as logged.
    #[serde(borrow)]
    Text(Cow<'v, str>),
    /// A time, UTC.
    Time(DateTime<Utc>),
    /// A whole number.
    Integer(u64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// Something that a row has or has not: a cell is empty where it has not.
    Flag(bool),
    /// Texts, in order.
    Texts(Vec<Cow<'v, str>>),
    /// Pointers to records, in order.
    #[serde(skip)]
    Records(Pointers<'v>),
    /// A text that many rows have, with its number.
    #[serde(skip)]
    Shared(TextIdx, &'v str),
    /// A text of which a cell shows less: the whole, and what a cell shows.
    #[serde(skip)]
    Excerpt {
        /// The whole text.
        whole: Cow<'v, str>,
        /// What a cell shows of it.
        shown: Cow<'v, str>,
    },
}

/// A row of a table. `row!` declares both its columns and its values, so that
/// they cannot differ.
pub trait Row {
    /// The columns.
    const COLUMNS: &'static [Column];

    /// Gives each value to `to`, in the order of the columns.
    fn values(&self, to: &mut impl Values);
}

/// Takes the values of rows.
pub trait Values {
    /// Takes the next value of a row.
    fn put(&mut self, value: Value<'_>);
}

/// Declares a row type's columns once: name, type, description and how a row gives its value.
///
/// ```text
/// row! { Host<'_> as host:
///     "host": Text = &host.name => "the host's name",
///     "clock_pairs": Integer = host.pairs => "pairs of records that agree on its clock",
/// }
/// ```
macro_rules! row {
    ($type:ty as $row:ident:
        $($name:literal: $kind:ident = $value:expr => $description:literal),+ $(,)?) => {
        impl $crate::rows::Row for $type {
            const COLUMNS: &'static [$crate::table::Column] = &[
                $($crate::table::Column {
                    name: $name,
                    kind: $crate::table::Kind::$kind,
                    description: $description,
                }),+
            ];

            fn values(&self, to: &mut impl $crate::rows::Values) {
                let $row = self;
                $(to.put($crate::rows::value::of::$kind($value));)+
            }
        }
    };
}
pub(crate) use row;

/// A value of each type: what a column is declared as is what its rows have.
#[expect(non_snake_case, reason = "the functions are named as the types of columns")]
pub(crate) mod of {
    use super::{ToBoolean, ToInteger, ToNumber, ToText, ToTexts, ToTime, Value};

    pub(crate) fn Text<'v>(value: impl ToText<'v>) -> Value<'v> {
        value.value()
    }

    pub(crate) fn Time<'v>(value: impl ToTime) -> Value<'v> {
        value.time().map_or(Value::Null, Value::Time)
    }

    pub(crate) fn Integer<'v>(value: impl ToInteger) -> Value<'v> {
        value.integer().map_or(Value::Null, Value::Integer)
    }

    pub(crate) fn Number<'v>(value: impl ToNumber) -> Value<'v> {
        value.number().map_or(Value::Null, Value::Number)
    }

    pub(crate) fn Boolean<'v>(value: impl ToBoolean) -> Value<'v> {
        value.value()
    }

    pub(crate) fn Texts<'v>(value: impl ToTexts<'v>) -> Value<'v> {
        value.value()
    }
}

/// What a column of texts takes. An empty text is no value.
pub(crate) trait ToText<'v> {
    fn value(self) -> Value<'v>;
}

impl<'v> ToText<'v> for Cow<'v, str> {
    fn value(self) -> Value<'v> {
        if self.is_empty() { Value::Null } else { Value::Text(self) }
    }
}

impl<'v> ToText<'v> for &'v str {
    fn value(self) -> Value<'v> {
        Cow::Borrowed(self).value()
    }
}

impl<'v> ToText<'v> for String {
    fn value(self) -> Value<'v> {
        Cow::<str>::Owned(self).value()
    }
}

impl<'v> ToText<'v> for SharedText<'v> {
    fn value(self) -> Value<'v> {
        match self {
            SharedText::Own(text) => text.value(),
            SharedText::Shared(_, "") => Value::Null,
            SharedText::Shared(index, text) => Value::Shared(index, text),
        }
    }
}

/// A text of which a cell shows less.
pub(crate) struct Excerpt<'v> {
    pub whole: Cow<'v, str>,
    pub shown: Cow<'v, str>,
}

impl<'v> ToText<'v> for Excerpt<'v> {
    fn value(self) -> Value<'v> {
        let Excerpt { whole, shown } = self;
        if whole.is_empty() { Value::Null } else { Value::Excerpt { whole, shown } }
    }
}

impl<'v, T: ToText<'v>> ToText<'v> for Option<T> {
    fn value(self) -> Value<'v> {
        self.map_or(Value::Null, ToText::value)
    }
}

/// What a column of times takes.
pub(crate) trait ToTime {
    fn time(self) -> Option<DateTime<Utc>>;
}

impl ToTime for DateTime<Utc> {
    fn time(self) -> Option<DateTime<Utc>> {
        Some(self)
    }
}

impl ToTime for Option<DateTime<Utc>> {
    fn time(self) -> Option<DateTime<Utc>> {
        self
    }
}

/// What a column of whole numbers takes.
pub(crate) trait ToInteger {
    fn integer(self) -> Option<u64>;
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl ToInteger for $type {
            fn integer(self) -> Option<u64> {
                // No type here is wider than 64 bits.
                Some(self as u64)
            }
        }
    )+};
}
integers!(u32, u64, usize);

impl<T: ToInteger> ToInteger for Option<T> {
    fn integer(self) -> Option<u64> {
        self.and_then(ToInteger::integer)
    }
}

/// What a column of numbers takes.
pub(crate) trait ToNumber {
    fn number(self) -> Option<f64>;
}

impl ToNumber for Option<f64> {
    fn number(self) -> Option<f64> {
        self
    }
}

/// What a column of booleans takes.
pub(crate) trait ToBoolean {
    fn value<'v>(self) -> Value<'v>;
}

impl ToBoolean for Option<bool> {
    fn value<'v>(self) -> Value<'v> {
        self.map_or(Value::Null, Value::Boolean)
    }
}

/// Something that a row has or has not.
pub(crate) struct Flag(pub bool);

impl ToBoolean for Flag {
    fn value<'v>(self) -> Value<'v> {
        Value::Flag(self.0)
    }
}

/// What a column of lists takes. An empty list is no value.
pub(crate) trait ToTexts<'v> {
    fn value(self) -> Value<'v>;
}

impl<'v, T: Into<Cow<'v, str>>> ToTexts<'v> for Vec<T> {
    fn value(self) -> Value<'v> {
        if self.is_empty() {
            return Value::Null;
        }
        Value::Texts(self.into_iter().map(Into::into).collect())
    }
}

impl<'v> ToTexts<'v> for Pointers<'v> {
    fn value(self) -> Value<'v> {
        if self.is_empty() { Value::Null } else { Value::Records(self) }
    }
}
