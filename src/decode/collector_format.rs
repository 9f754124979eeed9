//! The JSON formats of collectors and analysers. Each is read to the same
//! [`Record`](crate::model::Record) as from EVTX, as far as it contains the data.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::classic;
use super::node::JsonNode;
use super::system::{SystemFields, keywords};
use crate::model::{Channel, Fields, Form, parse_utc};

/// A JSON format of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CollectorFormat {
    /// NXLog's im_msvistalog: all fields side by side, data fields among System's.
    NxLog,
    /// Winlogbeat since version 7, nested or with dots.
    Winlogbeat,
    /// Winlogbeat before version 7: System's fields at the top.
    OldWinlogbeat,
    /// Hayabusa's timeline.
    Hayabusa,
}

/// The paths of System's fields in a format.
struct SystemPaths {
    event_id: &'static str,
    channel: &'static str,
    provider: &'static str,
    computer: &'static str,
    record_id: &'static str,
    user_sid: &'static str,
    activity_id: &'static str,
    process_id: &'static str,
    thread_id: &'static str,
}

/// A path at which nothing is found.
const NOWHERE: &str = "/";

impl CollectorFormat {
    /// Detects the format of a value. Returns `None` if it is not a record.
    pub fn detect(node: &JsonNode<'_>) -> Option<CollectorFormat> {
        let has = |paths: &[&str]| paths.iter().any(|path| node.text(path).is_some());
        if has(&["winlog.event_id"]) || has(&["winlog.channel"]) && has(&["event.code"]) {
            // This program's own ecs.jsonl also has these names. Results are not evidence.
            (node.text("event.module") != Some("psr")).then_some(CollectorFormat::Winlogbeat)
        } else if has(&["event_id"]) && has(&["log_name"]) {
            Some(CollectorFormat::OldWinlogbeat)
        } else if !has(&["EventID"]) {
            None
        } else if has(&["EventTime", "SourceName", "SourceModuleName"]) {
            Some(CollectorFormat::NxLog)
        } else if has(&["Timestamp"]) && has(&["Channel"]) {
            Some(CollectorFormat::Hayabusa)
        } else {
            None
        }
    }

    fn system_paths(self) -> SystemPaths {
        match self {
            CollectorFormat::NxLog => SystemPaths {
                event_id: "EventID",
                channel: "Channel",
                provider: "SourceName",
                computer: "Hostname",
                record_id: "RecordNumber",
                user_sid: "UserID",
                activity_id: "ActivityID",
                process_id: "ExecutionProcessID",
                thread_id: "ThreadID",
            },
            CollectorFormat::Winlogbeat => SystemPaths {
                event_id: "winlog.event_id",
                channel: "winlog.channel",
                provider: "winlog.provider_name",
                computer: "winlog.computer_name",
                record_id: "winlog.record_id",
                user_sid: "winlog.user.identifier",
                activity_id: "winlog.activity_id",
                process_id: "winlog.process.pid",
                thread_id: "winlog.process.thread.id",
            },
            CollectorFormat::OldWinlogbeat => SystemPaths {
                event_id: "event_id",
                channel: "log_name",
                provider: "source_name",
                computer: "computer_name",
                record_id: "record_number",
                user_sid: "user.identifier",
                activity_id: "activity_id",
                process_id: "process_id",
                thread_id: "thread_id",
            },
            CollectorFormat::Hayabusa => SystemPaths {
                event_id: "EventID",
                channel: "Channel",
                provider: "Provider",
                computer: "Computer",
                record_id: "RecordID",
                user_sid: NOWHERE,
                activity_id: NOWHERE,
                process_id: NOWHERE,
                thread_id: NOWHERE,
            },
        }
    }

    /// Reads the System fields of a record.
    pub fn system_fields(self, node: &JsonNode<'_>) -> SystemFields {
        let paths = self.system_paths();
        let text = |path: &str| node.text(path).unwrap_or_default().to_owned();
        let given = |path: &str| node.text(path).filter(|text| !text.is_empty()).map(str::to_owned);
        let channel = match self {
            CollectorFormat::Hayabusa => full_channel_name(&text(paths.channel)).to_owned(),
            _ => text(paths.channel),
        };
        let logged = match self {
            CollectorFormat::NxLog => nxlog_time(node),
            _ => None,
        };
        SystemFields {
            time: self.record_time(node, &channel),
            logged,
            form: Some(self.record_form()),
            provider: text(paths.provider),
            channel,
            computer: text(paths.computer),
            event_id: node.number(paths.event_id).or_else(|| node.number("event.code")),
            level: self.record_level(node),
            keywords: self.record_keywords(node),
            record_id: node.number(paths.record_id),
            user_sid: given(paths.user_sid),
            activity_id: given(paths.activity_id),
            process_id: node.number(paths.process_id),
            thread_id: node.number(paths.thread_id),
        }
    }

    fn record_form(self) -> Form {
        match self {
            CollectorFormat::NxLog => Form::NxLog,
            CollectorFormat::Winlogbeat | CollectorFormat::OldWinlogbeat => Form::Winlogbeat,
            CollectorFormat::Hayabusa => Form::Hayabusa,
        }
    }

    fn record_time(self, node: &JsonNode<'_>, channel: &str) -> Option<DateTime<Utc>> {
        let at = |path: &str| node.text(path).and_then(parse_time);
        match self {
            CollectorFormat::NxLog => {
                // Sysmon's own UtcTime has milliseconds.
                let sysmon = Channel::of(channel, "") == Channel::Sysmon;
                let own = if sysmon { at("UtcTime") } else { None };
                own.or_else(|| nxlog_time(node))
            }
            CollectorFormat::Winlogbeat => at("winlog.time_created").or_else(|| at("@timestamp")),
            CollectorFormat::OldWinlogbeat => at("@timestamp"),
            CollectorFormat::Hayabusa => at("Timestamp"),
        }
    }

    fn record_level(self, node: &JsonNode<'_>) -> u8 {
        let paths: &[&str] = match self {
            CollectorFormat::NxLog => &["EventTypeOrignal", "EventType"],
            CollectorFormat::Winlogbeat => &["log.level", "winlog.level"],
            CollectorFormat::OldWinlogbeat => &["level"],
            // The level in Hayabusa's output is the rule's.
            CollectorFormat::Hayabusa => &[],
        };
        let words = paths.iter().filter_map(|path| node.text(path));
        words.filter_map(parse_level).next().unwrap_or(0)
    }

    fn record_keywords(self, node: &JsonNode<'_>) -> u64 {
        let path = match self {
            CollectorFormat::NxLog => "Keywords",
            CollectorFormat::Winlogbeat => "winlog.keywords",
            CollectorFormat::OldWinlogbeat => "keywords",
            CollectorFormat::Hayabusa => return 0,
        };
        node.text(path).map(keywords).unwrap_or_default()
    }

    /// Reads the record's data, under the names that EVTX has.
    pub fn data_fields(self, node: &JsonNode<'_>, system: &SystemFields) -> Fields {
        let mut fields = Fields::default();
        let classic = Channel::of(&system.channel, &system.provider) == Channel::PowerShellClassic;
        let push = |fields: &mut Fields, name: &str, node: &JsonNode<'_>| {
            // A string that has no name in the record.
            let unnamed = classic && name.strip_prefix("param").is_some_and(is_number);
            node.push_leaves(if unnamed { "Data" } else { name }, fields);
        };
        let below: &[&str] = match self {
            CollectorFormat::NxLog => {
                let data =
                    node.members().iter().filter(|(name, node)| !is_nxlog_metadata(name, node));
                data.for_each(|(name, node)| push(&mut fields, name, node));
                &[]
            }
            CollectorFormat::Winlogbeat => &["winlog.event_data", "winlog.user_data"],
            CollectorFormat::OldWinlogbeat => &["event_data", "user_data"],
            CollectorFormat::Hayabusa if node.get("AllFieldInfo").is_some() => &["AllFieldInfo"],
            CollectorFormat::Hayabusa => &["Details", "ExtraFieldInfo"],
        };
        for (name, node) in below.iter().flat_map(|path| node.members_below(path)) {
            // Winlogbeat's name for the element around user data.
            if name != "xml_name" {
                push(&mut fields, name, node);
            }
        }
        if classic
            && fields.all("Data").next().is_none()
            && let Some(message) = node.text("Message").or_else(|| node.text("message"))
        {
            for string in classic::message_strings(system.event_id.unwrap_or_default(), message) {
                fields.push("Data", &string);
            }
        }
        fields
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses a time with its offset, or in UTC.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    // Hayabusa writes a blank before the offset.
    let with_offset = || DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %:z").ok();
    parse_utc(text).ok().or_else(|| with_offset().map(|time| time.with_timezone(&Utc)))
}

/// Returns the best estimate of a record's time in UTC from NXLog's fields.
///
/// EventTime is the agent's local time, usually in whole seconds. `@timestamp` is UTC, but is the
/// time of collection. The agent's offset from UTC comes from the two times of collection, of which
/// EventReceivedTime is the local one: it is a multiple of a quarter of an hour, and the rest is
/// the collector's delay. Without `@timestamp` EventTime is assumed to be UTC, unless it names its
/// offset.
fn nxlog_time(node: &JsonNode<'_>) -> Option<DateTime<Utc>> {
    let at = |path: &str| node.text(path).and_then(parse_time);
    let local = |path: &str| {
        let text = node.text(path)?.replace('T', " ");
        NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").ok()
    };
    let Some(event) = local("EventTime") else {
        return at("EventTime").or_else(|| at("@timestamp"));
    };
    let received = local("EventReceivedTime").unwrap_or(event);
    let behind = at("@timestamp").map_or(0, |collected| {
        const QUARTER: i64 = 15 * 60;
        let seconds = (collected.naive_utc() - received).num_seconds();
        (seconds + QUARTER / 2).div_euclid(QUARTER) * QUARTER
    });
    event.checked_add_signed(TimeDelta::seconds(behind)).map(|time| time.and_utc())
}

/// Returns System/Level for a collector's word.
fn parse_level(word: &str) -> Option<u8> {
    Some(match word.to_ascii_lowercase().as_str() {
        "audit_success" | "audit_failure" | "audit success" | "audit failure" => 0,
        "critical" => 1,
        "error" => 2,
        "warning" => 3,
        "info" | "information" => 4,
        "verbose" | "debug" => 5,
        _ => return None,
    })
}

/// Returns whether a field is not part of the record's data: it is System's, NXLog's own (reference
/// manual, im_msvistalog), or was added by a forwarder.
fn is_nxlog_metadata(name: &str, node: &JsonNode<'_>) -> bool {
    match name {
        // Sysmon has a data field of this name, which replaces NXLog's.
        "EventType" => matches!(node, JsonNode::Text(word) if parse_level(word).is_some()),
        "AccountName"
        | "AccountType"
        | "ActivityID"
        | "Category"
        | "Channel"
        | "Domain"
        | "ERROR_EVT_UNRESOLVED"
        | "EventID"
        | "EventReceivedTime"
        | "EventTime"
        | "EventTypeOrignal"
        | "EventXML"
        | "ExecutionProcessID"
        | "Hostname"
        | "Keywords"
        | "Message"
        | "Opcode"
        | "OpcodeValue"
        | "ProviderGuid"
        | "RecordNumber"
        | "RelatedActivityID"
        | "Severity"
        | "SeverityValue"
        | "SourceModuleName"
        | "SourceModuleType"
        | "SourceName"
        | "Task"
        | "TaskValue"
        | "ThreadID"
        | "UserID"
        | "Version"
        | "raw_event"
        | "@timestamp"
        | "@version"
        | "host"
        | "port"
        | "tags" => true,
        _ => false,
    }
}

/// Returns the full name of a channel that Hayabusa abbreviates (its `channel_abbreviations.txt`),
/// for those that this program or Sigma's log sources use.
fn full_channel_name(shown: &str) -> &str {
    match shown {
        "App" => "Application",
        "AppLocker" => "Microsoft-Windows-AppLocker/EXE and DLL",
        "BitsCli" => "Microsoft-Windows-Bits-Client/Operational",
        "CodeInteg" => "Microsoft-Windows-CodeIntegrity/Operational",
        "Defender" => "Microsoft-Windows-Windows Defender/Operational",
        "DHCP-Svr" => "Microsoft-Windows-DHCP-Server/Operational",
        "DNS-Svr" => "DNS Server",
        "DvrFmwk" => "Microsoft-Windows-DriverFrameworks-UserMode/Operational",
        "Exchange" => "MSExchange Management",
        "Firewall" => "Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",
        "LDAP-Cli" => "Microsoft-Windows-LDAP-Client/Debug",
        "NTLM" => "Microsoft-Windows-NTLM/Operational",
        "OpenSSH" => "OpenSSH/Operational",
        "PrintAdm" => "Microsoft-Windows-PrintService/Admin",
        "PrintOp" => "Microsoft-Windows-PrintService/Operational",
        "PwSh" => "Microsoft-Windows-PowerShell/Operational",
        "PwShClassic" => "Windows PowerShell",
        "PwShCore" => "PowerShellCore/Operational",
        "RDS-LSM" => "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
        "Sec" => "Security",
        "SmbCliSec" => "Microsoft-Windows-SmbClient/Security",
        "Sys" => "System",
        "Sysmon" => "Microsoft-Windows-Sysmon/Operational",
        "TaskSch" => "Microsoft-Windows-TaskScheduler/Operational",
        "WinRM" => "Microsoft-Windows-WinRM/Operational",
        "WMI" => "Microsoft-Windows-WMI-Activity/Operational",
        whole => whole,
    }
}
