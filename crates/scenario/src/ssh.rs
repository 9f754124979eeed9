//! PowerShell 7 over SSH.

use evtx_writer::FileTime;

use crate::clock::{Ticks, millis};
use crate::event_recorder::{EventRecorder, ProcessCreation, SessionFacts};
use crate::events::ScenarioProcess;
use crate::events::openssh;
use crate::events::powershell::REMOTE;
use crate::events::security::{self, LogonSource};
use crate::facts::Facts;
use crate::plan::{SessionEnding, SessionPlan};
use crate::session::{PWSH, Server, WrittenSession};

const SSHD: &str = r"C:\Windows\System32\OpenSSH\sshd.exe";

impl EventRecorder<'_> {
    /// PowerShell 7 over SSH: sshd starts `pwsh -sshs`, and WinRM has no part in it.
    pub(crate) fn ssh_session(&mut self, session: usize, spec: &SessionPlan) -> WrittenSession {
        let world = self.world;
        let client = self.client(spec, &[]);
        let host = world.host(spec.target);
        let caller = world.account(spec.user);
        let logon = caller.logon(self.logon_id(spec.target));
        let at = |ms: u64| FileTime(spec.start + millis(ms));
        let (start, end) = (spec.start + millis(230), spec.end + millis(80));
        let lives = if spec.ending == SessionEnding::Open { Ticks::MAX } else { end };
        self.connection(session, spec, &client, spec.start + millis(80), None);
        let sshd = ScenarioProcess::new(
            self.process_id(spec.target, start - millis(100), lives),
            SSHD,
            format!("\"{SSHD}\" -z"),
        );
        let process = ScenarioProcess::new(
            self.process_id(spec.target, start, lives),
            PWSH,
            format!("\"{PWSH}\" -sshs -NoLogo -NoProfile"),
        );
        let port = self.rng.port();
        let name = caller.full_name().to_lowercase();
        let from = format!("{name} from {} port {port} ssh2", world.machines[spec.source].ip);
        let shown = Facts::HINT | Facts::USER | Facts::SOURCE_IP | Facts::TRANSPORT;
        let session_facts = |facts: Facts| Some(SessionFacts { session, facts });
        // By password or by key; what the logon of either looks like is not certain.
        let (accepted, source) = match self.rng.percent(50) {
            true => (format!("Accepted password for {from}"), LogonSource::cleartext(&host)),
            false => (
                format!("Accepted publickey for {from}: ED25519 SHA256:{port}"),
                LogonSource::advapi(3),
            ),
        };
        self.record_event(
            spec.target,
            openssh::message(at(150), sshd.id, &accepted),
            session_facts(shown),
        );
        let kind = source.kind;
        let logon_event = security::plain_logon(&host, at(160), logon, source);
        self.record_event(spec.target, logon_event, session_facts(Facts::HINT | Facts::KEYED));
        let system = host.system();
        let service = ScenarioProcess::new(2_000, SSHD, SSHD);
        let creation = ProcessCreation {
            time: start - millis(100),
            by: None,
            logon: system,
            new: &sshd,
            parent: &service,
            session: None,
            facts: Facts::NONE,
            owner: false,
            run: None,
        };
        self.record_process_start(spec.target, &creation);
        let facts = Facts::SERVER | Facts::START | Facts::KEYED | Facts::KIND | Facts::PROCESS;
        let creation = ProcessCreation {
            time: start,
            by: Some(system),
            logon,
            new: &process,
            parent: &sshd,
            session: Some(session),
            facts: facts | Facts::TRANSPORT,
            owner: true,
            ..creation
        };
        self.record_process_start(spec.target, &creation);
        let mut server = Server {
            session,
            spec,
            logon,
            caller,
            process,
            engine: None,
            activity: self.rng.guid(),
        };
        let engine = self.engine(&server, REMOTE);
        self.engine_begins(&server, &engine);
        let runspace = engine.runspace;
        server.engine = Some(engine);
        let (runs, child) = self.work(&server, &client);
        self.server_ends(&server);
        if spec.ending != SessionEnding::Open {
            let gone = format!(
                "Disconnected from user {name} {} port {port}",
                world.machines[spec.source].ip
            );
            self.record_event(
                spec.target,
                openssh::message(FileTime(end), sshd.id, &gone),
                session_facts(Facts::HINT),
            );
            let event = security::logoff(&host, FileTime(end + millis(50)), logon, kind);
            self.record_event(spec.target, event, session_facts(Facts::HINT | Facts::LOGOFF));
        }
        WrittenSession {
            logon_id: logon.id,
            process: server.process,
            runspace,
            child,
            runs,
            shell_started: start,
        }
    }
}
