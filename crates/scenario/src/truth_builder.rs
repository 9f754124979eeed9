//! Works out which facts the remaining logs still show.

use std::collections::BTreeSet;

use evtx_writer::{EvtxEvent, EvtxValue, Payload, Sid};

use crate::Config;
use crate::clock::{MOVED, Ticks, utc};
use crate::event_recorder::{ExecutedItem, RecordedEvent};
use crate::facts::{Facts, LoggedFacts};
use crate::plan::{AttemptFailure, AuthMethod, FleetPlan, SessionKind, SessionPlan, TargetNaming};
use crate::session::WrittenSession;
use crate::truth::{
    AttemptTruth, ExpectedResult, Fact, FactEvidence, HostTruth, Moment, RunTruth, SessionTruth,
    Truth,
};
use crate::world::FleetWorld;

/// Facts about accounts and machines that all records together show.
#[derive(Debug, Default)]
pub(crate) struct FleetKnowledge {
    /// SIDs that logons name.
    sids: BTreeSet<Sid>,
    /// Machines whose own connection records show their address.
    addresses: BTreeSet<usize>,
}

impl FleetKnowledge {
    pub(crate) fn add_event(&mut self, machine: usize, event: &EvtxEvent) {
        match (event.channel.as_str(), event.event_id) {
            ("Security", 4624) => {
                if let Payload::EventData(fields) = &event.payload
                    && let Some((_, EvtxValue::Sid(sid))) =
                        fields.iter().find(|(name, _)| name == "TargetUserSid")
                {
                    self.sids.insert(*sid);
                }
            }
            ("Security", 5156) | ("Microsoft-Windows-Sysmon/Operational", 3) => {
                self.addresses.insert(machine);
            }
            _ => {}
        }
    }
}

pub(crate) struct TruthBuilder<'j> {
    pub world: &'j FleetWorld,
    pub moved: &'j FleetWorld,
    pub plan: &'j FleetPlan,
    pub done: &'j [WrittenSession],
    pub runs: &'j [ExecutedItem],
    pub entries: &'j [RecordedEvent],
    pub known: &'j FleetKnowledge,
}

fn text(time: Ticks) -> String {
    utc(time).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn fact(value: impl Into<String>, evidence: FactEvidence) -> Fact {
    let value = value.into();
    Fact { value: (!value.is_empty()).then_some(value).into_iter().collect(), evidence }
}

/// Returns `Yes` if the fact is shown, otherwise `No`.
fn sure(shown: bool) -> FactEvidence {
    if shown { FactEvidence::Yes } else { FactEvidence::No }
}

/// Returns `Yes` or `No`; if there is `doubt`, `Unclear` in place of `No`.
fn sure_unless(shown: bool, doubt: bool) -> FactEvidence {
    if doubt { perhaps(shown) } else { sure(shown) }
}

/// Returns `Yes` if the fact is shown, otherwise `Unclear`.
fn perhaps(shown: bool) -> FactEvidence {
    if shown { FactEvidence::Yes } else { FactEvidence::Unclear }
}

impl TruthBuilder<'_> {
    pub(crate) fn truth(&self, config: &Config) -> Truth {
        let mut shown = vec![LoggedFacts::default(); self.plan.sessions.len()];
        let mut seen_runs = BTreeSet::new();
        for entry in self.entries {
            if let Some(session_facts) = entry.session_facts {
                shown[session_facts.session].add_facts(session_facts.facts, entry.event.time.0);
            }
            seen_runs.extend(entry.run);
        }
        for (spec, shown) in self.plan.sessions.iter().zip(&mut shown) {
            // An address is the target's where the target shows its own, or where the same process
            // logs what it calls it.
            if self.known.addresses.contains(&spec.target) || shown.client_start.is_some() {
                shown.mark_target_address_known();
            }
        }
        let hosts = self.world.machines.iter().map(|machine| HostTruth {
            name: machine.fqdn(),
            ip: machine.ip.clone(),
            clock_offset_seconds: machine.clock_error as f64 / 1e7,
            policy: machine.policy.name.into(),
            collected: !machine.policy.absent,
        });
        let sessions = (0..shown.len()).map(|index| self.session(index, &shown, &seen_runs));
        let attempts = (0..self.plan.failures.len()).map(|index| self.attempt(index));
        Truth {
            seed: config.seed,
            max_clock_error_seconds: config.max_clock_error_seconds,
            hosts: hosts.collect(),
            sessions: sessions.collect(),
            attempts: attempts.collect(),
        }
    }

    /// How well a machine's address can be turned into its name. That a machine's own Kerberos
    /// logons show its address, too, is a way that one may go or not.
    fn address_of(&self, machine: usize) -> FactEvidence {
        perhaps(self.known.addresses.contains(&machine))
    }

    fn session(
        &self,
        index: usize,
        all: &[LoggedFacts],
        seen_runs: &BTreeSet<usize>,
    ) -> SessionTruth {
        let (spec, done, shown) = (&self.plan.sessions[index], &self.done[index], &all[index]);
        let has = |facts: Facts| shown.facts.has(facts);
        let server = has(Facts::SERVER);
        let client = has(Facts::CLIENT) && shown.client_start.is_some();
        let expected = if server || client {
            ExpectedResult::Yes
        } else if has(Facts::HINT) || has(Facts::CLIENT) {
            ExpectedResult::Optional
        } else {
            ExpectedResult::No
        };
        let caller = &self.world.people[spec.user];
        let named = self.known.sids.contains(&caller.sid);
        let own_logon = has(Facts::OWN_LOGON);
        let user =
            has(Facts::USER) || (named && has(Facts::SID)) || (own_logon && has(Facts::LOGON));
        let sid = has(Facts::SID) || (named && user) || (own_logon && user);
        // The client's records name who ran it: the session's account, or not.
        let one_sided = client && !server;
        let who = |known: bool| sure_unless(known, one_sided || shown.names_address_only());
        let (source_host, source_ip) = self.source(spec, shown, user, client);
        let source = &self.at(spec.start).machines[spec.source];
        let (end_kind, end) = self.end(spec, shown, one_sided);
        let start = shown.first();
        let start_told = if server { shown.server_start.is_some() } else { client };
        let windows = spec.kind != SessionKind::Ssh;
        let parent = spec.parent.map(|parent| {
            let of = &all[parent.session];
            let seen = has(Facts::CLIENT_PROCESS)
                && of.facts.has(Facts::PROCESS)
                && (!parent.by_child || of.facts.has(Facts::CLIENT_TREE));
            // One that is only hinted at cannot be named.
            fact(id("T", parent.session), sure(seen && of.facts.has(Facts::SERVER)))
        });
        let seen = |run: usize| seen_runs.contains(&run);
        let runs = |children: bool| {
            let runs = done.runs.iter().map(|&run| (run, &self.runs[run]));
            let runs = runs.filter(|(_, run)| run.image.is_some() == children);
            let truth = runs.map(|(index, run)| RunTruth {
                text: run.text.clone(),
                token: run.token.clone(),
                time: text(run.time),
                image: run.image.map(str::to_owned),
                evidence: sure(server && seen(index) && run.within.is_none_or(seen)),
            });
            truth.collect::<Vec<_>>()
        };
        let sides = [(client, "client"), (server, "server"), (has(Facts::CONTROLLER), "dc")];
        let virtual_account = |shown: bool| match spec.virtual_account {
            true => FactEvidence::Unclear,
            false => sure(shown),
        };
        SessionTruth {
            id: id("T", index),
            case: spec.case.into(),
            expected,
            start: Moment {
                actual: text(done.shell_started),
                logged: start.map(text),
                evidence: perhaps(start_told),
            },
            end: Moment {
                actual: text(spec.end),
                logged: end.map(text),
                evidence: perhaps(end.is_some()),
            },
            end_kind,
            source_host: fact(&source.name, source_host),
            source_ip: fact(&source.ip, source_ip),
            target_host: self.target(spec, server, has(Facts::TARGET)),
            target_names: self.at(spec.start).machines[spec.target].names(),
            user: fact(caller.account().full_name(), who(user)),
            user_sid: fact(
                caller.sid.to_string(),
                if spec.virtual_account { perhaps(sid) } else { who(sid) },
            ),
            auth: self.auth(spec, shown, user),
            transport: fact(spec.wire.word(), {
                let certain = spec.auth == AuthMethod::Certificate && has(Facts::AUTH);
                sure_unless(has(Facts::TRANSPORT) || certain, shown.names_address_only())
            }),
            kind: fact(
                if spec.kind == SessionKind::Winrs { "winrs" } else { "powershell" },
                perhaps(has(Facts::KIND)),
            ),
            configuration: match spec.kind {
                SessionKind::Winrs | SessionKind::Ssh => fact("", FactEvidence::Unclear),
                _ => fact(spec.configuration, sure(has(Facts::CONFIGURATION))),
            },
            // Without the host process, logons near by are all that one can name.
            logon_id: fact(
                format!("{:#x}", done.logon_id),
                match has(Facts::LOGON) {
                    true => virtual_account(true),
                    false => FactEvidence::Unclear,
                },
            ),
            process_id: fact(
                done.process.id.to_string(),
                if has(Facts::PIPE) {
                    perhaps(has(Facts::PROCESS))
                } else {
                    sure(has(Facts::PROCESS))
                },
            ),
            runspace_ids: match spec.kind {
                SessionKind::Winrs => fact("", FactEvidence::No),
                _ => fact(done.runspace.to_string(), sure(has(Facts::RUNSPACE))),
            },
            parent: parent.unwrap_or_else(|| {
                fact("", if windows { FactEvidence::No } else { FactEvidence::Unclear })
            }),
            sides: sides.iter().filter(|(seen, _)| *seen).map(|(_, side)| (*side).into()).collect(),
            commands: runs(false),
            children: runs(true),
        }
    }

    /// How well name and address of the source are told.
    fn source(
        &self,
        spec: &SessionPlan,
        shown: &LoggedFacts,
        user: bool,
        client: bool,
    ) -> (FactEvidence, FactEvidence) {
        let has = |facts: Facts| shown.facts.has(facts);
        let known = self.address_of(spec.source);
        let ip = has(Facts::SOURCE_IP) || (has(Facts::TICKET) && user);
        let host = has(Facts::SOURCE_HOST) || client || (has(Facts::NTLM) && user);
        let from = |own: bool, other: bool| match (own, other) {
            (true, _) => FactEvidence::Yes,
            (_, true) => known,
            _ => sure_unless(false, shown.names_address_only()),
        };
        (from(host, ip), from(ip, host))
    }

    /// The world at a time.
    fn at(&self, time: Ticks) -> &FleetWorld {
        if time < MOVED { self.world } else { self.moved }
    }

    fn target(&self, spec: &SessionPlan, server: bool, named: bool) -> Fact {
        let target = &self.at(spec.start).machines[spec.target];
        let evidence = FactEvidence::Yes;
        if server || named {
            return fact(&target.name, evidence);
        }
        // The client's word for it, and whose address that is, as far as one knows.
        let value = match spec.called {
            TargetNaming::Address if self.known.addresses.contains(&spec.target) => {
                vec![&target.name]
            }
            TargetNaming::Address => vec![&target.ip, &target.name],
            _ => vec![&target.name],
        };
        Fact { value: value.into_iter().cloned().collect(), evidence }
    }

    fn auth(&self, spec: &SessionPlan, shown: &LoggedFacts, user: bool) -> Fact {
        let has = |facts: Facts| shown.facts.has(facts);
        let inferred = match spec.auth {
            AuthMethod::Kerberos => has(Facts::TICKET) || has(Facts::OWN_LOGON),
            AuthMethod::Ntlm => has(Facts::NTLM) || has(Facts::OWN_LOGON),
            _ => false,
        };
        let evidence = match spec.auth {
            _ if has(Facts::AUTH) => FactEvidence::Yes,
            AuthMethod::Kerberos | AuthMethod::Ntlm if inferred => perhaps(user),
            AuthMethod::Kerberos | AuthMethod::Ntlm => FactEvidence::No,
            // What the logon inside shows is one's own to read.
            _ => FactEvidence::Unclear,
        };
        fact(spec.auth.word(), evidence)
    }

    /// How the end is best known, and when that was logged.
    fn end(
        &self,
        spec: &SessionPlan,
        shown: &LoggedFacts,
        one_sided: bool,
    ) -> (Fact, Option<Ticks>) {
        let shared = self.plan.sessions.iter().any(|other| {
            other.logon_of.is_some_and(|of| std::ptr::eq(&self.plan.sessions[of], spec))
        });
        let keyed = shown.facts.has(Facts::LOGON);
        match (shown.engine_stopped, shown.process_exited, shown.logoff, shown.client_closed) {
            (Some(time), ..) => (fact("engine_stopped", FactEvidence::Yes), Some(time)),
            (_, Some(time), ..) => (fact("process_exited", FactEvidence::Yes), Some(time)),
            (.., Some(time), _) if keyed && !shared => {
                (fact("logoff", FactEvidence::Yes), Some(time))
            }
            // A logoff that nothing ties to the session but the time is one's own to read.
            (.., Some(_), _) => (fact("logoff", FactEvidence::Unclear), None),
            (.., Some(time)) if one_sided => (fact("client_closed", FactEvidence::Yes), Some(time)),
            (.., Some(_)) => (fact("client_closed", FactEvidence::Unclear), None),
            _ => (fact("last_event", FactEvidence::Yes), None),
        }
    }

    fn attempt(&self, index: usize) -> AttemptTruth {
        let spec = &self.plan.failures[index];
        let of = |machine: usize| {
            self.entries
                .iter()
                .filter(move |entry| entry.attempt == Some(index) && entry.machine == machine)
        };
        let winrm = |entry: &&RecordedEvent| entry.event.channel.ends_with("WinRM/Operational");
        let client = of(spec.source).filter(winrm).map(|entry| entry.event.time.0).min();
        let refused = of(spec.target).find(|entry| entry.event.event_id == 192);
        let any = self.entries.iter().any(|entry| {
            entry.attempt == Some(index) && !self.world.machines[entry.machine].is_controller()
        });
        let expected = if client.is_some() || refused.is_some() {
            ExpectedResult::Yes
        } else if any {
            ExpectedResult::Optional
        } else {
            ExpectedResult::No
        };
        let source = &self.at(spec.time).machines[spec.source];
        let caller = &self.world.people[spec.user];
        let by_client = perhaps(client.is_some());
        let reason = match (spec.failure, client.is_some()) {
            (AttemptFailure::NtlmPassword | AttemptFailure::KerberosPassword, _) => {
                "bad_credentials"
            }
            (AttemptFailure::Unreachable, _) => "unreachable",
            (_, true) => "access_denied",
            (_, false) => "not_authorised",
        };
        let logged = client.or(refused.map(|entry| entry.event.time.0));
        AttemptTruth {
            id: id("A", index),
            case: spec.case.into(),
            expected,
            time: Moment {
                actual: text(spec.time),
                logged: logged.map(text),
                evidence: sure(logged.is_some()),
            },
            source_host: fact(&source.name, by_client),
            source_ip: fact(
                &source.ip,
                match client {
                    Some(_) => self.address_of(spec.source),
                    None => FactEvidence::Unclear,
                },
            ),
            target_host: fact(&self.world.machines[spec.target].name, FactEvidence::Yes),
            target_names: self.world.machines[spec.target].names(),
            user: Fact {
                value: vec![caller.account().full_name(), caller.sid.to_string()],
                evidence: by_client,
            },
            reason: fact(reason, sure(logged.is_some())),
            later_success: spec.success.map(|session| id("T", session)),
        }
    }
}

fn id(letter: &str, index: usize) -> String {
    format!("{letter}{:04}", index + 1)
}
