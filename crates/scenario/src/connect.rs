//! Records that a WinRM session leaves on its client, of its connections, and on the domain
//! controller.

use evtx_writer::{EvtxGuid, FileTime};

use crate::clock::{Ticks, millis};
use crate::event_recorder::{EventRecorder, SessionFacts};
use crate::events::powershell::ClientRunspacePool;
use crate::events::winrm::{COMMAND_SHELL, WsmanEndpoint};
use crate::events::{Account, ScenarioLogon, ScenarioProcess, security, sysmon};
use crate::facts::Facts;
use crate::plan::{AuthMethod, SessionKind, SessionPlan, SessionTransport, TargetNaming};

/// The client's process, and who it runs as.
pub(crate) struct ClientProcess<'w> {
    pub process: ScenarioProcess,
    pub logon: ScenarioLogon<'w>,
    pub activity: EvtxGuid,
    pub shell: EvtxGuid,
}

/// The resource URI of a session's shell.
pub(crate) fn resource(spec: &SessionPlan) -> String {
    match spec.kind {
        SessionKind::Winrs => COMMAND_SHELL.into(),
        _ => format!("http://schemas.microsoft.com/powershell/{}", spec.configuration),
    }
}

impl<'w> EventRecorder<'w> {
    /// Returns the name or address by which a client calls a machine.
    pub(crate) fn name_for(&self, machine: usize, called: TargetNaming) -> String {
        let machine = &self.world.machines[machine];
        match called {
            TargetNaming::Full => machine.fqdn(),
            TargetNaming::Short => machine.name.clone(),
            TargetNaming::Address => machine.ip.clone(),
        }
    }

    /// Returns the connection string of WinRM event 6.
    pub(crate) fn connection_string(
        &self,
        machine: usize,
        called: TargetNaming,
        wire: SessionTransport,
        powershell: bool,
    ) -> String {
        let name = self.name_for(machine, called);
        let version = if powershell { "?PSVersion=5.1.19041.1682" } else { "" };
        match wire {
            SessionTransport::HttpNamed => format!("http://{name}:5985/wsman{version}"),
            SessionTransport::HttpsNamed => format!("https://{name}:5986/wsman{version}"),
            _ => format!("{name}/wsman{version}"),
        }
    }

    /// The client's side, from the first call to the shell's answer.
    pub(crate) fn client_opens(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        client: &ClientProcess<'w>,
    ) {
        let host = self.world.host(spec.source);
        let session_facts = |facts: Facts| {
            Some(SessionFacts { session, facts: Facts::CLIENT | Facts::CLIENT_PROCESS | facts })
        };
        let at = |ms: u64| FileTime(spec.start + millis(ms));
        let account = client.logon.account;
        let powershell = spec.kind != SessionKind::Winrs;
        if powershell {
            // The pool alone says neither where to nor that it came to a session.
            let hint = Some(SessionFacts { session, facts: Facts::HINT });
            let pool = self.pool(client);
            for event in pool.opening(at(0)) {
                self.record_event(spec.source, event, hint);
            }
            self.record_event(spec.source, pool.correlated(at(480)), hint);
            self.record_event(spec.source, pool.state(at(700), "Opened"), hint);
        }
        let end = WsmanEndpoint::client(account, &client.process, client.activity).on(&host);
        let connection = self.connection_string(spec.target, spec.called, spec.wire, powershell);
        let named = Facts::TARGET.when(spec.called != TargetNaming::Address);
        let wire = matches!(spec.wire, SessionTransport::HttpNamed | SessionTransport::HttpsNamed);
        let said = Facts::START | Facts::SOURCE_HOST | Facts::KIND | named;
        let said = said | Facts::TRANSPORT.when(wire);
        let uri = resource(spec);
        self.record_event(spec.source, end.session(at(10), &connection), session_facts(said));
        let locale = end.option(at(11), 25, "WSMAN_OPTION_LOCALE", "en-US");
        self.record_event(spec.source, locale, session_facts(Facts::NONE));
        self.record_event(spec.source, end.session_created(at(12)), session_facts(Facts::NONE));
        let asked = Facts::KIND | Facts::CONFIGURATION;
        self.record_event(spec.source, end.shell(at(14), &uri, client.shell), session_facts(asked));
        self.record_event(
            spec.source,
            end.operation(at(15), "CreateShell", &uri),
            session_facts(asked),
        );
        self.record_event(
            spec.source,
            end.operation_done(at(560), "CreateShell"),
            session_facts(Facts::NONE),
        );
    }

    /// The client's side of the end.
    pub(crate) fn client_closes(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        client: &ClientProcess<'w>,
    ) {
        let host = self.world.host(spec.source);
        let facts = Facts::CLIENT | Facts::CLIENT_PROCESS;
        let session_facts = Some(SessionFacts { session, facts });
        let closed = Some(SessionFacts { session, facts: facts | Facts::CLIENT_CLOSED });
        let at = |ms: u64| FileTime(spec.end + millis(ms));
        let end =
            WsmanEndpoint::client(client.logon.account, &client.process, client.activity).on(&host);
        self.record_event(spec.source, end.closing(at(0), 15), session_facts);
        self.record_event(spec.source, end.closing(at(3), 16), closed);
        self.record_event(spec.source, end.operation_done(at(40), "DeleteShell"), session_facts);
        for event in end.session_closed(at(50), at(60)) {
            self.record_event(spec.source, event, closed);
        }
        if spec.kind != SessionKind::Winrs {
            let closed = self.pool(client).state(at(45), "Closed");
            self.record_event(
                spec.source,
                closed,
                Some(SessionFacts { session, facts: Facts::HINT }),
            );
        }
    }

    /// The client's runspace pool.
    fn pool(&mut self, client: &ClientProcess<'w>) -> ClientRunspacePool<'w> {
        let runspace = self.rng.guid();
        let account = client.logon.account;
        ClientRunspacePool { process_id: client.process.id, account, runspace, pool: client.shell }
    }

    /// One HTTP connection: what the client uses for it, and the wire at both ends.
    pub(crate) fn connection(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        client: &ClientProcess<'w>,
        time: Ticks,
        ticket: Option<EvtxGuid>,
    ) {
        let world = self.world;
        let (source, target) = (world.host(spec.source), world.host(spec.target));
        let session_facts = |facts: Facts| Some(SessionFacts { session, facts });
        let account = world.account(spec.user);
        let negotiated =
            matches!(spec.auth, AuthMethod::Kerberos | AuthMethod::Ntlm | AuthMethod::CredSsp);
        if negotiated {
            let server = self.name_for(spec.target, spec.called);
            let used = (client.logon, account);
            let guid = ticket.unwrap_or_default();
            let process = &client.process;
            let credentials = security::explicit_credentials(
                &source,
                FileTime(time - millis(4)),
                used,
                &server,
                process,
                guid,
            );
            let named = match spec.called {
                TargetNaming::Address => Facts::CREDENTIALS,
                _ => Facts::SOURCE_HOST | Facts::USER | Facts::TARGET,
            };
            let said = Facts::HINT | Facts::CLIENT_PROCESS | named;
            self.record_event(spec.source, credentials, session_facts(said));
        }
        let (from, to) = ((&source, self.rng.port()), (&target, spec.wire.port()));
        let wire = Facts::HINT | Facts::SOURCE_IP | Facts::TRANSPORT;
        let at = FileTime(time);
        let opened = Facts::HINT | Facts::OUTBOUND | Facts::CLIENT_PROCESS;
        let out = security::connection_out(at, &client.process, from, to);
        self.record_event(spec.source, out, session_facts(opened));
        let later = FileTime(time + millis(self.rng.within(200..2_500)));
        let utc = crate::clock::sysmon(time);
        let seen = sysmon::connection(later, &utc, client.logon, &client.process, from, to);
        self.record_event(spec.source, seen, session_facts(opened));
        let accepted = FileTime(time + millis(2));
        self.record_event(
            spec.target,
            security::connection_in(accepted, from, to),
            session_facts(wire),
        );
        let seen = sysmon::connection_accepted(later, &utc, from, to);
        self.record_event(spec.target, seen, session_facts(wire));
    }

    /// Records how a domain controller, or the target for its own accounts, validates a caller.
    pub(crate) fn validated(
        &mut self,
        session: usize,
        spec: &SessionPlan,
        account: Account<'_>,
        ticket: Option<EvtxGuid>,
    ) {
        let world = self.world;
        let source = world.host(spec.source);
        let time = FileTime(spec.start + millis(30));
        match (spec.auth, ticket) {
            (AuthMethod::Kerberos | AuthMethod::CredSsp, Some(ticket)) => {
                let controller = self.controller();
                let port = self.rng.port();
                let event = security::service_ticket(
                    &world.host(controller),
                    time,
                    account,
                    &world.host(spec.target),
                    (&source, port),
                    ticket,
                );
                let facts = Facts::TICKET | Facts::CONTROLLER;
                self.record_event(controller, event, Some(SessionFacts { session, facts }));
            }
            (AuthMethod::Ntlm, _) => {
                let local = world.people[spec.user].local_to;
                let knows = match local {
                    Some(machine) => machine,
                    None => self.controller(),
                };
                let event = security::ntlm_validated(
                    &world.host(knows),
                    FileTime(time.0 + millis(60)),
                    account,
                    source.name,
                );
                let facts = Facts::NTLM | Facts::CONTROLLER.when(local.is_none());
                self.record_event(knows, event, Some(SessionFacts { session, facts }));
            }
            _ => {}
        }
    }
}
