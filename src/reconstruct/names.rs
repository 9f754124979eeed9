//! Fixed names and numbers of Windows and WinRM, and a helper for unambiguous names.

/// SIDs of LOCAL SERVICE and NETWORK SERVICE, which WinRM and event forwarding run as.
pub(super) const SERVICE_SIDS: [&str; 2] = ["S-1-5-19", "S-1-5-20"];

/// WinRM's ports: HTTP, HTTPS.
pub(super) const WINRM_PORTS: [u32; 2] = [5985, 5986];

/// Returns the only item. Returns `None` if there are several.
pub(super) fn exactly_one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
