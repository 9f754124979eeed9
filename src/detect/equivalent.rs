//! Presents records of the Security log under the names of the equivalent Sysmon events.
//!
//! Rules on processes, the registry and connections are written for Sysmon's events 1, 12, 13 and
//! 3. The Security log reports the same with 4688, 4657 and 5156, under other names. Which event
//! is equivalent to which comes from SigmaHQ's pipeline for the Windows audit log, and for 5156
//! from the conversion of its rules for Hayabusa. The fields come from Microsoft's audit event
//! reference and Sysmon's documentation.

use std::borrow::Cow;

use crate::model::{Channel, Fields, Record};

/// Which Sysmon event the records of the Security log are presented as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SysmonMapping {
    /// None: fields keep the names under which they are logged.
    None,
    /// 4688 as event 1.
    ProcessCreation,
    /// 4657 as events 12 and 13, if it logs one of these operations.
    Registry(&'static [RegistryOperation]),
    /// 5156 as event 3.
    NetworkConnection,
}

/// The change of a registry value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RegistryOperation {
    Made,
    Changed,
    Deleted,
}

impl RegistryOperation {
    /// Reads the operation of a 4657. It is logged as a message number, which collectors may have
    /// replaced with its text.
    fn from_data(data: &Fields) -> Option<RegistryOperation> {
        let logged = data.get("OperationType")?.trim().trim_end_matches('.');
        Some(match logged {
            "%%1904" | "New registry value created" => RegistryOperation::Made,
            "%%1905" | "Existing registry value modified" => RegistryOperation::Changed,
            "%%1906" | "Registry value deleted" => RegistryOperation::Deleted,
            _ => return None,
        })
    }
}

impl SysmonMapping {
    /// Returns the mapping for the rules of a category.
    pub fn from_category(category: &str) -> SysmonMapping {
        match category {
            "process_creation" => SysmonMapping::ProcessCreation,
            "network_connection" => SysmonMapping::NetworkConnection,
            // Sysmon's event 13 is logged for any value that is set, new or not.
            "registry_set" => {
                SysmonMapping::Registry(&[RegistryOperation::Made, RegistryOperation::Changed])
            }
            "registry_add" => SysmonMapping::Registry(&[RegistryOperation::Made]),
            "registry_delete" => SysmonMapping::Registry(&[RegistryOperation::Deleted]),
            "registry_event" => SysmonMapping::Registry(&[
                RegistryOperation::Made,
                RegistryOperation::Changed,
                RegistryOperation::Deleted,
            ]),
            _ => SysmonMapping::None,
        }
    }

    /// Returns whether a rule of the category applies to the record.
    pub fn admits(self, record: &Record) -> bool {
        match self {
            SysmonMapping::Registry(operations) if record.known_channel == Channel::Security => {
                RegistryOperation::from_data(&record.data)
                    .is_some_and(|operation| operations.contains(&operation))
            }
            _ => true,
        }
    }

    /// Returns the value of a Sysmon field from the record.
    pub fn field<'r>(self, record: &'r Record, name: &str) -> Option<Cow<'r, str>> {
        if record.known_channel != Channel::Security {
            return None;
        }
        match self {
            SysmonMapping::None => None,
            SysmonMapping::ProcessCreation => process_field(&record.data, name),
            SysmonMapping::Registry(_) => registry_field(&record.data, name),
            SysmonMapping::NetworkConnection => connection_field(&record.data, name),
        }
    }
}

fn process_field<'r>(data: &'r Fields, name: &str) -> Option<Cow<'r, str>> {
    let logged = match name {
        "Image" => "NewProcessName",
        "ParentImage" => "ParentProcessName",
        "ProcessId" => return data.get("NewProcessId").map(decimal_id),
        "ParentProcessId" => return data.get("ProcessId").map(decimal_id),
        "LogonId" => "SubjectLogonId",
        "IntegrityLevel" => return data.get("MandatoryLabel").map(integrity_level),
        // The account that started the process, unless it was started as another account.
        "User" => return sysmon_account(data, TARGET).or_else(|| sysmon_account(data, SUBJECT)),
        "ParentUser" => return sysmon_account(data, SUBJECT),
        _ => return None,
    };
    data.get(logged).map(Cow::Borrowed)
}

fn registry_field<'r>(data: &'r Fields, name: &str) -> Option<Cow<'r, str>> {
    Some(match name {
        "Image" => data.get("ProcessName")?.into(),
        "ProcessId" => decimal_id(data.get("ProcessId")?),
        "User" => return sysmon_account(data, SUBJECT),
        "EventType" => match RegistryOperation::from_data(data)? {
            RegistryOperation::Deleted => "DeleteValue".into(),
            RegistryOperation::Made | RegistryOperation::Changed => "SetValue".into(),
        },
        "TargetObject" => {
            let key = sysmon_key(data.get("ObjectName")?);
            format!("{key}\\{}", data.get("ObjectValueName").unwrap_or_default()).into()
        }
        "Details" => {
            sysmon_details(data.get("NewValueType").unwrap_or_default(), data.get("NewValue")?)
        }
        _ => return None,
    })
}

fn connection_field<'r>(data: &'r Fields, name: &str) -> Option<Cow<'r, str>> {
    let is_ipv6 = |field| data.get(field).map(|address| address.contains(':').to_string().into());
    Some(match name {
        "Image" => drive_path(data.get("Application")?),
        "ProcessId" => decimal_id(data.get("ProcessID")?),
        "Initiated" => match data.get("Direction")?.trim() {
            "%%14592" | "Inbound" => "false".into(),
            "%%14593" | "Outbound" => "true".into(),
            _ => return None,
        },
        "Protocol" => match data.get("Protocol")? {
            "6" => "tcp".into(),
            "17" => "udp".into(),
            other => other.into(),
        },
        "SourceIp" => data.get("SourceAddress")?.into(),
        "SourceIsIpv6" => return is_ipv6("SourceAddress"),
        "DestinationIp" => data.get("DestAddress")?.into(),
        "DestinationIsIpv6" => return is_ipv6("DestAddress"),
        "DestinationPort" => data.get("DestPort")?.into(),
        _ => return None,
    })
}

/// Converts a process id from hexadecimal, as the Security log writes it, to decimal.
fn decimal_id(id: &str) -> Cow<'_, str> {
    let number = id.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.map_or(Cow::Borrowed(id), |number| number.to_string().into())
}

/// The fields of an account: SID, domain, name.
const SUBJECT: [&str; 3] = ["SubjectUserSid", "SubjectDomainName", "SubjectUserName"];
const TARGET: [&str; 3] = ["TargetUserSid", "TargetDomainName", "TargetUserName"];

/// Returns an account as Sysmon writes it. For the system account the Security log has the
/// computer's name.
fn sysmon_account<'r>(data: &'r Fields, [sid, domain, name]: [&str; 3]) -> Option<Cow<'r, str>> {
    match data.get(sid) {
        Some("S-1-5-18") => return Some(r"NT AUTHORITY\SYSTEM".into()),
        Some("S-1-5-19") => return Some(r"NT AUTHORITY\LOCAL SERVICE".into()),
        Some("S-1-5-20") => return Some(r"NT AUTHORITY\NETWORK SERVICE".into()),
        _ => {}
    }
    let domain = data.known(domain).unwrap_or_default();
    Some(format!("{domain}\\{}", data.known(name)?).into())
}

/// The integrity levels that Sysmon names and 4688 gives as SIDs ([MS-DTYP] 2.4.2.4).
fn integrity_level(sid: &str) -> Cow<'_, str> {
    match sid {
        "S-1-16-4096" => "Low".into(),
        "S-1-16-8192" => "Medium".into(),
        "S-1-16-12288" => "High".into(),
        "S-1-16-16384" => "System".into(),
        other => other.into(),
    }
}

/// Sysmon's short names for the registry's roots, longest first.
const ROOTS: [(&str, &str); 4] = [
    (r"\REGISTRY\MACHINE\SYSTEM\ControlSet001", r"HKLM\System\CurrentControlSet"),
    (r"\REGISTRY\MACHINE\SOFTWARE\Classes", "HKCR"),
    (r"\REGISTRY\MACHINE", "HKLM"),
    (r"\REGISTRY\USER", "HKU"),
];

/// Returns a registry key as Sysmon writes it.
fn sysmon_key(logged: &str) -> Cow<'_, str> {
    for (root, short) in ROOTS {
        if let Some((start, rest)) = logged.split_at_checked(root.len())
            && start.eq_ignore_ascii_case(root)
            && (rest.is_empty() || rest.starts_with('\\'))
        {
            return format!("{short}{rest}").into();
        }
    }
    logged.into()
}

/// Returns a registry value as Sysmon writes it: numbers have all their digits.
fn sysmon_details<'r>(kind: &str, value: &'r str) -> Cow<'r, str> {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    match (kind.trim(), number) {
        ("%%1876", Some(number)) => format!("DWORD (0x{number:08x})").into(),
        ("%%1883", Some(number)) => {
            format!("QWORD (0x{:08x}-0x{:08x})", number >> 32, number & 0xffff_ffff).into()
        }
        _ => value.into(),
    }
}

/// Returns a program's path. 5156 logs the volume and not its drive letter; rules write `C:` for
/// the system volume.
fn drive_path(application: &str) -> Cow<'_, str> {
    const VOLUME: &str = r"\device\harddiskvolume";
    if let Some((start, rest)) = application.split_at_checked(VOLUME.len())
        && start.eq_ignore_ascii_case(VOLUME)
        && let Some((number, path)) = rest.split_once('\\')
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("C:\\{path}").into();
    }
    application.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::testing::record;

    fn seen<'r>(mapping: SysmonMapping, record: &'r Record, names: &[&str]) -> Vec<Cow<'r, str>> {
        names.iter().map(|name| mapping.field(record, name).unwrap_or_default()).collect()
    }

    #[test]
    fn a_4688_is_a_process_creation() {
        let mut data = vec![
            ("SubjectUserSid", "S-1-5-18"),
            ("SubjectUserName", "PC$"),
            ("SubjectDomainName", "CORP"),
            ("NewProcessId", "0x10"),
            ("ProcessId", "0x20"),
            ("NewProcessName", r"C:\x.exe"),
            ("MandatoryLabel", "S-1-16-12288"),
            ("TargetUserSid", "S-1-0-0"),
            ("TargetUserName", "-"),
            ("TargetDomainName", "-"),
        ];
        let names =
            ["Image", "ProcessId", "ParentProcessId", "User", "ParentUser", "IntegrityLevel"];
        let system = r"NT AUTHORITY\SYSTEM";
        let own = record("Security", 4688, &data);
        let found = seen(SysmonMapping::ProcessCreation, &own, &names);
        assert_eq!(found, [r"C:\x.exe", "16", "32", system, system, "High"]);
        // Started as another account.
        data[7..].copy_from_slice(&[
            ("TargetUserSid", "S-1-5-21-1-2-3-1001"),
            ("TargetUserName", "a"),
            ("TargetDomainName", "CORP"),
        ]);
        let other = record("Security", 4688, &data);
        let found = seen(SysmonMapping::ProcessCreation, &other, &["User", "ParentUser"]);
        assert_eq!(found, [r"CORP\a", system]);
        assert_eq!(SysmonMapping::None.field(&own, "Image"), None);
    }

    #[test]
    fn a_4657_is_a_value_set_or_deleted() {
        let made = |operation, kind, value| {
            record(
                "Security",
                4657,
                &[
                    ("ObjectName", r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Control\Lsa"),
                    ("ObjectValueName", "LimitBlankPasswordUse"),
                    ("OperationType", operation),
                    ("NewValueType", kind),
                    ("NewValue", value),
                    ("ProcessName", r"C:\Windows\regedit.exe"),
                ],
            )
        };
        let set = SysmonMapping::from_category("registry_set");
        let changed = made("%%1905", "%%1876", "1");
        assert!(
            set.admits(&changed) && set.admits(&made("New registry value created.", "%%1873", "x"))
        );
        let deleted = made("%%1906", "-", "-");
        assert!(
            !set.admits(&deleted)
                && SysmonMapping::from_category("registry_delete").admits(&deleted)
        );
        let found = seen(set, &changed, &["TargetObject", "Details", "EventType", "Image"]);
        let target = r"HKLM\System\CurrentControlSet\Control\Lsa\LimitBlankPasswordUse";
        assert_eq!(found, [target, "DWORD (0x00000001)", "SetValue", r"C:\Windows\regedit.exe"]);
        let long = made("%%1905", "%%1883", "4294967298");
        assert_eq!(seen(set, &long, &["Details"]), ["QWORD (0x00000001-0x00000002)"]);
        let keys = [
            (r"\REGISTRY\USER\S-1-5-21-1\Software", r"HKU\S-1-5-21-1\Software"),
            (r"\Registry\Machine\Software\Classes\x", r"HKCR\x"),
            (r"\REGISTRY\MACHINES\x", r"\REGISTRY\MACHINES\x"),
        ];
        for (logged, expected) in keys {
            assert_eq!(sysmon_key(logged), expected);
        }
    }

    #[test]
    fn a_5156_is_a_connection() {
        let data = [
            ("ProcessID", "3324"),
            ("Application", r"\device\harddiskvolume12\users\a\plink.exe"),
            ("Direction", "%%14593"),
            ("SourceAddress", "::1"),
            ("DestAddress", "127.0.0.2"),
            ("DestPort", "3389"),
            ("Protocol", "6"),
        ];
        let record = record("Security", 5156, &data);
        let names = [
            "Image",
            "Initiated",
            "Protocol",
            "SourceIsIpv6",
            "DestinationIsIpv6",
            "DestinationIp",
            "DestinationPort",
            "ProcessId",
        ];
        let found = seen(SysmonMapping::NetworkConnection, &record, &names);
        let expected =
            [r"C:\users\a\plink.exe", "true", "tcp", "true", "false", "127.0.0.2", "3389", "3324"];
        assert_eq!(found, expected);
        assert_eq!(drive_path("System"), "System");
    }
}
