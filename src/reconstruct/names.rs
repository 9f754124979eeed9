//! What Windows and WinRM have fixed names or numbers for, and names that mean one thing only.

/// SIDs of services, LOCAL SERVICE and NETWORK SERVICE: what WinRM runs as, and event forwarding.
pub(super) const SERVICE_SIDS: [&str; 2] = ["S-1-5-19", "S-1-5-20"];

/// WinRM's ports: HTTP, HTTPS.
pub(super) const WINRM_PORTS: [u32; 2] = [5985, 5986];

/// The one there is; none where there are several: what two may mean, none is taken for.
pub(super) fn exactly_one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
