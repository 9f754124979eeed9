//! Facts that a record shows of a session, and the facts that all remaining records show together.

use std::ops::BitOr;

use crate::clock::Ticks;

/// A set of facts that a record shows of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts(u64);

macro_rules! facts {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Bit { $($name),* }
        impl Facts {
            $($(#[doc = $doc])* pub(crate) const $name: Facts = Facts(1 << Bit::$name as u64);)*
        }
    };
}

facts! {
    /// The target's logs show that there was a session.
    SERVER
    /// The client's logs show that there was a session.
    CLIENT
    /// There may have been a session.
    HINT
    /// Its start on this machine.
    START
    /// Its end: engine stopped, host process gone, own logon ended, client closed.
    ENGINE_STOPPED
    PROCESS_EXITED
    LOGOFF
    CLIENT_CLOSED
    SOURCE_HOST
    SOURCE_IP
    /// The target's own name, as the client knew it.
    TARGET
    USER
    SID
    AUTH
    TRANSPORT
    KIND
    CONFIGURATION
    /// The id of its own logon, as its own.
    LOGON
    PROCESS
    RUNSPACE
    /// An engine's pipe, with nothing that ties its process to the session but the time.
    PIPE
    /// The process at the client that holds the session.
    CLIENT_PROCESS
    /// The place of the client's process in a process tree.
    CLIENT_TREE
    /// Its own logon: who and how, for whoever can tell that it is its own.
    OWN_LOGON
    /// Kerberos from an address, for whoever can tell that it is this session.
    TICKET
    /// NTLM from a workstation, likewise.
    NTLM
    /// Belongs to it by a key, so that it is no later than the end.
    KEYED
    /// The client's own record of a connection or of credentials that names the target by an
    /// address: for whoever can tell whose that is.
    OUTBOUND
    CREDENTIALS
    /// A domain controller has a part in it.
    CONTROLLER
}

impl Facts {
    pub(crate) const NONE: Facts = Facts(0);

    pub(crate) const fn when(self, condition: bool) -> Facts {
        if condition { self } else { Facts::NONE }
    }

    pub(crate) const fn has(self, other: Facts) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Facts {
    type Output = Facts;

    fn bitor(self, other: Facts) -> Facts {
        Facts(self.0 | other.0)
    }
}

/// The facts that the remaining records show of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggedFacts {
    pub facts: Facts,
    /// Its start, as the target logged it; by its first keyed record where that is lost.
    pub server_start: Option<Ticks>,
    pub client_start: Option<Ticks>,
    first_keyed: Option<Ticks>,
    pub last_keyed: Option<Ticks>,
    pub engine_stopped: Option<Ticks>,
    pub process_exited: Option<Ticks>,
    pub logoff: Option<Ticks>,
    pub client_closed: Option<Ticks>,
}

impl LoggedFacts {
    /// Adds the facts of a record whose time is `time`.
    pub(crate) fn add_facts(&mut self, facts: Facts, time: Ticks) {
        self.facts = self.facts | facts;
        let earliest = |slot: &mut Option<Ticks>| *slot = Some(slot.map_or(time, |t| t.min(time)));
        let latest = |slot: &mut Option<Ticks>| *slot = Some(slot.map_or(time, |t| t.max(time)));
        if facts.has(Facts::START | Facts::SERVER) {
            earliest(&mut self.server_start);
        }
        if facts.has(Facts::START | Facts::CLIENT) {
            earliest(&mut self.client_start);
        }
        if facts.has(Facts::KEYED) {
            earliest(&mut self.first_keyed);
            latest(&mut self.last_keyed);
        }
        for (fact, slot) in [
            (Facts::ENGINE_STOPPED, &mut self.engine_stopped),
            (Facts::PROCESS_EXITED, &mut self.process_exited),
            (Facts::LOGOFF, &mut self.logoff),
            (Facts::CLIENT_CLOSED, &mut self.client_closed),
        ] {
            if facts.has(fact) {
                latest(slot);
            }
        }
    }

    /// Counts the client's records that name only an address: the address is known to be the
    /// target's.
    pub(crate) fn mark_target_address_known(&mut self) {
        let wire = Facts::SOURCE_HOST | Facts::SOURCE_IP | Facts::TRANSPORT;
        let said = wire.when(self.facts.has(Facts::OUTBOUND));
        let used = (Facts::SOURCE_HOST | Facts::USER).when(self.facts.has(Facts::CREDENTIALS));
        self.facts = self.facts | said | used;
    }

    /// Whether there are records that name the target only by an address.
    pub(crate) fn names_address_only(&self) -> bool {
        self.facts.has(Facts::OUTBOUND) || self.facts.has(Facts::CREDENTIALS)
    }

    /// Returns the earliest known time of the session, at which a match is looked for.
    pub(crate) fn first(&self) -> Option<Ticks> {
        let server = self.facts.has(Facts::SERVER);
        let keyed = self.first_keyed.filter(|_| server);
        self.server_start.into_iter().chain(keyed).min().or(self.client_start)
    }
}
