//! The activity in a session: typed lines and processes.

use evtx_writer::FileTime;

use crate::clock::{Ticks, millis, seconds};
use crate::connect::ClientProcess;
use crate::event_recorder::{EventRecorder, ExecutedItem, ProcessCreation, SessionFacts};
use crate::events::powershell::{ScenarioEngine, VERBOSE, WARNING};
use crate::events::winrm::WsmanEndpoint;
use crate::events::{POWERSHELL, ScenarioProcess};
use crate::facts::Facts;
use crate::plan::{SessionEnding, SessionKind};
use crate::session::Server;

const CONHOST: &str = r"C:\Windows\System32\conhost.exe";

impl<'w> EventRecorder<'w> {
    /// Records what is run, in order. Returns the executed items, and a child process that can be a
    /// client.
    pub(crate) fn work(
        &mut self,
        server: &Server<'_, 'w>,
        client: &ClientProcess<'w>,
    ) -> (Vec<usize>, Option<ScenarioProcess>) {
        let Server { session, spec, .. } = *server;
        let (from, to) = (spec.start + millis(900), spec.end.saturating_sub(millis(300)));
        let length = to.saturating_sub(from).clamp(1, seconds(3600));
        // Processes and lines in turn, as long as there are some of each.
        let turns = (0..spec.commands.max(spec.children)).flat_map(|turn| {
            let process = (turn < spec.children).then_some(true);
            process.into_iter().chain((turn < spec.commands).then_some(false))
        });
        let slot = length / (spec.commands + spec.children).max(1);
        let (mut runs, mut child) = (Vec::new(), None);
        for (step, is_process) in (0..).zip(turns) {
            let time = from + slot * step + self.rng.within(0..slot.max(2)) / 2;
            if is_process {
                let process = self.child(server, time, &mut runs);
                child = child.or(process);
            } else if let Some(engine) = &server.engine {
                runs.push(self.command(server, engine, (time, step as u32)));
                let host = self.world.host(spec.source);
                let end =
                    WsmanEndpoint::client(client.logon.account, &client.process, client.activity)
                        .on(&host);
                let facts = Facts::CLIENT | Facts::CLIENT_PROCESS;
                let sent = end.command(FileTime(time - millis(20)), self.rng.guid());
                if spec.kind != SessionKind::Ssh {
                    self.record_event(spec.source, sent, Some(SessionFacts { session, facts }));
                }
            }
        }
        (runs, child)
    }

    /// A line that is typed: 4104, 4103 and 800.
    fn command(
        &mut self,
        server: &Server<'_, 'w>,
        engine: &ScenarioEngine<'_>,
        (time, step): (Ticks, u32),
    ) -> usize {
        let Server { session, spec, .. } = *server;
        let token = self.token();
        let (name, parameter, value) = match self.rng.within(0..4) {
            0 => ("Get-ChildItem", "Path", format!(r"D:\Data\{token}")),
            1 => ("Get-Service", "Name", token.clone()),
            2 => ("Test-Path", "Path", format!(r"C:\Ops\{token}.txt")),
            _ => ("Get-ADUser", "Identity", token.clone()),
        };
        let text = format!("{name} -{parameter} {value}");
        let run =
            self.run(ExecutedItem { time, text: text.clone(), token, image: None, within: None });
        let facts = self.engine_facts(server) | Facts::HINT;
        // 4104 does not say that its engine is a remote one.
        let block = if self.knows_process(server) { facts } else { Facts::HINT };
        let id = self.rng.guid();
        for event in engine.script(FileTime(time), VERBOSE, id, &[&text]) {
            self.record_execution(spec.target, event, SessionFacts { session, facts: block }, run);
        }
        let invoked = facts | Facts::KIND | Facts::RUNSPACE | Facts::USER;
        let parameters = [(parameter, value.as_str())];
        let at = (2 + 3 * step, 17 + 6 * step);
        let event = engine.command(FileTime(time + millis(30)), at, name, &parameters);
        self.record_execution(spec.target, event, SessionFacts { session, facts: invoked }, run);
        if spec.kind == SessionKind::PowerShell {
            let facts = Facts::SERVER | Facts::KEYED | Facts::KIND | Facts::RUNSPACE;
            let facts = facts | Facts::USER.when(!spec.virtual_account);
            let event = engine.pipeline(
                FileTime(time + millis(32)),
                (at.0, at.1 - 1),
                " ",
                name,
                &parameters,
            );
            self.record_execution(spec.target, event, SessionFacts { session, facts }, run);
        }
        run
    }

    /// A child process; of a PowerShell session sometimes an engine, which can be a client.
    fn child(
        &mut self,
        server: &Server<'_, 'w>,
        time: Ticks,
        runs: &mut Vec<usize>,
    ) -> Option<ScenarioProcess> {
        let Server { session, spec, logon, .. } = *server;
        let token = self.token();
        let is_client = spec.kind != SessionKind::Winrs
            && (spec.case.ends_with("child") || self.rng.percent(20));
        let (image, line) = match (spec.kind, is_client) {
            (_, true) => {
                (POWERSHELL, format!("\"{POWERSHELL}\" -NoProfile -Command Sync-Share {token}"))
            }
            (SessionKind::Winrs, _) => (
                r"C:\Windows\System32\cmd.exe",
                format!(r"C:\Windows\system32\cmd.exe /C dir D:\{token}"),
            ),
            _ => {
                let image = *self.rng.pick(&[
                    r"C:\Windows\System32\whoami.exe",
                    r"C:\Windows\System32\net.exe",
                    r"C:\Windows\System32\robocopy.exe",
                ]);
                (image, format!("\"{image}\" {token}"))
            }
        };
        // A client is there before the session that it starts.
        let time = if is_client { spec.start + millis(self.rng.within(950..2_500)) } else { time };
        let ends = if is_client {
            spec.end.saturating_sub(millis(50)).max(time + millis(400))
        } else {
            time + millis(self.rng.within(80..3_000))
        };
        let ends = ends.min(spec.end + millis(60)).max(time + millis(10));
        let id = self.process_id(spec.target, time, ends);
        let process = ScenarioProcess::new(id, image, line.clone());
        let run =
            self.run(ExecutedItem { time, text: line, token, image: Some(image), within: None });
        runs.push(run);
        let facts = Facts::SERVER | Facts::KEYED | Facts::PROCESS;
        let facts = facts | Facts::LOGON.when(!spec.virtual_account);
        let facts = facts | Facts::CLIENT_TREE | Facts::USER.when(!spec.virtual_account);
        // A child shows the session only where its parent is seen to be a remoting host.
        let creation = ProcessCreation {
            time,
            by: None,
            logon,
            new: &process,
            parent: &server.process,
            session: Some(session),
            facts: facts | Facts::HINT,
            owner: false,
            run: Some(run),
        };
        self.record_process_start(spec.target, &creation);
        let conhost_id = self.process_id(spec.target, time + millis(5), ends);
        let conhost = ScenarioProcess::new(
            conhost_id,
            CONHOST,
            format!(r"\??\{CONHOST} 0xffffffff -ForceV1"),
        );
        let beside = ProcessCreation {
            time: time + millis(5),
            new: &conhost,
            parent: &process,
            session: None,
            run: None,
            facts: Facts::NONE,
            ..creation
        };
        self.record_process_start(spec.target, &beside);
        if is_client {
            let engine =
                ScenarioEngine { process: process.clone(), ..self.engine(server, "ConsoleHost") };
            runs.push(self.child_works(server, &engine, time, run));
        }
        if spec.ending != SessionEnding::Open || !is_client {
            self.record_process_exit(spec.target, ends, logon, &process, None);
            self.record_process_exit(spec.target, ends + millis(8), logon, &conhost, None);
        }
        is_client.then_some(process)
    }

    /// Records what an engine in a child process runs. It belongs to the session if the logs show
    /// the process.
    fn child_works(
        &mut self,
        server: &Server<'_, 'w>,
        engine: &ScenarioEngine<'_>,
        time: Ticks,
        process: usize,
    ) -> usize {
        let Server { session, spec, .. } = *server;
        let session_facts = SessionFacts { session, facts: Facts::HINT };
        let at = |ms: u64| FileTime(time + millis(ms));
        for event in engine.console_started(at(100), at(300)) {
            self.record_event(spec.target, event, Some(session_facts));
        }
        let token = self.token();
        let text = format!("Sync-Share {token}");
        let block = self.rng.guid();
        let script = engine.script(at(320), WARNING, block, &[&text]);
        let run = self.run(ExecutedItem {
            time: time + millis(320),
            text,
            token,
            image: None,
            within: Some(process),
        });
        for event in script {
            self.record_execution(spec.target, event, session_facts, run);
        }
        run
    }
}
