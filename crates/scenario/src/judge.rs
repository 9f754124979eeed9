//! Says what the logs that are left still tell.

use std::collections::BTreeSet;

use evtx_writer::{Event, Payload, Sid, Value};

use crate::Config;
use crate::clock::{MOVED, Ticks, utc};
use crate::facts::{Facts, Told};
use crate::plan::{Auth, Called, Failure, Kind, Plan, Spec};
use crate::scribe::{Entry, Run};
use crate::session::Done;
use crate::truth::{
    AttemptTruth, Evidence, Expected, Fact, HostTruth, Moment, RunTruth, SessionTruth, Truth,
};
use crate::world::World;

/// What all records together tell of the estate.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// SIDs that logons name.
    sids: BTreeSet<Sid>,
    /// Machines whose own connection records show their address.
    addresses: BTreeSet<usize>,
}

impl Known {
    pub(crate) fn hear(&mut self, machine: usize, event: &Event) {
        match (event.channel.as_str(), event.event_id) {
            ("Security", 4624) => {
                if let Payload::EventData(fields) = &event.payload
                    && let Some((_, Value::Sid(sid))) =
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

pub(crate) struct Judge<'j> {
    pub world: &'j World,
    pub moved: &'j World,
    pub plan: &'j Plan,
    pub done: &'j [Done],
    pub runs: &'j [Run],
    pub entries: &'j [Entry],
    pub known: &'j Known,
}

fn text(time: Ticks) -> String {
    utc(time).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn fact(value: impl Into<String>, evidence: Evidence) -> Fact {
    let value = value.into();
    Fact { value: (!value.is_empty()).then_some(value).into_iter().collect(), evidence }
}

/// Evidence there is, or is not.
fn sure(told: bool) -> Evidence {
    if told { Evidence::Yes } else { Evidence::No }
}

/// Evidence there is, or is not, or it is doubtful whether.
fn sure_unless(told: bool, doubt: bool) -> Evidence {
    if doubt { perhaps(told) } else { sure(told) }
}

/// Evidence there is, or it is doubtful whether.
fn perhaps(told: bool) -> Evidence {
    if told { Evidence::Yes } else { Evidence::Unclear }
}

impl Judge<'_> {
    pub(crate) fn truth(&self, config: &Config) -> Truth {
        let mut told = vec![Told::default(); self.plan.sessions.len()];
        let mut seen_runs = BTreeSet::new();
        for entry in self.entries {
            if let Some(tells) = entry.tells {
                told[tells.session].hear(tells.facts, entry.event.time.0);
            }
            seen_runs.extend(entry.run);
        }
        for (spec, told) in self.plan.sessions.iter().zip(&mut told) {
            // An address is the target's where the target shows its own, or where the same process
            // logs what it calls it.
            if self.known.addresses.contains(&spec.target) || told.client_start.is_some() {
                told.aimed();
            }
        }
        let hosts = self.world.machines.iter().map(|machine| HostTruth {
            name: machine.fqdn(),
            ip: machine.ip.clone(),
            clock_offset_seconds: machine.clock_error as f64 / 1e7,
            policy: machine.policy.name.into(),
            collected: !machine.policy.absent,
        });
        let sessions = (0..told.len()).map(|index| self.session(index, &told, &seen_runs));
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
    fn address_of(&self, machine: usize) -> Evidence {
        perhaps(self.known.addresses.contains(&machine))
    }

    fn session(&self, index: usize, all: &[Told], seen_runs: &BTreeSet<usize>) -> SessionTruth {
        let (spec, done, told) = (&self.plan.sessions[index], &self.done[index], &all[index]);
        let has = |facts: Facts| told.facts.has(facts);
        let server = has(Facts::SERVER);
        let client = has(Facts::CLIENT) && told.client_start.is_some();
        let expected = if server || client {
            Expected::Yes
        } else if has(Facts::HINT) || has(Facts::CLIENT) {
            Expected::Optional
        } else {
            Expected::No
        };
        let caller = &self.world.people[spec.user];
        let named = self.known.sids.contains(&caller.sid);
        let own_logon = has(Facts::OWN_LOGON);
        let user =
            has(Facts::USER) || (named && has(Facts::SID)) || (own_logon && has(Facts::LOGON));
        let sid = has(Facts::SID) || (named && user) || (own_logon && user);
        // The client's records name who ran it: the session's account, or not.
        let one_sided = client && !server;
        let who = |known: bool| sure_unless(known, one_sided || told.aimless());
        let (source_host, source_ip) = self.source(spec, told, user, client);
        let source = &self.at(spec.start).machines[spec.source];
        let (end_kind, end) = self.end(spec, told, one_sided);
        let start = told.first();
        let start_told = if server { told.server_start.is_some() } else { client };
        let windows = spec.kind != Kind::Ssh;
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
        let virtual_account = |told: bool| match spec.virtual_account {
            true => Evidence::Unclear,
            false => sure(told),
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
            auth: self.auth(spec, told, user),
            transport: fact(spec.wire.word(), {
                let certain = spec.auth == Auth::Certificate && has(Facts::AUTH);
                sure_unless(has(Facts::TRANSPORT) || certain, told.aimless())
            }),
            kind: fact(
                if spec.kind == Kind::Winrs { "winrs" } else { "powershell" },
                perhaps(has(Facts::KIND)),
            ),
            configuration: match spec.kind {
                Kind::Winrs | Kind::Ssh => fact("", Evidence::Unclear),
                _ => fact(spec.configuration, sure(has(Facts::CONFIGURATION))),
            },
            // Without the host process, logons near by are all that one can name.
            logon_id: fact(
                format!("{:#x}", done.logon_id),
                match has(Facts::LOGON) {
                    true => virtual_account(true),
                    false => Evidence::Unclear,
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
                Kind::Winrs => fact("", Evidence::No),
                _ => fact(done.runspace.to_string(), sure(has(Facts::RUNSPACE))),
            },
            parent: parent.unwrap_or_else(|| {
                fact("", if windows { Evidence::No } else { Evidence::Unclear })
            }),
            sides: sides.iter().filter(|(seen, _)| *seen).map(|(_, side)| (*side).into()).collect(),
            commands: runs(false),
            children: runs(true),
        }
    }

    /// How well name and address of the source are told.
    fn source(&self, spec: &Spec, told: &Told, user: bool, client: bool) -> (Evidence, Evidence) {
        let has = |facts: Facts| told.facts.has(facts);
        let known = self.address_of(spec.source);
        let ip = has(Facts::SOURCE_IP) || (has(Facts::TICKET) && user);
        let host = has(Facts::SOURCE_HOST) || client || (has(Facts::NTLM) && user);
        let from = |own: bool, other: bool| match (own, other) {
            (true, _) => Evidence::Yes,
            (_, true) => known,
            _ => sure_unless(false, told.aimless()),
        };
        (from(host, ip), from(ip, host))
    }

    /// The world at a time.
    fn at(&self, time: Ticks) -> &World {
        if time < MOVED { self.world } else { self.moved }
    }

    fn target(&self, spec: &Spec, server: bool, named: bool) -> Fact {
        let target = &self.at(spec.start).machines[spec.target];
        let evidence = Evidence::Yes;
        if server || named {
            return fact(&target.name, evidence);
        }
        // The client's word for it, and whose address that is, as far as one knows.
        let value = match spec.called {
            Called::Address if self.known.addresses.contains(&spec.target) => vec![&target.name],
            Called::Address => vec![&target.ip, &target.name],
            _ => vec![&target.name],
        };
        Fact { value: value.into_iter().cloned().collect(), evidence }
    }

    fn auth(&self, spec: &Spec, told: &Told, user: bool) -> Fact {
        let has = |facts: Facts| told.facts.has(facts);
        let inferred = match spec.auth {
            Auth::Kerberos => has(Facts::TICKET) || has(Facts::OWN_LOGON),
            Auth::Ntlm => has(Facts::NTLM) || has(Facts::OWN_LOGON),
            _ => false,
        };
        let evidence = match spec.auth {
            _ if has(Facts::AUTH) => Evidence::Yes,
            Auth::Kerberos | Auth::Ntlm if inferred => perhaps(user),
            Auth::Kerberos | Auth::Ntlm => Evidence::No,
            // What the logon inside shows is one's own to read.
            _ => Evidence::Unclear,
        };
        fact(spec.auth.word(), evidence)
    }

    /// How the end is best known, and when that was logged.
    fn end(&self, spec: &Spec, told: &Told, one_sided: bool) -> (Fact, Option<Ticks>) {
        let shared = self.plan.sessions.iter().any(|other| {
            other.logon_of.is_some_and(|of| std::ptr::eq(&self.plan.sessions[of], spec))
        });
        let keyed = told.facts.has(Facts::LOGON);
        match (told.engine_stopped, told.process_exited, told.logoff, told.client_closed) {
            (Some(time), ..) => (fact("engine_stopped", Evidence::Yes), Some(time)),
            (_, Some(time), ..) => (fact("process_exited", Evidence::Yes), Some(time)),
            (.., Some(time), _) if keyed && !shared => (fact("logoff", Evidence::Yes), Some(time)),
            // A logoff that nothing ties to the session but the time is one's own to read.
            (.., Some(_), _) => (fact("logoff", Evidence::Unclear), None),
            (.., Some(time)) if one_sided => (fact("client_closed", Evidence::Yes), Some(time)),
            (.., Some(_)) => (fact("client_closed", Evidence::Unclear), None),
            _ => (fact("last_event", Evidence::Yes), None),
        }
    }

    fn attempt(&self, index: usize) -> AttemptTruth {
        let spec = &self.plan.failures[index];
        let of = |machine: usize| {
            self.entries
                .iter()
                .filter(move |entry| entry.attempt == Some(index) && entry.machine == machine)
        };
        let winrm = |entry: &&Entry| entry.event.channel.ends_with("WinRM/Operational");
        let client = of(spec.source).filter(winrm).map(|entry| entry.event.time.0).min();
        let refused = of(spec.target).find(|entry| entry.event.event_id == 192);
        let any = self.entries.iter().any(|entry| {
            entry.attempt == Some(index) && !self.world.machines[entry.machine].is_controller()
        });
        let expected = if client.is_some() || refused.is_some() {
            Expected::Yes
        } else if any {
            Expected::Optional
        } else {
            Expected::No
        };
        let source = &self.at(spec.time).machines[spec.source];
        let caller = &self.world.people[spec.user];
        let by_client = perhaps(client.is_some());
        let reason = match (spec.failure, client.is_some()) {
            (Failure::NtlmPassword | Failure::KerberosPassword, _) => "bad_credentials",
            (Failure::Unreachable, _) => "unreachable",
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
                    None => Evidence::Unclear,
                },
            ),
            target_host: fact(&self.world.machines[spec.target].name, Evidence::Yes),
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
