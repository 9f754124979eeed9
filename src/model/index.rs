//! Indices: a type for each kind of thing, so that the index of one cannot be taken for another's,
//! and [`IdxVec`], a vector that is indexed by its own type only.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut};

use rayon::iter::{FromParallelIterator, IntoParallelIterator};
use serde::{Deserialize, Deserializer};

/// An index of one kind of thing.
pub trait Idx: Copy + Ord + fmt::Debug {
    /// The index at a position.
    ///
    /// # Panics
    /// If `position` needs more than 32 bits. No input gets there: what is indexed is held in
    /// memory, at no less than 50 bytes each, and 2^32 of them would be 200 GiB.
    fn new(position: usize) -> Self;

    /// The position it stands for.
    fn index(self) -> usize;

    /// Its number, the most significant byte first: what keys of sorted rows have of it.
    fn to_be_bytes(self) -> [u8; 4] {
        (self.index() as u32).to_be_bytes()
    }
}

/// Declares types of indices. Each is a number of 32 bits, and is serialised as that number.
macro_rules! index_types {
    ($($(#[$attribute:meta])* $visibility:vis $name:ident;)+) => {$(
        $(#[$attribute])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        $visibility struct $name(u32);

        impl $name {
            /// The index at a position.
            ///
            /// # Panics
            /// If `position` needs more than 32 bits, as [`Idx::new`]($crate::index::Idx::new).
            pub const fn new(position: usize) -> $name {
                assert!(position <= u32::MAX as usize, "an index has 32 bits");
                $name(position as u32)
            }

            /// The position it stands for.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl $crate::model::index::Idx for $name {
            fn new(position: usize) -> $name {
                $name::new(position)
            }

            fn index(self) -> usize {
                $name::index(self)
            }
        }
    )+};
}
pub(crate) use index_types;

index_types! {
    /// Index of an input in the run's list.
    #[derive(Default)]
    pub InputIdx;
    /// Index of an event in the case's events.
    #[derive(Default)]
    pub EventIdx;
    /// Index of a session in the case's sessions.
    pub SessionIdx;
    /// Index of a command in the case's commands.
    pub CommandIdx;
    /// Index of a script block in the case's script blocks.
    pub ScriptIdx;
    /// Index of a failed attempt in the case's attempts.
    pub AttemptIdx;
    /// Index of a logging host in the case's hosts.
    pub HostIdx;
    /// Index of a rule in the run's rules.
    pub RuleIdx;
    /// Index of a pack in the run's packs.
    pub PackIdx;
}

/// A vector that is indexed by one type of index only.
///
/// What needs no index, it does as the slice that it derefs to.
pub struct IdxVec<I, T> {
    items: Vec<T>,
    index: PhantomData<fn(I) -> I>,
}

impl<I: Idx, T> IdxVec<I, T> {
    /// An empty vector.
    pub const fn new() -> IdxVec<I, T> {
        IdxVec { items: Vec::new(), index: PhantomData }
    }

    /// Puts an item at the end and gives its index.
    pub fn push(&mut self, item: T) -> I {
        let index = I::new(self.items.len());
        self.items.push(item);
        index
    }

    /// The item at an index, if there is one.
    pub fn get(&self, index: I) -> Option<&T> {
        self.items.get(index.index())
    }

    /// The item at an index, to be changed, if there is one.
    pub fn get_mut(&mut self, index: I) -> Option<&mut T> {
        self.items.get_mut(index.index())
    }

    /// All indices, in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.items.len()).map(I::new)
    }

    /// The items with their indices, in order.
    pub fn iter_enumerated(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        self.items.iter().enumerate().map(|(position, item)| (I::new(position), item))
    }

    /// The items with their indices, in order, to be changed.
    pub fn iter_mut_enumerated(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = (I, &mut T)> + ExactSizeIterator {
        self.items.iter_mut().enumerate().map(|(position, item)| (I::new(position), item))
    }

    /// The items with their indices, in order, by value.
    pub fn into_iter_enumerated(
        self,
    ) -> impl DoubleEndedIterator<Item = (I, T)> + ExactSizeIterator {
        self.items.into_iter().enumerate().map(|(position, item)| (I::new(position), item))
    }

    /// The items before an index with theirs, in order.
    pub fn enumerated_before(
        &self,
        end: I,
    ) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        let before = self.items[..end.index()].iter().enumerate();
        before.map(|(position, item)| (I::new(position), item))
    }

    /// The index of the first item that does not fit, where all that fit come first; one past the
    /// end where all do.
    pub fn partition_index(&self, fits: impl FnMut(&T) -> bool) -> I {
        I::new(self.items.partition_point(fits))
    }

    /// The index of the first item that fits.
    pub fn find_index(&self, fits: impl FnMut(&T) -> bool) -> Option<I> {
        self.items.iter().position(fits).map(I::new)
    }

    /// Keeps the items that fit. All indices of items after the first that does not fit change.
    pub fn retain(&mut self, fits: impl FnMut(&T) -> bool) {
        self.items.retain(fits);
    }

    /// The items as a slice.
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }

    /// The items as a slice, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items
    }

    /// The items as a plain vector.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<I, T> Default for IdxVec<I, T> {
    fn default() -> IdxVec<I, T> {
        IdxVec { items: Vec::new(), index: PhantomData }
    }
}

impl<I, T: Clone> Clone for IdxVec<I, T> {
    fn clone(&self) -> IdxVec<I, T> {
        IdxVec { items: self.items.clone(), index: PhantomData }
    }
}

impl<I, T: fmt::Debug> fmt::Debug for IdxVec<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}

impl<I, T: PartialEq> PartialEq for IdxVec<I, T> {
    fn eq(&self, other: &IdxVec<I, T>) -> bool {
        self.items == other.items
    }
}

impl<I: Idx, T> Index<I> for IdxVec<I, T> {
    type Output = T;

    fn index(&self, index: I) -> &T {
        &self.items[index.index()]
    }
}

impl<I: Idx, T> IndexMut<I> for IdxVec<I, T> {
    fn index_mut(&mut self, index: I) -> &mut T {
        &mut self.items[index.index()]
    }
}

impl<I, T> Deref for IdxVec<I, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<I, T> DerefMut for IdxVec<I, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<I, T> From<Vec<T>> for IdxVec<I, T> {
    fn from(items: Vec<T>) -> IdxVec<I, T> {
        IdxVec { items, index: PhantomData }
    }
}

impl<'de, I, T: Deserialize<'de>> Deserialize<'de> for IdxVec<I, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<IdxVec<I, T>, D::Error> {
        Vec::deserialize(from).map(Into::into)
    }
}

impl<I, T> FromIterator<T> for IdxVec<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> IdxVec<I, T> {
        Vec::from_iter(items).into()
    }
}

impl<I, T: Send> FromParallelIterator<T> for IdxVec<I, T> {
    fn from_par_iter<A: IntoParallelIterator<Item = T>>(items: A) -> IdxVec<I, T> {
        Vec::from_par_iter(items).into()
    }
}

impl<I, T> Extend<T> for IdxVec<I, T> {
    fn extend<A: IntoIterator<Item = T>>(&mut self, items: A) {
        self.items.extend(items);
    }
}

impl<I, T> IntoIterator for IdxVec<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'v, I, T> IntoIterator for &'v IdxVec<I, T> {
    type Item = &'v T;
    type IntoIter = std::slice::Iter<'v, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<'v, I, T> IntoIterator for &'v mut IdxVec<I, T> {
    type Item = &'v mut T;
    type IntoIter = std::slice::IterMut<'v, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_by_the_index_that_push_gave() {
        let mut items: IdxVec<SessionIdx, &str> = IdxVec::new();
        let first = items.push("a");
        let second = items.push("b");
        assert_eq!((items[first], items[second]), ("a", "b"));
        assert_eq!(items.get(SessionIdx::new(2)), None);
        assert_eq!(items.iter_enumerated().collect::<Vec<_>>(), [(first, &"a"), (second, &"b")]);
        assert_eq!(items.indices().collect::<Vec<_>>(), [first, second]);
    }

    #[test]
    fn an_index_is_serialised_as_a_bare_number() {
        let index = RuleIdx::new(300);
        assert_eq!(serde_json::to_string(&index).unwrap(), "300");
        assert_eq!(serde_json::from_str::<RuleIdx>("300").unwrap(), index);
        assert_eq!(
            postcard::to_stdvec(&vec![index]).unwrap(),
            postcard::to_stdvec(&vec![300_usize]).unwrap()
        );
    }

    #[test]
    #[should_panic(expected = "an index has 32 bits")]
    #[cfg(target_pointer_width = "64")]
    fn more_than_32_bits_are_refused() {
        EventIdx::new(1 << 32);
    }
}
