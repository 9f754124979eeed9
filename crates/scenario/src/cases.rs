//! Which sessions and failed attempts there are, case by case.

use crate::Config;
use crate::clock::{BEGIN, LENGTH, MIDNIGHT, MOVED, millis, seconds};
use crate::plan::{
    AttemptFailure, AttemptPlan, AuthMethod, FleetPlan, LogLoss, LostLog, ParentSession,
    SessionEnding, SessionKind, SessionPlan, SessionTransport, TargetNaming,
};
use crate::rng::Rng;
use crate::world::{FleetWorld, MachineRole};

impl FleetPlan {
    pub(crate) fn make(config: &Config, world: &FleetWorld, rng: &mut Rng) -> FleetPlan {
        let mut planner = SessionPlanner { world, rng, plan: FleetPlan::default() };
        planner.lost_logs(config);
        let mut case = 0;
        while planner.plan.sessions.len() < config.sessions {
            CASES[case % CASES.len()](&mut planner);
            case += 1;
        }
        planner.stay();
        planner.plan
    }
}

/// The channels that lose records.
const HOLES: [&str; 4] = [
    "Security",
    "Microsoft-Windows-PowerShell/Operational",
    "Microsoft-Windows-WinRM/Operational",
    "Windows PowerShell",
];

/// All cases, in turn.
const CASES: [fn(&mut SessionPlanner<'_>); 35] = [
    |p| p.one("kerberos by name", |_, _| {}),
    |p| {
        p.one("ntlm by address", |_, s| {
            s.auth = AuthMethod::Ntlm;
            s.called = TargetNaming::Address;
        })
    },
    |p| p.workgroup(),
    |p| {
        p.one("basic over https", |_, s| {
            s.auth = AuthMethod::Basic;
            s.wire = SessionTransport::HttpsNamed;
        })
    },
    |p| p.one("credssp", |_, s| s.auth = AuthMethod::CredSsp),
    |p| {
        p.one("certificate", |p, s| {
            s.auth = AuthMethod::Certificate;
            s.wire = *p.rng.pick(&[SessionTransport::Https, SessionTransport::HttpsNamed]);
        })
    },
    |p| p.one("https", |_, s| s.wire = SessionTransport::HttpsNamed),
    // Whether the connection string of the default HTTPS port names the scheme is not certain:
    // this is the variant where it does not.
    |p| p.one("https, not said by the client", |_, s| s.wire = SessionTransport::Https),
    |p| p.one("winrs", SessionPlanner::make_winrs),
    |p| p.one("JEA endpoint", |_, s| s.configuration = "JEAMaintenance"),
    |p| {
        p.one("JEA endpoint with virtual account", |_, s| {
            s.configuration = "JEAMaintenance";
            s.virtual_account = true;
        })
    },
    |p| p.one("custom endpoint", |_, s| s.configuration = "Contoso.Ops"),
    |p| {
        p.one("PowerShell 7", |p, s| {
            s.kind = SessionKind::Core;
            s.configuration = *p.rng.pick(&["PowerShell.7", "PowerShell.7.4.6"]);
        })
    },
    |p| p.ssh(),
    |p| p.old_target(),
    |p| p.old_client(),
    |p| p.one_account_from_two(),
    |p| p.two_accounts(),
    |p| p.twice_from_one(),
    |p| p.one_logon(),
    |p| p.over_midnight(),
    |p| {
        p.one("unclosed", |_, s| {
            s.ending = SessionEnding::Open;
            s.end = BEGIN + LENGTH;
        })
    },
    |p| p.second_hop("second hop", false),
    |p| p.second_hop("second hop from a child", true),
    |p| p.client_only("client's and controller's logs only", false),
    |p| p.client_only("client's logs only", true),
    |p| p.target_only(),
    |p| p.no_source(),
    |p| p.controller_only(),
    |p| p.hole_inside(),
    |p| p.process_id_again(),
    |p| {
        p.one("other credentials", |p, s| {
            s.user = p.administrator();
            s.runner = p.somebody();
        })
    },
    |p| {
        p.one("others' tickets before", |_, s| {
            s.others_tickets = true;
            s.own_ticket_elsewhere = true;
            s.ticket_cached = true;
        })
    },
    |p| p.failures(),
    |p| p.one("file shares meanwhile", |_, s| s.file_shares = true),
];

struct SessionPlanner<'p> {
    world: &'p FleetWorld,
    rng: &'p mut Rng,
    plan: FleetPlan,
}

impl SessionPlanner<'_> {
    /// Early in the day some logs lose what was before.
    fn lost_logs(&mut self, config: &Config) {
        let servers = self.world.of_role(MachineRole::Server);
        if servers.is_empty() {
            return;
        }
        let fates = [
            (LogLoss::Cleared, config.loss.cleared),
            (LogLoss::RolledOver, config.loss.rolled_over),
        ];
        let fates = fates.into_iter().flat_map(|(fate, count)| std::iter::repeat_n(fate, count));
        for (nth, fate) in fates.enumerate() {
            let lost_log = LostLog {
                machine: servers[nth % servers.len()],
                channel: HOLES[nth % HOLES.len()],
                until: BEGIN + seconds(self.rng.within(3600..5 * 3600)),
                fate,
            };
            self.plan.lost_logs.push(lost_log);
        }
    }

    /// No session of a machine outlives its address: its connections would.
    fn stay(&mut self) {
        let moving = self.world.moving();
        for spec in &mut self.plan.sessions {
            let moves = moving.contains(&spec.source) || moving.contains(&spec.target);
            if moves && spec.start < MOVED && spec.end > MOVED {
                spec.end = MOVED.max(spec.start + seconds(2));
            }
        }
    }

    fn administrator(&mut self) -> usize {
        self.rng.within(0..6) as usize
    }

    /// Somebody of the domain.
    fn somebody(&mut self) -> usize {
        self.rng.within(6..self.world.domain_people as u64) as usize
    }

    fn source(&mut self, target: usize) -> usize {
        let mut sources = self.world.of_role(MachineRole::Workstation);
        sources.extend(self.world.of_role(MachineRole::Collector));
        loop {
            let source = *self.rng.pick(&sources);
            if source != target {
                return source;
            }
        }
    }

    /// A machine of the domain that is collected.
    fn target(&mut self) -> usize {
        let mut targets = self.world.of_role(MachineRole::Server);
        targets.retain(|&machine| !self.world.machines[machine].workgroup);
        if self.rng.percent(20) || targets.is_empty() {
            targets = self.world.of_role(MachineRole::Workstation);
        } else if self.rng.percent(7) {
            targets = self.world.of_role(MachineRole::Controller);
        }
        *self.rng.pick(&targets)
    }

    /// The usual session: an administrator, by name, with Kerberos.
    fn usual(&mut self, case: &'static str) -> SessionPlan {
        let target = self.target();
        let user = self.administrator();
        let start = BEGIN + seconds(1800) + millis(self.rng.within(0..80_000_000));
        let cached = self.rng.percent(15);
        let mut spec = SessionPlan {
            case,
            start,
            end: start + millis(self.rng.within(20_000..2_400_000)),
            source: self.source(target),
            target,
            runner: user,
            user,
            auth: AuthMethod::Kerberos,
            wire: if self.rng.percent(10) {
                SessionTransport::HttpNamed
            } else {
                SessionTransport::Http
            },
            called: if self.rng.percent(70) { TargetNaming::Full } else { TargetNaming::Short },
            kind: SessionKind::PowerShell,
            configuration: "Microsoft.PowerShell",
            virtual_account: false,
            ticket_cached: cached,
            ending: if self.rng.percent(8) { SessionEnding::Killed } else { SessionEnding::Closed },
            connections: self.rng.within(1..5),
            commands: self.rng.within(1..7),
            children: self.rng.within(0..4),
            parent: None,
            logon_of: None,
            process_id_of: None,
            others_tickets: false,
            own_ticket_elsewhere: false,
            file_shares: false,
        };
        if self.rng.percent(15) {
            self.make_winrs(&mut spec);
        }
        spec
    }

    fn make_winrs(&mut self, spec: &mut SessionPlan) {
        spec.kind = SessionKind::Winrs;
        spec.configuration = "";
        spec.commands = 0;
        spec.children = self.rng.within(1..3);
        spec.end = spec.start + millis(self.rng.within(2_000..20_000));
    }

    /// The usual session, of PowerShell.
    fn usual_powershell(&mut self, case: &'static str) -> SessionPlan {
        loop {
            let spec = self.usual(case);
            if spec.kind == SessionKind::PowerShell {
                return spec;
            }
        }
    }

    fn add(&mut self, spec: SessionPlan) -> usize {
        self.plan.sessions.push(spec);
        self.plan.sessions.len() - 1
    }

    fn one(&mut self, case: &'static str, change: impl FnOnce(&mut Self, &mut SessionPlan)) {
        let mut spec = self.usual_powershell(case);
        change(self, &mut spec);
        self.new_enough(&mut spec);
        self.add(spec);
    }

    /// Windows 7 has no PowerShell 7 and is no part of what needs a newer system.
    fn new_enough(&mut self, spec: &mut SessionPlan) {
        let newer = matches!(spec.kind, SessionKind::Core | SessionKind::Ssh)
            || matches!(spec.configuration, "JEAMaintenance" | "Contoso.Ops");
        while newer && self.world.machines[spec.target].policy.old_build {
            spec.target = self.target();
            spec.source = self.source(spec.target);
        }
    }

    fn workgroup(&mut self) {
        let mut spec = self.usual_powershell("workgroup");
        let targets: Vec<usize> = (0..self.world.collected)
            .filter(|&machine| self.world.machines[machine].workgroup)
            .collect();
        if !targets.is_empty() {
            spec.target = *self.rng.pick(&targets);
            spec.user = self.world.local_account(spec.target).unwrap_or(spec.user);
            spec.auth = AuthMethod::Ntlm;
            spec.called = *self.rng.pick(&[TargetNaming::Short, TargetNaming::Address]);
        }
        self.add(spec);
    }

    fn ssh(&mut self) {
        self.one("PowerShell 7 over SSH", |_, s| {
            s.kind = SessionKind::Ssh;
            s.wire = SessionTransport::Ssh;
            s.auth = AuthMethod::Ssh;
            s.configuration = "";
        });
    }

    fn old(&self) -> Vec<usize> {
        let machines = 0..self.world.collected;
        machines.filter(|&machine| self.world.machines[machine].policy.old_build).collect()
    }

    fn old_target(&mut self) {
        let mut spec = self.usual("old target");
        let old = self.old();
        if !old.is_empty() {
            spec.target = *self.rng.pick(&old);
            spec.source = self.source(spec.target);
        }
        self.add(spec);
    }

    fn old_client(&mut self) {
        let mut spec = self.usual("old client");
        let old = self.old();
        if !old.is_empty() {
            spec.source = *self.rng.pick(&old);
            while spec.target == spec.source {
                spec.target = self.target();
            }
        }
        self.add(spec);
    }

    /// `spec` again, a moment later.
    fn again(&mut self, spec: &SessionPlan) -> SessionPlan {
        let start = spec.start + millis(self.rng.within(1_500..9_000));
        let end = start + millis(self.rng.within(20_000..900_000));
        let (commands, children) = (self.rng.within(1..5), self.rng.within(0..3));
        SessionPlan { start, end, commands, children, ticket_cached: false, ..spec.clone() }
    }

    fn one_account_from_two(&mut self) {
        let first = self.usual_powershell("one account from two sources");
        let mut second = self.again(&first);
        while second.source == first.source {
            second.source = self.source(first.target);
        }
        self.add(first);
        self.add(second);
    }

    fn two_accounts(&mut self) {
        let first = self.usual_powershell("two accounts at once");
        let mut second = self.again(&first);
        while second.user == first.user {
            second.user = self.administrator();
        }
        second.runner = second.user;
        if self.rng.percent(50) {
            second.source = self.source(first.target);
        }
        self.add(first);
        self.add(second);
    }

    fn twice_from_one(&mut self) {
        let first = self.usual_powershell("twice from one source");
        let second = self.again(&first);
        self.add(first);
        self.add(second);
    }

    fn one_logon(&mut self) {
        let mut first = self.usual_powershell("several sessions in one logon");
        first.ending = SessionEnding::Closed;
        let second = self.again(&first);
        let second = SessionPlan { end: second.end.max(first.end + seconds(5)), ..second };
        let first = self.add(first);
        self.add(SessionPlan { logon_of: Some(first), ..second });
    }

    fn over_midnight(&mut self) {
        let mut spec = self.usual_powershell("over midnight");
        spec.start = MIDNIGHT - seconds(self.rng.within(20..1800));
        spec.end = MIDNIGHT + seconds(self.rng.within(20..1800));
        self.add(spec);
    }

    fn second_hop(&mut self, case: &'static str, by_child: bool) {
        let mut first = self.usual_powershell(case);
        // Whoever goes on needs a way to: CredSSP, or a password in the session.
        first.auth = *self.rng.pick(&[AuthMethod::CredSsp, AuthMethod::Kerberos]);
        first.end = first.end.max(first.start + seconds(90));
        first.children = first.children.max(1);
        let mut second = self.usual_powershell(case);
        second.source = first.target;
        while second.target == first.target || second.target == first.source {
            second.target = self.target();
        }
        second.runner = first.user;
        second.user =
            if first.auth == AuthMethod::CredSsp { first.user } else { self.administrator() };
        let length = first.end - first.start;
        second.start = first.start + length / 4;
        second.end = second.start + length / 2;
        second.ticket_cached = false;
        let session = self.add(first);
        self.add(SessionPlan { parent: Some(ParentSession { session, by_child }), ..second });
    }

    fn client_only(&mut self, case: &'static str, ticket_cached: bool) {
        let mut spec = self.usual(case);
        let absent = self.world.absent();
        if !absent.is_empty() {
            spec.target = *self.rng.pick(&absent);
            while !self.world.machines[spec.source].policy.winrm {
                spec.source = self.source(spec.target);
            }
            spec.ticket_cached = ticket_cached;
            if !ticket_cached && self.rng.percent(50) {
                spec.auth = AuthMethod::Ntlm;
                spec.called = TargetNaming::Address;
            }
        }
        self.add(spec);
    }

    fn target_only(&mut self) {
        let mut spec = self.usual("target's logs only");
        let absent = self.world.absent();
        if !absent.is_empty() {
            spec.source = *self.rng.pick(&absent);
            spec.ticket_cached = self.rng.percent(50);
            if self.rng.percent(30) {
                spec.auth = AuthMethod::Ntlm;
            }
        }
        self.add(spec);
    }

    /// From a machine that is not collected, to one that does not log who calls.
    fn no_source(&mut self) {
        let mut spec = self.usual("nothing names the source");
        let quiet = |&machine: &usize| {
            let policy = self.world.machines[machine].policy;
            !policy.connections && !policy.sysmon && !policy.shell.names_caller()
        };
        let targets: Vec<usize> = (0..self.world.collected).filter(quiet).collect();
        let absent = self.world.absent();
        if !absent.is_empty() && !targets.is_empty() {
            spec.source = *self.rng.pick(&absent);
            spec.target = *self.rng.pick(&targets);
            spec.auth = AuthMethod::Kerberos;
            spec.ticket_cached = true;
            spec.others_tickets = true;
            spec.file_shares = true;
        }
        self.add(spec);
    }

    fn controller_only(&mut self) {
        let mut spec = self.usual_powershell("domain controller's logs only");
        let absent = self.world.absent();
        if absent.len() > 1 {
            spec.source = absent[0];
            spec.target = absent[1];
            spec.ticket_cached = false;
        }
        self.add(spec);
    }

    fn hole_inside(&mut self) {
        let mut spec = self.usual_powershell("log lost inside");
        if !self.plan.lost_logs.is_empty() {
            let lost_log = self.rng.pick(&self.plan.lost_logs).clone();
            spec.target = lost_log.machine;
            spec.source = self.source(spec.target);
            if let Some(user) = self.world.local_account(spec.target) {
                spec.user = user;
                spec.auth = AuthMethod::Ntlm;
            }
            spec.start = lost_log.until - seconds(self.rng.within(20..1200));
            spec.end = lost_log.until + seconds(self.rng.within(60..1200));
            spec.commands = 6;
        }
        self.add(spec);
    }

    fn process_id_again(&mut self) {
        let mut first = self.usual_powershell("process id again");
        first.ending = SessionEnding::Closed;
        let mut second = self.usual_powershell("process id again");
        second.target = first.target;
        if second.source == second.target {
            second.source = self.source(second.target);
        }
        let length = second.end - second.start;
        second.start = first.end + seconds(self.rng.within(5..600));
        second.end = second.start + length;
        let session = self.add(first);
        self.add(SessionPlan { process_id_of: Some(session), ..second });
    }

    /// Some attempts that fail, the first with a session after it.
    fn failures(&mut self) {
        let spec = self.usual_powershell("after failed attempts");
        let time = spec.start - seconds(self.rng.within(8..40));
        let (source, target, user, called) = (spec.source, spec.target, spec.user, spec.called);
        let session = self.add(spec);
        let failure =
            *self.rng.pick(&[AttemptFailure::NtlmPassword, AttemptFailure::KerberosPassword]);
        let case = "failed, then success";
        let success = Some(session);
        let then = AttemptPlan { case, time, source, target, user, called, failure, success };
        self.plan.failures.push(then);
        for (case, failure) in [
            ("wrong password by NTLM", AttemptFailure::NtlmPassword),
            ("wrong password by Kerberos", AttemptFailure::KerberosPassword),
            ("not authorised", AttemptFailure::NotAuthorised),
            ("access denied", AttemptFailure::AccessDenied),
            ("unreachable", AttemptFailure::Unreachable),
        ] {
            let target = self.target();
            let mut spec = AttemptPlan {
                case,
                time: BEGIN + seconds(1800) + millis(self.rng.within(0..80_000_000)),
                source: self.source(target),
                target,
                user: self.somebody(),
                called: *self.rng.pick(&[TargetNaming::Full, TargetNaming::Short]),
                failure,
                success: None,
            };
            let absent = self.world.absent();
            // Some of them seen from one side only.
            match self.rng.within(0..4) {
                0 if !absent.is_empty() => spec.source = *self.rng.pick(&absent),
                1 if !absent.is_empty() => spec.target = *self.rng.pick(&absent),
                _ => {}
            }
            if spec.source != spec.target {
                self.plan.failures.push(spec);
            }
        }
    }
}
