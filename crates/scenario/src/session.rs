//! A session from its first record to its last, over WinRM or SSH.

use evtx_writer::{EvtxGuid, FileTime, Sid};

use crate::clock::{Ticks, millis, seconds};
use crate::connect::{ClientProcess, resource};
use crate::event_recorder::{EventRecorder, ProcessCreation, SessionFacts};
use crate::events::powershell::{REMOTE, ScenarioEngine};
use crate::events::security::{self, LogonSource};
use crate::events::winrm::{WsmanEndpoint, with_caller};
use crate::events::{Account, POWERSHELL, ScenarioLogon, ScenarioProcess};
use crate::facts::Facts;
use crate::plan::{AuthMethod, SessionEnding, SessionKind, SessionPlan};
use crate::world::ShellRecord;

const WSMPROVHOST: &str = r"C:\Windows\System32\wsmprovhost.exe";
const WINRSHOST: &str = r"C:\Windows\System32\winrshost.exe";
pub(crate) const PWSH: &str = r"C:\Program Files\PowerShell\7\pwsh.exe";
/// Endpoints that run as a virtual account make one of this authority (MS-DTYP 2.4.2.4).
const VIRTUAL_USERS: u32 = 94;

/// A session whose records are written: the values that later sessions and the truth need.
#[derive(Debug, Clone)]
pub(crate) struct WrittenSession {
    pub logon_id: u64,
    pub process: ScenarioProcess,
    pub runspace: EvtxGuid,
    /// A child that can be a client itself.
    pub child: Option<ScenarioProcess>,
    pub runs: Vec<usize>,
    pub shell_started: Ticks,
}

/// The target's part of a session in the making.
pub(crate) struct Server<'a, 'w> {
    pub session: usize,
    pub spec: &'a SessionPlan,
    /// Who it runs as, in which logon.
    pub logon: ScenarioLogon<'a>,
    pub caller: Account<'w>,
    pub process: ScenarioProcess,
    pub engine: Option<ScenarioEngine<'a>>,
    pub activity: EvtxGuid,
}

impl<'w> EventRecorder<'w> {
    /// Records a session. `before` holds the earlier sessions.
    pub(crate) fn session(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        before: &[WrittenSession],
    ) -> WrittenSession {
        match spec.kind {
            SessionKind::Ssh => self.ssh_session(session, spec),
            _ => self.winrm_session(session, spec, before),
        }
    }

    fn winrm_session(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        before: &[WrittenSession],
    ) -> WrittenSession {
        let world = self.world;
        let closed = spec.ending == SessionEnding::Closed;
        let client = self.client(spec, before);
        self.client_opens(session, spec, &client);
        let caller = world.account(spec.user);
        let kerberos = matches!(spec.auth, AuthMethod::Kerberos | AuthMethod::CredSsp);
        let ticket = self.rng.guid();
        let asked = (kerberos && !spec.ticket_cached).then_some(ticket);
        self.validated(session, spec, caller, asked);
        self.connection(session, spec, &client, spec.start + millis(80), asked);
        let name = format!("WinRM VA_{session}_{}_{}", caller.domain, caller.name);
        let account = match spec.virtual_account {
            true => self.virtual_account(&name),
            false => caller,
        };
        let shared = spec.logon_of.and_then(|of| before.get(of));
        let logon_id = match shared {
            Some(done) => done.logon_id,
            None => self.logon_id(spec.target),
        };
        let process = self.host_process(spec, before);
        let mut server = Server {
            session,
            spec,
            logon: account.logon(logon_id),
            caller,
            process,
            engine: None,
            activity: self.rng.guid(),
        };
        if spec.kind != SessionKind::Winrs {
            server.engine = Some(self.engine(&server, REMOTE));
        }
        let server = server;
        self.first_logon(&server, shared.is_some());
        self.shell(&server);
        self.host_process_begins(&server);
        self.more_connections(&server, &client);
        if let Some(engine) = &server.engine {
            self.engine_begins(&server, engine);
        }
        let (runs, child) = self.work(&server, &client);
        self.server_ends(&server);
        if closed {
            self.client_closes(session, spec, &client);
        }
        let runspace = server.engine.as_ref().map(|engine| engine.runspace).unwrap_or_default();
        let shell_started = spec.start + millis(200);
        WrittenSession { logon_id, process: server.process, runspace, child, runs, shell_started }
    }

    /// An account that an endpoint makes for one session.
    fn virtual_account<'a>(&mut self, name: &'a str) -> Account<'a> {
        let parts = [VIRTUAL_USERS, self.rng.next() as u32, self.rng.next() as u32];
        let sid = Sid::nt(parts);
        Account { name, domain: "WinRM Virtual Users", realm: "", sid, administrator: true }
    }

    /// The first connection's logon, which the host process runs in, unless that is `shared` with
    /// an earlier session. With a virtual account the caller's comes first, and the host process
    /// runs in another.
    fn first_logon(&mut self, server: &Server<'_, 'w>, shared: bool) {
        let Server { session, spec, logon, caller, .. } = *server;
        let time = spec.start + millis(100);
        if spec.virtual_account {
            let first = caller.logon(self.logon_id(spec.target));
            self.connection_logon(session, spec, first, time, spec.end, false);
            // Whether the virtual account's own logon is logged is not certain: both are made.
            if session.is_multiple_of(2) {
                let time = FileTime(spec.start + millis(140));
                let host = self.world.host(spec.target);
                let event = security::plain_logon(&host, time, logon, LogonSource::advapi(5));
                self.record_event(
                    spec.target,
                    event,
                    Some(SessionFacts { session, facts: Facts::HINT }),
                );
            }
        } else if !shared {
            let ends = match spec.ending {
                SessionEnding::Closed => spec.end + millis(90),
                _ => Ticks::MAX,
            };
            self.connection_logon(session, spec, logon, time, ends, true);
        }
    }

    /// The other HTTP connections of a session, each with a logon of its own.
    fn more_connections(&mut self, server: &Server<'_, 'w>, client: &ClientProcess<'w>) {
        let Server { session, spec, caller, .. } = *server;
        let length = spec.end - spec.start;
        for nth in 0..spec.connections {
            let time = match nth {
                0 => spec.start + millis(330),
                _ => spec.start + millis(400) + self.rng.within(0..length.max(2)) * 9 / 10,
            };
            let last = match spec.ending {
                SessionEnding::Open => time + seconds(120),
                // A connection may come when the session is all but over.
                _ => spec.end.max(time) + millis(95),
            };
            let ends = time + self.rng.within(0..(last - time).max(1)) + 1;
            // Not each of them is seen on the wire.
            if nth > 0 || self.rng.percent(50) {
                self.connection(session, spec, client, time - millis(20), None);
            }
            let logon = caller.logon(self.logon_id(spec.target));
            self.connection_logon(session, spec, logon, time, ends, false);
        }
    }

    /// The client's process: a console of its own, or the session that it is started in.
    pub(crate) fn client(
        &mut self,
        spec: &SessionPlan,
        before: &[WrittenSession],
    ) -> ClientProcess<'w> {
        let world = self.world;
        let runner = world.account(spec.runner);
        let (activity, shell) = (self.rng.guid(), self.rng.guid());
        if let Some(parent) = spec.parent
            && let Some(done) = before.get(parent.session)
        {
            let process = match &done.child {
                Some(child) if parent.by_child => child.clone(),
                _ => done.process.clone(),
            };
            return ClientProcess { process, logon: runner.logon(done.logon_id), activity, shell };
        }
        let creation = spec.start - millis(self.rng.within(300..60_000));
        let ends = spec.end.saturating_add(seconds(5));
        let id = self.process_id(spec.source, creation, ends);
        let logon = runner.logon(self.logon_id(spec.source));
        let name = self.name_for(spec.target, spec.called);
        let process = match spec.kind {
            SessionKind::Winrs => {
                let image = r"C:\Windows\System32\winrs.exe";
                ScenarioProcess::new(id, image, format!("winrs  -r:{name} cmd"))
            }
            SessionKind::PowerShell => {
                ScenarioProcess::new(id, POWERSHELL, format!("\"{POWERSHELL}\" "))
            }
            SessionKind::Core | SessionKind::Ssh => {
                ScenarioProcess::new(id, PWSH, format!("\"{PWSH}\" "))
            }
        };
        let explorer =
            ScenarioProcess::new(4312, r"C:\Windows\explorer.exe", r"C:\Windows\Explorer.EXE");
        self.record_process_start(
            spec.source,
            &ProcessCreation {
                time: creation,
                by: None,
                logon,
                new: &process,
                parent: &explorer,
                session: None,
                facts: Facts::NONE,
                owner: false,
                run: None,
            },
        );
        if spec.ending == SessionEnding::Closed {
            self.record_process_exit(spec.source, spec.end + millis(300), logon, &process, None);
        }
        ClientProcess { process, logon, activity, shell }
    }

    fn host_process(&mut self, spec: &SessionPlan, before: &[WrittenSession]) -> ScenarioProcess {
        let (image, command) = match spec.kind {
            SessionKind::Winrs => (WINRSHOST, r"C:\Windows\system32\WinrsHost.exe -Embedding"),
            _ => (WSMPROVHOST, r"C:\Windows\system32\wsmprovhost.exe -Embedding"),
        };
        let start = spec.start + millis(230);
        let end = match spec.ending {
            SessionEnding::Open => Ticks::MAX,
            _ => spec.end + millis(80),
        };
        let again = spec.process_id_of.and_then(|of| before.get(of)).map(|done| done.process.id);
        let again = again.filter(|&id| self.process_ids[spec.target].take_this(id, start, end));
        let id = again.unwrap_or_else(|| self.process_id(spec.target, start, end));
        ScenarioProcess::new(id, image, command)
    }

    pub(crate) fn engine<'a>(
        &mut self,
        server: &Server<'a, 'w>,
        host_name: &'static str,
    ) -> ScenarioEngine<'a>
    where
        'w: 'a,
    {
        let old = self.world.machines[server.spec.target].policy.old_build;
        let engine_version = match server.spec.kind {
            SessionKind::Core | SessionKind::Ssh => "7.4.6",
            _ if old => "2.0",
            _ => "5.1.20348.2227",
        };
        let remote = host_name == REMOTE;
        ScenarioEngine {
            host_name,
            host_version: if remote { "1.0.0.0" } else { engine_version },
            engine_version,
            host_id: self.rng.guid(),
            runspace: self.rng.guid(),
            activity: self.rng.guid(),
            account: server.logon.account,
            connected: server.caller,
            process: server.process.clone(),
        }
    }

    /// One connection's logon: 4672, 4624, later 4634. `owner` where the host process runs in it.
    fn connection_logon(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        logon: ScenarioLogon<'_>,
        time: Ticks,
        ends: Ticks,
        owner: bool,
    ) {
        let world = self.world;
        let host = world.host(spec.target);
        let source = match spec.auth {
            AuthMethod::Kerberos => LogonSource::kerberos(),
            AuthMethod::Ntlm => LogonSource::ntlm(&world.machines[spec.source].name),
            AuthMethod::Basic => LogonSource::cleartext(&host),
            // CredSSP wraps Kerberos. Whether the logon shows that or the service that asks for it
            // is not certain: both are made.
            AuthMethod::CredSsp if session.is_multiple_of(2) => LogonSource::kerberos(),
            // Nor is it certain what a mapped certificate's logon looks like.
            AuthMethod::CredSsp | AuthMethod::Certificate | AuthMethod::Ssh => {
                LogonSource::advapi(3)
            }
        };
        // An NTLM logon names the workstation, as 4776 does.
        let workstation = Facts::NTLM.when(spec.auth == AuthMethod::Ntlm);
        let session_facts =
            |facts: Facts| Some(SessionFacts { session, facts: Facts::HINT | facts });
        let said = Facts::OWN_LOGON | workstation | Facts::KEYED.when(owner);
        if logon.account.administrator {
            self.record_event(
                spec.target,
                security::privileges(&host, FileTime(time - 118), logon),
                session_facts(Facts::NONE),
            );
        }
        let guid = self.rng.guid();
        let event = match spec.auth {
            AuthMethod::Kerberos | AuthMethod::CredSsp => {
                security::logon(&host, FileTime(time), logon, source.clone(), guid)
            }
            _ => security::plain_logon(&host, FileTime(time), logon, source.clone()),
        };
        self.record_event(spec.target, event, session_facts(said));
        if ends != Ticks::MAX {
            let event = security::logoff(&host, FileTime(ends), logon, source.kind);
            // A logon that another session runs in ends with that one.
            let said = Facts::LOGOFF.when(owner);
            self.record_event(spec.target, event, session_facts(said));
        }
    }

    /// The service's records of the request and the shell.
    fn shell(&mut self, server: &Server<'_, 'w>) {
        let world = self.world;
        let Server { session, spec, caller, .. } = *server;
        let host = world.host(spec.target);
        let policy = world.machines[spec.target].policy;
        let session_facts = |facts: Facts| {
            Some(SessionFacts { session, facts: Facts::SERVER | Facts::KEYED | facts })
        };
        let at = |ms: u64| FileTime(spec.start + millis(ms));
        let end = WsmanEndpoint::service(&host, caller, server.activity);
        let uri = resource(spec);
        let user = caller.full_name();
        let kind = Facts::KIND | Facts::CONFIGURATION;
        // Requests show a session only where the build logs them in Operational.
        let hint = |facts: Facts| Some(SessionFacts { session, facts: Facts::HINT | facts });
        let trace =
            |facts: Facts| if policy.old_build { session_facts(facts) } else { hint(facts) };
        let proof = Facts::AUTH | Facts::USER;
        self.record_event(
            spec.target,
            end.authenticated(at(110), &user, spec.auth.mechanism()),
            trace(proof),
        );
        self.record_event(spec.target, end.request(at(190), "CreateShell"), trace(Facts::START));
        self.record_event(spec.target, end.plugin(at(195), "CreateShell", &uri), trace(kind));
        if !policy.old_build {
            let names = policy.shell.names_caller();
            let text = if names {
                with_caller(&uri, caller, &world.machines[spec.source].ip)
            } else {
                uri.clone()
            };
            let event = match policy.shell {
                ShellRecord::Plain | ShellRecord::Caller => end.shell_created(at(200), &text),
                _ => end.shell_created_unmatched(at(200), &text),
            };
            let named = (Facts::USER | Facts::SOURCE_IP).when(names);
            let said = Facts::START | Facts::SID | kind | named;
            self.record_event(spec.target, event, session_facts(said));
        }
        self.record_event(spec.target, end.response(at(520), "CreateShell"), trace(Facts::NONE));
        if spec.ending == SessionEnding::Closed {
            let at = |ms: u64| FileTime(spec.end + millis(ms));
            let end = WsmanEndpoint { activity: self.rng.guid(), ..end };
            self.record_event(spec.target, end.request(at(4), "DeleteShell"), hint(Facts::NONE));
            self.record_event(spec.target, end.response(at(35), "DeleteShell"), hint(Facts::NONE));
        }
    }

    fn host_process_begins(&mut self, server: &Server<'_, 'w>) {
        let Server { session, spec, .. } = *server;
        let by = self.world.host(spec.target).system();
        let parent = self.dcom(spec.target);
        let facts = Facts::SERVER | Facts::START | Facts::KEYED;
        self.record_process_start(
            spec.target,
            &ProcessCreation {
                time: spec.start + millis(230),
                by: Some(by),
                logon: server.logon,
                new: &server.process,
                parent: &parent,
                session: Some(session),
                facts: facts | Facts::PROCESS | Facts::KIND,
                // A virtual account's logon is its own, but no caller.
                owner: !spec.virtual_account,
                run: None,
            },
        );
    }

    /// Returns the facts of its session that an engine shows in each record of the operational log.
    pub(crate) fn engine_facts(&self, server: &Server<'_, 'w>) -> Facts {
        let facts = Facts::SERVER | Facts::KEYED | Facts::PROCESS;
        facts | Facts::SID.when(!server.spec.virtual_account)
    }

    pub(crate) fn engine_begins(&mut self, server: &Server<'_, 'w>, engine: &ScenarioEngine<'_>) {
        let Server { session, spec, .. } = *server;
        let start = spec.start;
        // A pipe of wsmprovhost's: only with what else is there does it show a session.
        let listening = engine.listening(FileTime(start + millis(441)));
        let facts = self.engine_facts(server) | Facts::HINT;
        let facts = if self.knows_process(server) {
            facts | Facts::START
        } else {
            Facts::HINT | Facts::PIPE
        };
        self.record_event(spec.target, listening, Some(SessionFacts { session, facts }));
        if matches!(spec.kind, SessionKind::Core | SessionKind::Ssh) {
            return;
        }
        let facts = Facts::SERVER | Facts::START | Facts::KEYED | Facts::KIND;
        let with_runspace = Some(SessionFacts { session, facts: facts | Facts::RUNSPACE });
        let early = Some(SessionFacts { session, facts });
        for (i, provider) in
            (0..).zip(["Registry", "Alias", "Environment", "FileSystem", "Function", "Variable"])
        {
            let time = FileTime(start + millis(460 + u64::from(i)));
            self.record_event(spec.target, engine.provider(time, provider, 1 + 2 * i, true), early);
        }
        self.record_event(
            spec.target,
            engine.available(FileTime(start + millis(510)), 13),
            with_runspace,
        );
        let wsman = engine.provider(FileTime(start + millis(523)), "WSMan", 15, false);
        self.record_event(spec.target, wsman, with_runspace);
    }

    /// Whether other records name the process that 53504 does.
    pub(crate) fn knows_process(&self, server: &Server<'_, 'w>) -> bool {
        let policy = self.world.machines[server.spec.target].policy;
        self.audits_processes(server.spec.target) || policy.scripts && server.spec.commands > 0
    }

    fn audits_processes(&self, machine: usize) -> bool {
        let policy = self.world.machines[machine].policy;
        policy.security && policy.processes || policy.sysmon
    }

    pub(crate) fn server_ends(&mut self, server: &Server<'_, 'w>) {
        let Server { session, spec, logon, .. } = *server;
        if spec.ending == SessionEnding::Open {
            return;
        }
        let stopped =
            Facts::SERVER | Facts::KEYED | Facts::ENGINE_STOPPED | Facts::RUNSPACE | Facts::KIND;
        if let Some(engine) = &server.engine
            && spec.kind == SessionKind::PowerShell
            && spec.ending == SessionEnding::Closed
        {
            let event = engine.stopped(FileTime(spec.end + millis(20)), 91);
            self.record_event(spec.target, event, Some(SessionFacts { session, facts: stopped }));
        }
        // 4689 names the image: that of a remoting host, even where its start is lost.
        let exited =
            Facts::SERVER | Facts::KEYED | Facts::PROCESS_EXITED | Facts::PROCESS | Facts::KIND;
        let exited = exited | (Facts::LOGON | Facts::USER).when(!spec.virtual_account);
        let session_facts = Some(SessionFacts { session, facts: exited });
        self.record_process_exit(
            spec.target,
            spec.end + millis(80),
            logon,
            &server.process,
            session_facts,
        );
        if spec.ending == SessionEnding::Killed && spec.logon_of.is_none() && !spec.virtual_account
        {
            let event = security::logoff(
                &self.world.host(spec.target),
                FileTime(spec.end + millis(400)),
                logon,
                3,
            );
            let facts = Facts::HINT | Facts::LOGOFF;
            self.record_event(spec.target, event, Some(SessionFacts { session, facts }));
        }
    }
}
