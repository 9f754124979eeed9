//! How a session was authenticated and carried.

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Auth {
    /// Kerberos.
    Kerberos,
    /// NTLM, negotiated.
    Ntlm,
    /// Basic: the password itself.
    Basic,
    /// CredSSP: the credentials are delegated.
    CredSsp,
    /// A client certificate.
    Certificate,
    /// SSH's own: a password or a key.
    Ssh,
    /// No record says.
    Unknown,
}

impl Auth {
    /// Reads the name that WinRM 169 or a logon's package gives. `Negotiate` says nothing.
    pub fn parse(name: &str) -> Auth {
        match name.trim().to_lowercase().as_str() {
            "kerberos" => Auth::Kerberos,
            "ntlm" => Auth::Ntlm,
            "basic" => Auth::Basic,
            "credssp" => Auth::CredSsp,
            "certificate" | "clientcertificate" => Auth::Certificate,
            _ => Auth::Unknown,
        }
    }

    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Auth::Kerberos => "kerberos",
            Auth::Ntlm => "ntlm",
            Auth::Basic => "basic",
            Auth::CredSsp => "credssp",
            Auth::Certificate => "certificate",
            Auth::Ssh => "ssh",
            Auth::Unknown => "unknown",
        }
    }
}

/// What the WinRM messages travelled over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP, port 5985 as a rule.
    Http,
    /// HTTPS, port 5986 as a rule.
    Https,
    /// SSH: PowerShell 7's `-HostName` sessions.
    Ssh,
    /// No record says.
    Unknown,
}

impl Transport {
    /// The word that outputs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Https => "https",
            Transport::Ssh => "ssh",
            Transport::Unknown => "unknown",
        }
    }
}
