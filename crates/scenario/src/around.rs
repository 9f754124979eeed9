//! Activity near some sessions, close enough to be mistaken for a part of them.

use evtx_writer::FileTime;

use crate::clock::{millis, seconds};
use crate::event_recorder::EventRecorder;
use crate::events::security::{self, LogonSource};
use crate::plan::SessionPlan;

impl EventRecorder<'_> {
    /// Tickets and file shares of the session's target.
    pub(crate) fn around(&mut self, spec: &SessionPlan) {
        let world = self.world;
        let target = world.host(spec.target);
        if spec.others_tickets {
            let others: Vec<usize> =
                (0..world.domain_people).filter(|&person| person != spec.user).collect();
            for _ in 0..4 {
                let account = world.account(*self.rng.pick(&others));
                let from = self.rng.within(0..world.machines.len() as u64) as usize;
                let time = FileTime(spec.start - millis(self.rng.within(500..50_000)));
                let (controller, port, ticket) =
                    (self.controller(), self.rng.port(), self.rng.guid());
                let dc = world.host(controller);
                let asked = security::service_ticket(
                    &dc,
                    time,
                    account,
                    &target,
                    (&world.host(from), port),
                    ticket,
                );
                self.record_event(controller, asked, None);
            }
        }
        if spec.own_ticket_elsewhere {
            let from = world.host(self.rng.within(0..world.machines.len() as u64) as usize);
            let time = FileTime(spec.start - millis(self.rng.within(5_000..40_000)));
            let (controller, port, ticket) = (self.controller(), self.rng.port(), self.rng.guid());
            let dc = world.host(controller);
            let account = world.account(spec.user);
            let asked =
                security::service_ticket(&dc, time, account, &target, (&from, port), ticket);
            self.record_event(controller, asked, None);
        }
        if spec.file_shares {
            let account = world.account(spec.user);
            for _ in 0..4 {
                let from = self.rng.within(0..world.machines.len() as u64) as usize;
                let length = (spec.end - spec.start).max(2);
                let time = spec.start - seconds(3) + self.rng.within(0..length);
                let logon = account.logon(self.logon_id(spec.target));
                let source = LogonSource::kerberos_from(&world.machines[from].ip, self.rng.port());
                self.record_event(
                    spec.target,
                    security::plain_logon(&target, FileTime(time), logon, source),
                    None,
                );
                let ends = FileTime(time + seconds(self.rng.within(5..60)));
                self.record_event(spec.target, security::logoff(&target, ends, logon, 3), None);
            }
        }
    }
}
