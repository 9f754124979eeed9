//! Maps Sigma's `logsource` to the events it selects.
//!
//! The names come from SigmaHQ's taxonomy appendix (2.1.0) and the `service` definitions in its
//! Windows rules. Where Windows spells a channel differently from the appendix, both spellings
//! are listed. Records of the Security log that are equivalent to Sysmon events: see
//! [`equivalent`](super::equivalent).

use rsigma_parser::LogSource;

use super::equivalent::SysmonMapping;
use crate::model::{Channel, Subject};

/// The events that a logsource selects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RuleScope {
    /// Log records.
    Records {
        /// Channels by name, each with its event ids; `None` means all event ids.
        selectors: Vec<ChannelSelector>,
        /// Which Sysmon event the records of the Security log are presented as.
        mapping: SysmonMapping,
    },
    /// Events derived by reconstruction.
    Derived(Subject),
}

/// A channel and the event ids selected from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ChannelSelector {
    pub channel: ChannelName,
    pub event_ids: Option<&'static [u32]>,
}

/// A channel that this program knows, another one by its name, or every channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ChannelName {
    Known(Channel),
    Named(&'static str),
    Every,
}

/// The categories of derived events, as rules name them.
pub(super) const DERIVED: [(&str, Subject); 8] = [
    ("remoting_session", Subject::Session),
    ("remoting_command", Subject::Command),
    ("script_block", Subject::ScriptBlock),
    ("remoting_child_process", Subject::ChildProcess),
    ("remoting_attempt", Subject::Attempt),
    ("decoded_layer", Subject::DecodedLayer),
    ("log_gap", Subject::LogGap),
    ("log_integrity", Subject::LogIntegrity),
];

/// Returns the events that a rule's logsource selects, or why this program has no such events.
pub(super) fn rule_scope(source: &LogSource) -> Result<RuleScope, String> {
    if let Some(product) = source.product.as_deref().filter(|product| *product != "windows") {
        return Err(format!("logsource product '{product}' is not windows"));
    }
    if let Some(category) = source.category.as_deref() {
        if let Some((_, subject)) = DERIVED.iter().find(|(name, _)| *name == category) {
            return Ok(RuleScope::Derived(*subject));
        }
        let selectors = selectors_by_category(category).ok_or_else(|| {
            format!("no Windows log has events of logsource category '{category}'")
        })?;
        return Ok(RuleScope::Records {
            selectors,
            mapping: SysmonMapping::from_category(category),
        });
    }
    let selectors = match (source.service.as_deref(), &source.product) {
        (Some(service), _) => {
            let channels = channels_by_service(service);
            let channels =
                channels.ok_or_else(|| format!("logsource service '{service}' is not known"))?;
            channels.iter().map(|name| selector(name, None)).collect()
        }
        // Sigma: a logsource with only a product means all logs of the product.
        (None, Some(_)) => vec![ChannelSelector { channel: ChannelName::Every, event_ids: None }],
        (None, None) => {
            return Err("its logsource names neither product, category nor service".to_owned());
        }
    };
    Ok(RuleScope::Records { selectors, mapping: SysmonMapping::None })
}

fn selector(name: &'static str, event_ids: Option<&'static [u32]>) -> ChannelSelector {
    let channel = match Channel::of(name, "") {
        Channel::Other => ChannelName::Named(name),
        known => ChannelName::Known(known),
    };
    ChannelSelector { channel, event_ids }
}

const SYSMON: &str = "Microsoft-Windows-Sysmon/Operational";
const POWERSHELL: [&str; 2] =
    ["Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"];
const CLASSIC: &str = "Windows PowerShell";
/// The channel of the provider that the appendix names for `file_access` and `file_rename`
/// (manifest of Microsoft-Windows-Kernel-File). Its events contain no image; collectors may add
/// one.
const KERNEL_FILE: &str = "Microsoft-Windows-Kernel-File/Analytic";

fn selectors_by_category(category: &str) -> Option<Vec<ChannelSelector>> {
    let sysmon = |ids| vec![selector(SYSMON, Some(ids))];
    let powershell = |ids| POWERSHELL.iter().map(|name| selector(name, Some(ids))).collect();
    let classic = |ids| vec![selector(CLASSIC, Some(ids))];
    let or_security =
        |ids, security| vec![selector(SYSMON, Some(ids)), selector("Security", Some(security))];
    Some(match category {
        "process_creation" => or_security(&[1], &[4688]),
        "file_change" => sysmon(&[2]),
        "network_connection" => or_security(&[3], &[5156]),
        "sysmon_status" => sysmon(&[4, 16]),
        "process_termination" => sysmon(&[5]),
        "driver_load" => sysmon(&[6]),
        "image_load" => sysmon(&[7]),
        "create_remote_thread" => sysmon(&[8]),
        "raw_access_thread" => sysmon(&[9]),
        "process_access" => sysmon(&[10]),
        "file_event" => sysmon(&[11]),
        "registry_add" | "registry_delete" => or_security(&[12], &[4657]),
        "registry_set" => or_security(&[13], &[4657]),
        "registry_rename" => sysmon(&[14]),
        "registry_event" => or_security(&[12, 13, 14], &[4657]),
        "create_stream_hash" => sysmon(&[15]),
        "pipe_created" => sysmon(&[17, 18]),
        "wmi_event" => sysmon(&[19, 20, 21]),
        "dns_query" => sysmon(&[22]),
        // A deletion that Sysmon did not archive is also a deletion, as in SigmaHQ's pipeline for
        // Sysmon.
        "file_delete" => sysmon(&[23, 26]),
        "file_delete_detected" => sysmon(&[26]),
        // 12 and 30: Create and CreateNewFile; 27: RenamePath.
        "file_access" => vec![selector(KERNEL_FILE, Some(&[12, 30]))],
        "file_rename" => vec![selector(KERNEL_FILE, Some(&[27]))],
        "clipboard_capture" => sysmon(&[24]),
        "process_tampering" => sysmon(&[25]),
        "file_block_executable" => sysmon(&[27]),
        "file_block_shredding" => sysmon(&[28]),
        "file_executable_detected" => sysmon(&[29]),
        "sysmon_error" => sysmon(&[255]),
        "ps_module" => powershell(&[4103]),
        "ps_script" => powershell(&[4104]),
        "ps_classic_start" => classic(&[400]),
        "ps_classic_provider_start" => classic(&[600]),
        "ps_classic_script" => classic(&[800]),
        _ => return None,
    })
}

fn channels_by_service(service: &str) -> Option<&'static [&'static str]> {
    Some(match service {
        "winrm" => &["Microsoft-Windows-WinRM/Operational", "Microsoft-Windows-WinRM/Analytic"],
        "powershell" => &POWERSHELL,
        "powershell-classic" => &[CLASSIC],
        "security" => &["Security"],
        "system" => &["System"],
        "application" => &["Application"],
        "sysmon" => &[SYSMON],
        "wmi" => &["Microsoft-Windows-WMI-Activity/Operational"],
        "taskscheduler" => &["Microsoft-Windows-TaskScheduler/Operational"],
        "windefend" => &["Microsoft-Windows-Windows Defender/Operational"],
        "openssh" => &["OpenSSH/Operational"],
        "applocker" => &[
            "Microsoft-Windows-AppLocker/MSI and Script",
            "Microsoft-Windows-AppLocker/EXE and DLL",
            "Microsoft-Windows-AppLocker/Packaged app-Deployment",
            "Microsoft-Windows-AppLocker/Packaged app-Execution",
        ],
        "application-experience" => &[
            "Microsoft-Windows-Application-Experience/Program-Telemetry",
            "Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant",
        ],
        "bitlocker" => &["Microsoft-Windows-BitLocker/BitLocker Management"],
        "ntfs" => &["Microsoft-Windows-Ntfs/Operational"],
        "ntlm" => &["Microsoft-Windows-NTLM/Operational"],
        "dns-client" => &[
            "Microsoft-Windows-DNS Client Events/Operational",
            "Microsoft-Windows-DNS-Client/Operational",
        ],
        "dns-server" => &["DNS Server"],
        "dns-server-analytic" => {
            &["Microsoft-Windows-DNS-Server/Analytical", "Microsoft-Windows-DNSServer/Analytical"]
        }
        "dns-server-audit" => {
            &["Microsoft-Windows-DNS-Server/Audit", "Microsoft-Windows-DNSServer/Audit"]
        }
        "dhcp" => &["Microsoft-Windows-DHCP-Server/Operational"],
        "driver-framework" => &["Microsoft-Windows-DriverFrameworks-UserMode/Operational"],
        "msexchange-management" => &["MSExchange Management"],
        "printservice-admin" => &["Microsoft-Windows-PrintService/Admin"],
        "printservice-operational" => &["Microsoft-Windows-PrintService/Operational"],
        "terminalservices-localsessionmanager" => {
            &["Microsoft-Windows-TerminalServices-LocalSessionManager/Operational"]
        }
        "smbclient-security" => &["Microsoft-Windows-SmbClient/Security"],
        "smbclient-connectivity" => &["Microsoft-Windows-SmbClient/Connectivity"],
        "smbserver-connectivity" => &["Microsoft-Windows-SMBServer/Connectivity"],
        "codeintegrity-operational" => &["Microsoft-Windows-CodeIntegrity/Operational"],
        "firewall-as" => &["Microsoft-Windows-Windows Firewall With Advanced Security/Firewall"],
        "bits-client" => &["Microsoft-Windows-Bits-Client/Operational"],
        "security-mitigations" => &[
            "Microsoft-Windows-Security-Mitigations/Kernel Mode",
            "Microsoft-Windows-Security-Mitigations/KernelMode",
            "Microsoft-Windows-Security-Mitigations/User Mode",
            "Microsoft-Windows-Security-Mitigations/UserMode",
        ],
        "diagnosis-scripted" => &["Microsoft-Windows-Diagnosis-Scripted/Operational"],
        "shell-core" => &["Microsoft-Windows-Shell-Core/Operational"],
        "ldap_debug" | "ldap" => &["Microsoft-Windows-LDAP-Client/Debug"],
        "vhdmp" => &["Microsoft-Windows-VHDMP/Operational", "Microsoft-Windows-VHDMP-Operational"],
        "appxdeployment-server" => &["Microsoft-Windows-AppXDeploymentServer/Operational"],
        "appxpackaging-om" => &["Microsoft-Windows-AppxPackaging/Operational"],
        "appmodel-runtime" => &["Microsoft-Windows-AppModel-Runtime/Admin"],
        "lsa-server" => &["Microsoft-Windows-LSA/Operational"],
        "certificateservicesclient-lifecycle-system" => {
            &["Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational"]
        }
        "capi2" => &["Microsoft-Windows-CAPI2/Operational"],
        "hyper-v-worker" => &[
            "Microsoft-Windows-Hyper-V-Worker",
            "Microsoft-Windows-Hyper-V-Worker-Admin",
            "Microsoft-Windows-Hyper-V-Worker-Operational",
        ],
        "kernel-event-tracing" => &[
            "Microsoft-Windows-Kernel-EventTracing",
            "Microsoft-Windows-Kernel-EventTracing/Admin",
            "Microsoft-Windows-Kernel-EventTracing/Analytic",
        ],
        "kernel-shimengine" => &[
            "Microsoft-Windows-Kernel-ShimEngine/Operational",
            "Microsoft-Windows-Kernel-ShimEngine/Diagnostic",
        ],
        "iis-configuration" => &["Microsoft-IIS-Configuration/Operational"],
        "servicebus-client" | "microsoft-servicebus-client" => {
            &["Microsoft-ServiceBus-Client/Operational", "Microsoft-ServiceBus-Client/Admin"]
        }
        "sense" => &["Microsoft-Windows-SENSE/Operational"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(product: &str, category: Option<&str>, service: Option<&str>) -> LogSource {
        LogSource {
            product: Some(product.into()),
            category: category.map(Into::into),
            service: service.map(Into::into),
            ..Default::default()
        }
    }

    #[test]
    fn logsources_select_channels_and_ids() {
        let scripts = rule_scope(&source("windows", Some("ps_script"), None)).unwrap();
        let ids: &[u32] = &[4104];
        let on = |channel| ChannelSelector {
            channel: ChannelName::Known(channel),
            event_ids: Some(ids),
        };
        let selectors = vec![on(Channel::PowerShell), on(Channel::PowerShellCore)];
        assert_eq!(scripts, RuleScope::Records { selectors, mapping: SysmonMapping::None });
        let session = rule_scope(&source("windows", Some("remoting_session"), None));
        assert_eq!(session, Ok(RuleScope::Derived(Subject::Session)));
    }

    #[test]
    fn unsupported_logsources_are_named() {
        let refused = [
            source("linux", None, Some("sshd")),
            source("windows", Some("antivirus"), None),
            source("windows", None, Some("no-such")),
            LogSource::default(),
        ];
        let reasons: Vec<_> =
            refused.iter().map(|source| rule_scope(source).unwrap_err()).collect();
        for (reason, word) in reasons.iter().zip(["linux", "antivirus", "no-such", "neither"]) {
            assert!(reason.contains(word), "{reason}");
        }
    }
}
