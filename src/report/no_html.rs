//! A build without HTML makes no page.

use std::io;

use super::Output;
use super::story::Story;
use crate::analysis::Analysis;
use crate::error::Error;
use crate::model::{Command, SessionIdx};

/// The page while it is written: there is none.
pub(super) enum PageWriter {}

/// What the page would show of a session.
pub(super) type Tale = String;

impl PageWriter {
    pub(super) fn begin(_: &Analysis, _: &mut Output) -> Result<PageWriter, Error> {
        Err(Error::NotBuilt { format: "html", feature: "html" })
    }

    pub(super) fn sessions(&self) -> &[SessionIdx] {
        match *self {}
    }

    pub(super) fn tale(&self, _: &Story, _: &[&Command]) -> Tale {
        match *self {}
    }

    pub(super) fn block(&self, _: usize, _: &[Tale]) -> io::Result<String> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &str) -> Result<(), Error> {
        match *self {}
    }

    pub(super) fn end(self) -> Result<(), Error> {
        match self {}
    }
}
