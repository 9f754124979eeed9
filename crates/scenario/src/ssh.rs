//! PowerShell 7 over SSH.

use evtx_writer::FileTime;

use crate::clock::{Ticks, millis};
use crate::events::Process;
use crate::events::openssh;
use crate::events::powershell::REMOTE;
use crate::events::security::{self, Source};
use crate::facts::Facts;
use crate::plan::{Ending, Spec};
use crate::scribe::{Begins, Scribe, Tells};
use crate::session::{Done, PWSH, Server};

const SSHD: &str = r"C:\Windows\System32\OpenSSH\sshd.exe";

impl Scribe<'_> {
    /// PowerShell 7 over SSH: sshd starts `pwsh -sshs`, and WinRM has no part in it.
    pub(crate) fn ssh_session(&mut self, session: usize, spec: &Spec) -> Done {
        let world = self.world;
        let client = self.client(spec, &[]);
        let host = world.host(spec.target);
        let caller = world.account(spec.user);
        let logon = caller.logon(self.logon_id(spec.target));
        let at = |ms: u64| FileTime(spec.start + millis(ms));
        let (start, end) = (spec.start + millis(230), spec.end + millis(80));
        let lives = if spec.ending == Ending::Open { Ticks::MAX } else { end };
        self.connection(session, spec, &client, spec.start + millis(80), None);
        let sshd = Process::new(
            self.process_id(spec.target, start - millis(100), lives),
            SSHD,
            format!("\"{SSHD}\" -z"),
        );
        let process = Process::new(
            self.process_id(spec.target, start, lives),
            PWSH,
            format!("\"{PWSH}\" -sshs -NoLogo -NoProfile"),
        );
        let port = self.rng.port();
        let name = caller.full_name().to_lowercase();
        let from = format!("{name} from {} port {port} ssh2", world.machines[spec.source].ip);
        let told = Facts::HINT | Facts::USER | Facts::SOURCE_IP | Facts::TRANSPORT;
        let tells = |facts: Facts| Some(Tells { session, facts });
        // By password or by key; what the logon of either looks like is not certain.
        let (accepted, source) = match self.rng.percent(50) {
            true => (format!("Accepted password for {from}"), Source::cleartext(&host)),
            false => {
                (format!("Accepted publickey for {from}: ED25519 SHA256:{port}"), Source::advapi(3))
            }
        };
        self.put(spec.target, openssh::message(at(150), sshd.id, &accepted), tells(told));
        let kind = source.kind;
        let logon_event = security::plain_logon(&host, at(160), logon, source);
        self.put(spec.target, logon_event, tells(Facts::HINT | Facts::KEYED));
        let system = host.system();
        let service = Process::new(2_000, SSHD, SSHD);
        let begins = Begins {
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
        self.process_begins(spec.target, &begins);
        let facts = Facts::SERVER | Facts::START | Facts::KEYED | Facts::KIND | Facts::PROCESS;
        let begins = Begins {
            time: start,
            by: Some(system),
            logon,
            new: &process,
            parent: &sshd,
            session: Some(session),
            facts: facts | Facts::TRANSPORT,
            owner: true,
            ..begins
        };
        self.process_begins(spec.target, &begins);
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
        if spec.ending != Ending::Open {
            let gone = format!(
                "Disconnected from user {name} {} port {port}",
                world.machines[spec.source].ip
            );
            self.put(
                spec.target,
                openssh::message(FileTime(end), sshd.id, &gone),
                tells(Facts::HINT),
            );
            let event = security::logoff(&host, FileTime(end + millis(50)), logon, kind);
            self.put(spec.target, event, tells(Facts::HINT | Facts::LOGOFF));
        }
        Done {
            logon_id: logon.id,
            process: server.process,
            runspace,
            child,
            runs,
            shell_started: start,
        }
    }
}
