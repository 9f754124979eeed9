//! Attempts that make no session: what each end and the domain controller log of them.

use evtx_writer::FileTime;

use crate::clock::{millis, seconds};
use crate::event_recorder::EventRecorder;
use crate::events::powershell::ClientRunspacePool;
use crate::events::security::{self, LogonSource};
use crate::events::winrm::{POWERSHELL_SHELL, WsmanEndpoint};
use crate::events::{NETWORK_SERVICE, POWERSHELL, ScenarioProcess};
use crate::plan::{AttemptFailure, AttemptPlan, SessionTransport};

const ERROR_ACCESS_DENIED: u32 = 5;
const ERROR_LOGON_FAILURE: u32 = 1326;
/// The client cannot complete the operation in time (wsmerror.h).
const ERROR_WSMAN_CANNOT_CONNECT: u32 = 0x8033_8126;
const STATUS_WRONG_PASSWORD: u32 = 0xc000_006a;
/// Pre-authentication failed (RFC 4120).
const KDC_ERR_PREAUTH_FAILED: u32 = 0x18;

impl EventRecorder<'_> {
    /// Records a failed attempt.
    pub(crate) fn failure(&mut self, attempt: usize, spec: &AttemptPlan) {
        let world = self.world;
        let (source, target) = (world.host(spec.source), world.host(spec.target));
        let account = world.account(spec.user);
        let at = |ms: u64| FileTime(spec.time + millis(ms));
        let id = self.process_id(spec.source, spec.time - seconds(9), spec.time + seconds(60));
        let process = ScenarioProcess::new(id, POWERSHELL, format!("\"{POWERSHELL}\" "));
        let by = account.logon(self.logon_id(spec.source));

        let pool = ClientRunspacePool {
            process_id: id,
            account,
            runspace: self.rng.guid(),
            pool: self.rng.guid(),
        };
        for event in pool.opening(at(0)) {
            self.record_event(spec.source, event, None);
        }
        let end = WsmanEndpoint::client(account, &process, self.rng.guid()).on(&source);
        let connection =
            self.connection_string(spec.target, spec.called, SessionTransport::Http, true);
        let mut events = vec![
            end.session(at(10), &connection),
            end.option(at(11), 25, "WSMAN_OPTION_LOCALE", "en-US"),
            end.session_created(at(12)),
            end.shell(at(14), POWERSHELL_SHELL, pool.pool),
            end.operation(at(15), "CreateShell", POWERSHELL_SHELL),
        ];
        let denied = "The WinRM client cannot process the request. Access is denied.";
        let name = self.name_for(spec.target, spec.called);
        let failed = |code: u32| end.operation_failed(at(320), "CreateShell", code);
        match spec.failure {
            AttemptFailure::NtlmPassword => {
                events.extend([end.bad_credentials(at(300)), failed(ERROR_LOGON_FAILURE)]);
            }
            AttemptFailure::KerberosPassword => {
                let message = "The user name or password is incorrect.";
                let shown = end.authentication_failed(at(300), message);
                events.extend([shown, failed(ERROR_LOGON_FAILURE)]);
            }
            AttemptFailure::NotAuthorised => {
                let shown = end.authentication_failed(at(300), denied);
                events.extend([shown, failed(ERROR_ACCESS_DENIED)]);
            }
            AttemptFailure::AccessDenied => {
                events.extend([end.access_denied(at(300), &name), failed(ERROR_ACCESS_DENIED)]);
            }
            AttemptFailure::Unreachable => {
                let code = ERROR_WSMAN_CANNOT_CONNECT;
                events.push(end.operation_failed(
                    FileTime(spec.time + seconds(21)),
                    "CreateShell",
                    code,
                ));
            }
        }
        let closing = events.last().map_or(spec.time, |event| event.time.0) + millis(20);
        events.extend(end.session_closed(FileTime(closing), FileTime(closing + millis(2))));
        for event in events {
            self.record_attempt(spec.source, event, attempt);
        }
        self.record_event(spec.source, pool.state(FileTime(closing), "Broken"), None);

        let controller = self.controller();
        let dc = world.host(controller);
        let port = self.rng.port();
        let ticket = self.rng.guid();
        let mut elsewhere = Vec::new();
        match spec.failure {
            AttemptFailure::NtlmPassword => {
                let status = STATUS_WRONG_PASSWORD;
                let shown = security::ntlm_refused(&dc, at(150), account, source.name, status);
                elsewhere.push((controller, shown));
                let from = LogonSource::ntlm(source.name);
                let shown = security::logon_failed(&target, at(160), account, from, status);
                elsewhere.push((spec.target, shown));
            }
            AttemptFailure::KerberosPassword => {
                let status = KDC_ERR_PREAUTH_FAILED;
                let shown = security::ticket_refused(&dc, at(40), account, (&source, port), status);
                elsewhere.push((controller, shown));
            }
            AttemptFailure::NotAuthorised | AttemptFailure::AccessDenied => {
                let asked = security::service_ticket(
                    &dc,
                    at(40),
                    account,
                    &target,
                    (&source, port),
                    ticket,
                );
                elsewhere.push((controller, asked));
                let logon = account.logon(self.logon_id(spec.target));
                let source = LogonSource::kerberos();
                let event = security::logon(&target, at(110), logon, source, self.rng.guid());
                elsewhere.push((spec.target, event));
                let service = WsmanEndpoint::service(&target, NETWORK_SERVICE, self.rng.guid());
                let refused = service.authorisation_failed(at(190), ERROR_ACCESS_DENIED);
                elsewhere.push((spec.target, refused));
                elsewhere.push((spec.target, security::logoff(&target, at(240), logon, 3)));
            }
            AttemptFailure::Unreachable => {}
        }
        if spec.failure != AttemptFailure::Unreachable {
            let (from, to) = ((&source, self.rng.port()), (&target, 5985));
            let used = (by, account);
            let shown =
                security::explicit_credentials(&source, at(70), used, &name, &process, ticket);
            elsewhere.push((spec.source, shown));
            elsewhere.push((spec.source, security::connection_out(at(80), &process, from, to)));
            elsewhere.push((spec.target, security::connection_in(at(82), from, to)));
        }
        for (machine, event) in elsewhere {
            self.record_attempt(machine, event, attempt);
        }
    }
}
