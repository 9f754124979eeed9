//! Consequences of how a session was authenticated and carried ([Microsoft's page on the security
//! of PowerShell Remoting][page]).
//!
//! [page]: https://learn.microsoft.com/powershell/scripting/security/remoting/winrm-security

use super::{Auth, Transport};

/// What encrypts a session's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// Nothing.
    None,
    /// NTLM's session key, by RC4.
    Rc4,
    /// The session key of the Kerberos ticket.
    Ticket,
    /// TLS.
    Tls,
    /// SSH.
    Ssh,
    /// No record says.
    Unknown,
}

impl Encryption {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Encryption::None => "none",
            Encryption::Rc4 => "rc4",
            Encryption::Ticket => "ticket",
            Encryption::Tls => "tls",
            Encryption::Ssh => "ssh",
            Encryption::Unknown => "unknown",
        }
    }
}

/// An answer that the records may not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum YesNo {
    /// Yes.
    Yes,
    /// No.
    No,
    /// No record says.
    Unknown,
}

impl YesNo {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            YesNo::Yes => "yes",
            YesNo::No => "no",
            YesNo::Unknown => "unknown",
        }
    }
}

/// Whether a session can go on to a next host as the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecondHop {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Where the domain allows Kerberos delegation.
    WithDelegation,
    /// No record says.
    Unknown,
}

impl SecondHop {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            SecondHop::Yes => "yes",
            SecondHop::No => "no",
            SecondHop::WithDelegation => "with_delegation",
            SecondHop::Unknown => "unknown",
        }
    }
}

/// The consequences of a session's authentication and transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequences {
    /// What encrypts its messages.
    pub encryption: Encryption,
    /// Whether the target's identity was proven.
    pub server_identity_proven: YesNo,
    /// Whether the target could take the caller's credentials.
    pub credential_exposed: YesNo,
    /// Whether the session could go on to a next host as the caller.
    pub second_hop: SecondHop,
}

impl Consequences {
    /// The consequences of an authentication over a transport.
    pub fn new(auth: Auth, transport: Transport) -> Consequences {
        let over_http = |encryption| match transport {
            Transport::Https => Encryption::Tls,
            Transport::Ssh => Encryption::Ssh,
            Transport::Http => encryption,
            Transport::Unknown => Encryption::Unknown,
        };
        // Neither NTLM nor Basic proves the target; TLS does.
        let proven_by_tls = match transport {
            Transport::Https => YesNo::Yes,
            Transport::Http => YesNo::No,
            // Whether the client checked the host's key, no record says.
            Transport::Ssh | Transport::Unknown => YesNo::Unknown,
        };
        let unknown = Consequences {
            encryption: Encryption::Unknown,
            server_identity_proven: YesNo::Unknown,
            credential_exposed: YesNo::Unknown,
            second_hop: SecondHop::Unknown,
        };
        let tls = Consequences {
            encryption: Encryption::Tls,
            server_identity_proven: YesNo::Yes,
            ..unknown
        };
        match auth {
            Auth::Kerberos => Consequences {
                encryption: over_http(Encryption::Ticket),
                server_identity_proven: YesNo::Yes,
                credential_exposed: YesNo::No,
                second_hop: SecondHop::WithDelegation,
            },
            Auth::Ntlm => Consequences {
                encryption: over_http(Encryption::Rc4),
                server_identity_proven: proven_by_tls,
                credential_exposed: YesNo::No,
                second_hop: SecondHop::No,
            },
            Auth::Basic => Consequences {
                encryption: over_http(Encryption::None),
                server_identity_proven: proven_by_tls,
                credential_exposed: YesNo::Yes,
                second_hop: SecondHop::Yes,
            },
            Auth::CredSsp => {
                Consequences { credential_exposed: YesNo::Yes, second_hop: SecondHop::Yes, ..tls }
            }
            Auth::Certificate => {
                Consequences { credential_exposed: YesNo::No, second_hop: SecondHop::No, ..tls }
            }
            // A password is known to the target, a key is not.
            Auth::Ssh => Consequences { encryption: Encryption::Ssh, ..unknown },
            Auth::Unknown if transport == Transport::Https => tls,
            Auth::Unknown => unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consequences_follow_microsofts_table() {
        let words = |auth, transport| {
            let c = Consequences::new(auth, transport);
            let identity = c.server_identity_proven.as_str();
            let exposed = c.credential_exposed.as_str();
            [c.encryption.as_str(), identity, exposed, c.second_hop.as_str()]
        };
        use Auth::*;
        use Transport::*;
        assert_eq!(words(Kerberos, Http), ["ticket", "yes", "no", "with_delegation"]);
        assert_eq!(words(Ntlm, Http), ["rc4", "no", "no", "no"]);
        assert_eq!(words(Ntlm, Https), ["tls", "yes", "no", "no"]);
        assert_eq!(words(Ntlm, Transport::Unknown), ["unknown", "unknown", "no", "no"]);
        assert_eq!(words(Basic, Http), ["none", "no", "yes", "yes"]);
        assert_eq!(words(CredSsp, Http), ["tls", "yes", "yes", "yes"]);
        assert_eq!(words(Certificate, Https), ["tls", "yes", "no", "no"]);
        assert_eq!(words(Auth::Ssh, Transport::Ssh), ["ssh", "unknown", "unknown", "unknown"]);
        assert_eq!(words(Auth::Unknown, Https), ["tls", "yes", "unknown", "unknown"]);
        assert_eq!(words(Auth::Unknown, Http), ["unknown"; 4]);
    }
}
