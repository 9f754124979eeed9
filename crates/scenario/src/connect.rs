//! What a WinRM session leaves at its client, on the wire and at the domain controller.

use evtx_writer::{FileTime, Guid};

use crate::clock::{Ticks, millis};
use crate::events::powershell::Pool;
use crate::events::winrm::{COMMAND_SHELL, End};
use crate::events::{Account, Logon, Process, security, sysmon};
use crate::facts::Facts;
use crate::plan::{Auth, Called, Kind, Spec, Wire};
use crate::scribe::{Scribe, Tells};

/// The client's process, and who it runs as.
pub(crate) struct Client<'w> {
    pub process: Process,
    pub logon: Logon<'w>,
    pub activity: Guid,
    pub shell: Guid,
}

/// The resource URI of a session's shell.
pub(crate) fn resource(spec: &Spec) -> String {
    match spec.kind {
        Kind::Winrs => COMMAND_SHELL.into(),
        _ => format!("http://schemas.microsoft.com/powershell/{}", spec.configuration),
    }
}

impl<'w> Scribe<'w> {
    /// What a client calls a machine.
    pub(crate) fn name_for(&self, machine: usize, called: Called) -> String {
        let machine = &self.world.machines[machine];
        match called {
            Called::Full => machine.fqdn(),
            Called::Short => machine.name.clone(),
            Called::Address => machine.ip.clone(),
        }
    }

    /// What WinRM 6 says.
    pub(crate) fn connection_string(
        &self,
        machine: usize,
        called: Called,
        wire: Wire,
        powershell: bool,
    ) -> String {
        let name = self.name_for(machine, called);
        let version = if powershell { "?PSVersion=5.1.19041.1682" } else { "" };
        match wire {
            Wire::HttpNamed => format!("http://{name}:5985/wsman{version}"),
            Wire::HttpsNamed => format!("https://{name}:5986/wsman{version}"),
            _ => format!("{name}/wsman{version}"),
        }
    }

    /// The client's side, from the first call to the shell's answer.
    pub(crate) fn client_opens(&mut self, session: usize, spec: &Spec, client: &Client<'w>) {
        let host = self.world.host(spec.source);
        let tells = |facts: Facts| {
            Some(Tells { session, facts: Facts::CLIENT | Facts::CLIENT_PROCESS | facts })
        };
        let at = |ms: u64| FileTime(spec.start + millis(ms));
        let account = client.logon.account;
        let powershell = spec.kind != Kind::Winrs;
        if powershell {
            // The pool alone says neither where to nor that it came to a session.
            let hint = Some(Tells { session, facts: Facts::HINT });
            let pool = self.pool(client);
            for event in pool.opening(at(0)) {
                self.put(spec.source, event, hint);
            }
            self.put(spec.source, pool.correlated(at(480)), hint);
            self.put(spec.source, pool.state(at(700), "Opened"), hint);
        }
        let end = End::client(account, &client.process, client.activity).on(&host);
        let connection = self.connection_string(spec.target, spec.called, spec.wire, powershell);
        let named = Facts::TARGET.when(spec.called != Called::Address);
        let wire = matches!(spec.wire, Wire::HttpNamed | Wire::HttpsNamed);
        let said = Facts::START | Facts::SOURCE_HOST | Facts::KIND | named;
        let said = said | Facts::TRANSPORT.when(wire);
        let uri = resource(spec);
        self.put(spec.source, end.session(at(10), &connection), tells(said));
        let locale = end.option(at(11), 25, "WSMAN_OPTION_LOCALE", "en-US");
        self.put(spec.source, locale, tells(Facts::NONE));
        self.put(spec.source, end.session_created(at(12)), tells(Facts::NONE));
        let asked = Facts::KIND | Facts::CONFIGURATION;
        self.put(spec.source, end.shell(at(14), &uri, client.shell), tells(asked));
        self.put(spec.source, end.operation(at(15), "CreateShell", &uri), tells(asked));
        self.put(spec.source, end.operation_done(at(560), "CreateShell"), tells(Facts::NONE));
    }

    /// The client's side of the end.
    pub(crate) fn client_closes(&mut self, session: usize, spec: &Spec, client: &Client<'w>) {
        let host = self.world.host(spec.source);
        let facts = Facts::CLIENT | Facts::CLIENT_PROCESS;
        let tells = Some(Tells { session, facts });
        let closed = Some(Tells { session, facts: facts | Facts::CLIENT_CLOSED });
        let at = |ms: u64| FileTime(spec.end + millis(ms));
        let end = End::client(client.logon.account, &client.process, client.activity).on(&host);
        self.put(spec.source, end.closing(at(0), 15), tells);
        self.put(spec.source, end.closing(at(3), 16), closed);
        self.put(spec.source, end.operation_done(at(40), "DeleteShell"), tells);
        for event in end.session_closed(at(50), at(60)) {
            self.put(spec.source, event, closed);
        }
        if spec.kind != Kind::Winrs {
            let closed = self.pool(client).state(at(45), "Closed");
            self.put(spec.source, closed, Some(Tells { session, facts: Facts::HINT }));
        }
    }

    /// The client's runspace pool.
    fn pool(&mut self, client: &Client<'w>) -> Pool<'w> {
        let runspace = self.rng.guid();
        let account = client.logon.account;
        Pool { process_id: client.process.id, account, runspace, pool: client.shell }
    }

    /// One HTTP connection: what the client uses for it, and the wire at both ends.
    pub(crate) fn connection(
        &mut self,
        session: usize,
        spec: &Spec,
        client: &Client<'w>,
        time: Ticks,
        ticket: Option<Guid>,
    ) {
        let world = self.world;
        let (source, target) = (world.host(spec.source), world.host(spec.target));
        let tells = |facts: Facts| Some(Tells { session, facts });
        let account = world.account(spec.user);
        let negotiated = matches!(spec.auth, Auth::Kerberos | Auth::Ntlm | Auth::CredSsp);
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
                Called::Address => Facts::CREDENTIALS,
                _ => Facts::SOURCE_HOST | Facts::USER | Facts::TARGET,
            };
            let said = Facts::HINT | Facts::CLIENT_PROCESS | named;
            self.put(spec.source, credentials, tells(said));
        }
        let (from, to) = ((&source, self.rng.port()), (&target, spec.wire.port()));
        let wire = Facts::HINT | Facts::SOURCE_IP | Facts::TRANSPORT;
        let at = FileTime(time);
        let opened = Facts::HINT | Facts::OUTBOUND | Facts::CLIENT_PROCESS;
        let out = security::connection_out(at, &client.process, from, to);
        self.put(spec.source, out, tells(opened));
        let later = FileTime(time + millis(self.rng.within(200..2_500)));
        let utc = crate::clock::sysmon(time);
        let seen = sysmon::connection(later, &utc, client.logon, &client.process, from, to);
        self.put(spec.source, seen, tells(opened));
        let accepted = FileTime(time + millis(2));
        self.put(spec.target, security::connection_in(accepted, from, to), tells(wire));
        let seen = sysmon::connection_accepted(later, &utc, from, to);
        self.put(spec.target, seen, tells(wire));
    }

    /// What the domain controllers, or the target for its own accounts, see of a caller.
    pub(crate) fn validated(
        &mut self,
        session: usize,
        spec: &Spec,
        account: Account<'_>,
        ticket: Option<Guid>,
    ) {
        let world = self.world;
        let source = world.host(spec.source);
        let time = FileTime(spec.start + millis(30));
        match (spec.auth, ticket) {
            (Auth::Kerberos | Auth::CredSsp, Some(ticket)) => {
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
                self.put(controller, event, Some(Tells { session, facts }));
            }
            (Auth::Ntlm, _) => {
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
                self.put(knows, event, Some(Tells { session, facts }));
            }
            _ => {}
        }
    }
}
