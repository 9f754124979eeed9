//! Everything else that a machine logs in a day. None of it is a remoting session.

use evtx_writer::{EvtxEvent, FileTime};

use crate::clock::{BEGIN, LENGTH, MOVED, Ticks, millis, seconds};
use crate::event_recorder::{EventRecorder, ProcessCreation, ProcessIds};
use crate::events::powershell::{REMOTE, ScenarioEngine, VERBOSE};
use crate::events::security::{self, LogonSource};
use crate::events::system::service_state;
use crate::events::winrm::WsmanEndpoint;
use crate::events::{NETWORK_SERVICE, POWERSHELL, SYSTEM, ScenarioLogon, ScenarioProcess};
use crate::facts::Facts;
use crate::rng::Rng;
use crate::world::{FleetWorld, MachineRole};

const SVCHOST: &str = r"C:\Windows\System32\svchost.exe";
const SUBSCRIPTION: &str =
    "http://schemas.microsoft.com/wbem/wsman/1/SubscriptionManager/Subscription";
const CIM: &str = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";

/// Programs and command lines of ordinary processes.
const PROGRAMS: [(&str, &str); 6] = [
    (r"C:\Windows\System32\taskhostw.exe", "taskhostw.exe Install $(Arg0)"),
    (SVCHOST, r"C:\Windows\system32\svchost.exe -k netsvcs -p -s BITS"),
    (r"C:\Windows\System32\backgroundTaskHost.exe", "backgroundTaskHost.exe -ServerName:App"),
    (r"C:\Windows\System32\RuntimeBroker.exe", r"C:\Windows\System32\RuntimeBroker.exe -Embedding"),
    (r"C:\Windows\System32\dllhost.exe", r"C:\Windows\system32\DllHost.exe /Processid:{AB8902B4}"),
    (r"C:\Windows\System32\gpupdate.exe", r"C:\Windows\system32\gpupdate.exe /target:computer"),
];

/// A machine's noise: at least `count` events, in no order, as its logs show them.
pub(crate) fn of_machine(
    (world, moved): (&FleetWorld, &FleetWorld),
    machine: usize,
    count: usize,
    rng: Rng,
    ids: &ProcessIds,
) -> Vec<EvtxEvent> {
    let mut event_recorder = EventRecorder::new(world, rng);
    // Logon ids of noise are far from those of sessions, process ids between theirs.
    event_recorder.skip_logons(machine, 0x8000_0000);
    event_recorder.process_ids[machine] = ids.clone();
    let mut noise = Noise { machine, event_recorder, from: BEGIN, to: MOVED };
    // What is not audited is no event: a machine that logs next to nothing is done at some time.
    let mut rounds = 0;
    let before = count * (MOVED - BEGIN) as usize / LENGTH as usize;
    for (world, from, to, count) in
        [(world, BEGIN, MOVED, before), (moved, MOVED, BEGIN + LENGTH, count)]
    {
        (noise.event_recorder.world, noise.from, noise.to) = (world, from, to);
        while noise.event_recorder.entries.len() < count && rounds < 4 * count {
            noise.something();
            rounds += 1;
        }
    }
    noise.event_recorder.entries.into_iter().map(|entry| entry.event).collect()
}

struct Noise<'w> {
    machine: usize,
    event_recorder: EventRecorder<'w>,
    /// The part of the day that it makes.
    from: Ticks,
    to: Ticks,
}

impl Noise<'_> {
    fn record_event(&mut self, event: EvtxEvent) {
        self.event_recorder.record_event(self.machine, event, None);
    }

    fn time(&mut self) -> Ticks {
        self.event_recorder.rng.within(self.from..self.to)
    }

    fn other_machine(&mut self) -> usize {
        let count = self.event_recorder.world.machines.len() as u64;
        (self.machine + self.event_recorder.rng.within(1..count) as usize) % count as usize
    }

    fn person(&mut self) -> usize {
        self.event_recorder.rng.within(0..self.event_recorder.world.domain_people as u64) as usize
    }

    fn something(&mut self) {
        let role = self.event_recorder.world.machines[self.machine].role;
        if role == MachineRole::Controller && self.event_recorder.rng.percent(45) {
            return self.tickets();
        }
        if role == MachineRole::Collector && self.event_recorder.rng.percent(35) {
            return if self.event_recorder.rng.percent(30) {
                self.watching()
            } else {
                self.forwarded()
            };
        }
        match self.event_recorder.rng.within(0..100) {
            0..22 => self.process(),
            22..34 => self.service_logon(),
            34..50 => self.file_share(),
            50..58 => self.service(),
            58..66 => self.forwarding(),
            66..72 => self.cim_asked(),
            72..76 if role == MachineRole::Workstation => self.cim_asks(),
            76..84 => self.local_powershell(),
            84..88 => self.job(),
            88..93 => self.seated(),
            _ => self.connection(),
        }
    }

    fn process(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let time = self.time();
        let &(image, command) = self.event_recorder.rng.pick(&PROGRAMS);
        let by = if self.event_recorder.rng.percent(30) {
            host.network_service()
        } else {
            host.system()
        };
        let ends = time + millis(self.event_recorder.rng.within(500..300_000));
        let parent = ScenarioProcess::new(
            668,
            r"C:\Windows\System32\services.exe",
            r"C:\Windows\system32\services.exe",
        );
        self.runs(time, ends, by, image, command.to_owned(), &parent);
    }

    /// A process from start to end; its id.
    fn runs(
        &mut self,
        time: Ticks,
        ends: Ticks,
        logon: ScenarioLogon<'_>,
        image: &'static str,
        command: String,
        parent: &ScenarioProcess,
    ) -> ScenarioProcess {
        let id = self.event_recorder.process_id(self.machine, time, ends);
        let process = ScenarioProcess::new(id, image, command);
        let creation = ProcessCreation {
            time,
            by: None,
            logon,
            new: &process,
            parent,
            session: None,
            facts: Facts::NONE,
            owner: false,
            run: None,
        };
        self.event_recorder.record_process_start(self.machine, &creation);
        self.event_recorder.record_process_exit(self.machine, ends, logon, &process, None);
        process
    }

    fn service_logon(&mut self) {
        let host = self.event_recorder.world.host(self.machine);
        let time = FileTime(self.time());
        let session = SYSTEM.logon(0x3e7);
        self.record_event(security::plain_logon(
            &host,
            time,
            session,
            LogonSource::local(&host, 5),
        ));
        self.record_event(security::privileges(&host, FileTime(time.0 + 90), session));
    }

    /// People and machines have files open here; NTLM names a workstation, Kerberos an address.
    fn file_share(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let from = world.host(self.other_machine());
        let person = self.person();
        let account =
            if self.event_recorder.rng.percent(40) { from.account } else { world.account(person) };
        let time = self.time();
        let logon = account.logon(self.event_recorder.logon_id(self.machine));
        let source = LogonSource::kerberos_from(from.ip, self.event_recorder.rng.port());
        self.record_event(security::plain_logon(&host, FileTime(time), logon, source));
        let ends = time + seconds(self.event_recorder.rng.within(2..300));
        self.record_event(security::logoff(&host, FileTime(ends), logon, 3));
    }

    fn service(&mut self) {
        let time = FileTime(self.time());
        let name =
            *self.event_recorder.rng.pick(&["Windows Update", "Software Protection", "BITS"]);
        let state = *self.event_recorder.rng.pick(&["running", "stopped"]);
        self.record_event(service_state(time, name, state));
    }

    /// Event forwarding: svchost.exe as NETWORK SERVICE talks to the collector.
    fn forwarding(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let Some(&collector) = world.of_role(MachineRole::Collector).first() else { return };
        let to = world.host(collector);
        let time = self.time();
        let at = |ms: u64| FileTime(time + millis(ms));
        let end = WsmanEndpoint::service(&host, NETWORK_SERVICE, self.event_recorder.rng.guid());
        let connection = format!("{}/wsman/SubscriptionManager/WEC", to.fqdn());
        self.record_event(end.session(at(0), &connection));
        self.record_event(end.session_created(at(1)));
        self.record_event(end.operation(at(2), "Enumeration", SUBSCRIPTION));
        self.record_event(end.operation_done(at(40), "Enumeration"));
        for event in end.session_closed(at(41), at(42)) {
            self.record_event(event);
        }
        let process = ScenarioProcess::new(host.winrm, SVCHOST, "");
        let port = self.event_recorder.rng.port();
        self.record_event(security::connection_out(at(3), &process, (&host, port), (&to, 5985)));
    }

    /// Event forwarding, as the collector logs it.
    fn forwarded(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let from = world.host(self.other_machine());
        let time = self.time();
        let port = self.event_recorder.rng.port();
        self.record_event(security::connection_in(FileTime(time), (&from, port), (&host, 5985)));
        let logon = from.account.logon(self.event_recorder.logon_id(self.machine));
        let source = LogonSource::kerberos();
        self.record_event(security::plain_logon(&host, FileTime(time + millis(9)), logon, source));
        // That a subscription's records look like a shell's is not certain; a rare variant.
        if self.event_recorder.rng.percent(10) {
            let service =
                WsmanEndpoint::service(&host, NETWORK_SERVICE, self.event_recorder.rng.guid());
            self.record_event(service.shell_created(FileTime(time + millis(15)), SUBSCRIPTION));
        }
        let ends = time + seconds(self.event_recorder.rng.within(5..900));
        self.record_event(security::logoff(&host, FileTime(ends), logon, 3));
    }

    /// The collector watches the others over WinRM, without a shell.
    fn watching(&mut self) {
        let monitor = self.event_recorder.world.monitor;
        self.asks(monitor);
    }

    fn cim_asks(&mut self) {
        let person = self.person();
        self.asks(person);
    }

    fn asks(&mut self, person: usize) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let to = world.host(self.other_machine());
        let account = world.account(person);
        let time = self.time();
        let at = |ms: u64| FileTime(time + millis(ms));
        let id = self.event_recorder.process_id(self.machine, time, time + seconds(2));
        let process = ScenarioProcess::new(id, POWERSHELL, "");
        let end =
            WsmanEndpoint::client(account, &process, self.event_recorder.rng.guid()).on(&host);
        self.record_event(end.session(at(0), &format!("{}/wsman", to.fqdn())));
        self.record_event(end.session_created(at(1)));
        self.record_event(end.operation(at(2), "Enumeration", CIM));
        self.record_event(end.operation_done(at(300), "Enumeration"));
        for event in end.session_closed(at(301), at(302)) {
            self.record_event(event);
        }
        let by = account.logon(self.event_recorder.logon_id(self.machine));
        let (guid, port) = (self.event_recorder.rng.guid(), self.event_recorder.rng.port());
        let name = to.fqdn();
        let used = (by, account);
        self.record_event(security::explicit_credentials(
            &host,
            at(20),
            used,
            &name,
            &process,
            guid,
        ));
        self.record_event(security::connection_out(at(24), &process, (&host, port), (&to, 5985)));
    }

    /// A CIM query to this machine.
    fn cim_asked(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let from = world.host(self.other_machine());
        let person =
            if self.event_recorder.rng.percent(70) { world.monitor } else { self.person() };
        let time = self.time();
        let at = |ms: u64| FileTime(time + millis(ms));
        let port = self.event_recorder.rng.port();
        self.record_event(security::connection_in(at(0), (&from, port), (&host, 5985)));
        let logon = world.account(person).logon(self.event_recorder.logon_id(self.machine));
        self.record_event(security::plain_logon(&host, at(50), logon, LogonSource::kerberos()));
        let wmi = r"C:\Windows\System32\wbem\WmiPrvSE.exe";
        let parent = self.event_recorder.dcom(self.machine);
        let command = r"C:\Windows\system32\wbem\wmiprvse.exe -secured -Embedding".to_owned();
        self.runs(
            time + millis(80),
            time + seconds(40),
            host.network_service(),
            wmi,
            command,
            &parent,
        );
        self.record_event(security::logoff(&host, FileTime(time + seconds(60)), logon, 3));
    }

    fn connection(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let to = world.host(self.other_machine());
        let time = FileTime(self.time());
        let process = ScenarioProcess::new(host.dcom, SVCHOST, "");
        let (from_port, to_port) =
            (self.event_recorder.rng.port(), *self.event_recorder.rng.pick(&[445, 135, 389, 443]));
        self.record_event(security::connection_out(
            time,
            &process,
            (&host, from_port),
            (&to, to_port),
        ));
    }

    /// People at the keyboard, unlocking, by Remote Desktop.
    fn seated(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let from = world.host(self.other_machine());
        let person = self.person();
        let time = self.time();
        let logon = world.account(person).logon(self.event_recorder.logon_id(self.machine));
        let source = match self.event_recorder.rng.within(0..3) {
            0 => LogonSource::local(&host, 2),
            1 => LogonSource::local(&host, 7),
            _ => LogonSource::desktop(&host, from.ip),
        };
        let kind = source.kind;
        self.record_event(security::plain_logon(&host, FileTime(time), logon, source));
        let ends = time + seconds(self.event_recorder.rng.within(60..20_000));
        self.record_event(security::logoff(&host, FileTime(ends), logon, kind));
    }

    fn tickets(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let from = world.host(self.other_machine());
        let to =
            world.host(self.event_recorder.rng.within(0..world.machines.len() as u64) as usize);
        let person = self.person();
        let account =
            if self.event_recorder.rng.percent(50) { from.account } else { world.account(person) };
        let time = FileTime(self.time());
        let (port, guid) = (self.event_recorder.rng.port(), self.event_recorder.rng.guid());
        let event = match self.event_recorder.rng.within(0..10) {
            0..2 => security::ticket_granting(
                &host,
                time,
                account,
                world.krbtgt.account(),
                (&from, port),
            ),
            2 => security::ntlm_validated(&host, time, world.account(person), from.name),
            _ => security::service_ticket(&host, time, account, &to, (&from, port), guid),
        };
        self.record_event(event);
    }

    /// PowerShell on the machine itself.
    fn local_powershell(&mut self) {
        let world = self.event_recorder.world;
        let host = world.host(self.machine);
        let person = self.person();
        let as_system = self.event_recorder.rng.percent(40);
        let logon = match as_system {
            true => host.system(),
            false => world.account(person).logon(self.event_recorder.logon_id(self.machine)),
        };
        let parent =
            ScenarioProcess::new(4312, r"C:\Windows\explorer.exe", r"C:\Windows\Explorer.EXE");
        let command = format!(r"{POWERSHELL} -NoProfile -File C:\Ops\Rotate-Logs.ps1");
        self.powershell(logon, command, "ConsoleHost", &parent);
    }

    /// A background job: an engine that calls itself remote, in a powershell.exe of its own.
    fn job(&mut self) {
        let world = self.event_recorder.world;
        let person = self.person();
        let logon = world.account(person).logon(self.event_recorder.logon_id(self.machine));
        let parent = ScenarioProcess::new(4500, POWERSHELL, format!("\"{POWERSHELL}\" "));
        let command = format!(r"{POWERSHELL} -Version 5.1 -s -NoLogo -NoProfile");
        self.powershell(logon, command, REMOTE, &parent);
    }

    fn powershell(
        &mut self,
        logon: ScenarioLogon<'_>,
        command: String,
        host_name: &'static str,
        parent: &ScenarioProcess,
    ) {
        let time = self.time();
        let ends = time + millis(self.event_recorder.rng.within(3_000..120_000));
        let at = |ms: u64| FileTime(time + millis(ms));
        let process = self.runs(time, ends, logon, POWERSHELL, command, parent);
        let old = self.event_recorder.world.machines[self.machine].policy.old_build;
        let version = if old { "2.0" } else { "5.1.20348.2227" };
        let ids = [
            self.event_recorder.rng.guid(),
            self.event_recorder.rng.guid(),
            self.event_recorder.rng.guid(),
        ];
        let account = logon.account;
        let engine =
            ScenarioEngine { host_name, ..ScenarioEngine::console(process, account, version, ids) };
        if host_name != REMOTE {
            for event in engine.console_started(at(90), at(400)) {
                self.record_event(event);
            }
        }
        self.record_event(engine.listening(at(150)));
        for (i, provider) in (0..).zip(["Registry", "Alias", "FileSystem"]) {
            self.record_event(engine.provider(at(160 + u64::from(i)), provider, 1 + 2 * i, true));
        }
        self.record_event(engine.available(at(200), 13));
        let value = format!("noise{:06}", self.event_recorder.rng.within(0..1_000_000));
        let text = format!("Get-Item -Path {value}");
        let block = self.event_recorder.rng.guid();
        for event in engine.script(at(600), VERBOSE, block, &[&text]) {
            self.record_event(event);
        }
        self.record_event(engine.command(at(620), (2, 17), "Get-Item", &[("Path", &value)]));
        self.record_event(engine.pipeline(at(622), (2, 16), " ", "Get-Item", &[("Path", &value)]));
        self.record_event(engine.stopped(FileTime(ends - millis(60)), 29));
    }
}
