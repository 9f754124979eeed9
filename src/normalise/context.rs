//! The key and value texts that PowerShell logs: the classic log's details and 4103's ContextInfo.
//!
//! Both are made for people. Keys are localised on systems that do not speak English, values span
//! lines, keys go missing: so every line that does not begin a pair belongs to the pair before.

use crate::model::{EngineContext, Guid, LoggedId, REMOTE_HOST};

/// Splits `Key=Value` or `Key = Value` lines into pairs, in order, keys and values trimmed.
///
/// A key is letters, digits and blanks, at most 40 of them; a value may run over several lines.
pub fn pairs(text: &str) -> Vec<(&str, String)> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        // The command line stands last and is whatever was typed: no line of it is a pair.
        let typed = pairs.last().is_some_and(|(key, _)| *key == "CommandLine");
        match line.split_once('=') {
            Some((key, value)) if is_key(key) && !typed => {
                pairs.push((key.trim(), value.trim().to_owned()));
            }
            _ if line.trim().is_empty() => {}
            _ => {
                if let Some((_, value)) = pairs.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim_end());
                }
            }
        }
    }
    pairs
}

fn is_key(text: &str) -> bool {
    let key = text.trim();
    !key.is_empty()
        && key.chars().count() <= 40
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, ' ' | '\u{a0}' | '\'' | '’' | '-' | '.'))
}

/// The engine's context of a classic record, whose unnamed strings are joined.
pub fn classic(text: &str) -> EngineContext {
    let mut context = EngineContext::default();
    for (key, value) in pairs(text) {
        let field = match key {
            "HostName" => &mut context.host_name,
            "HostId" => {
                context.host_id = context.host_id.or_else(|| LoggedId::parse(&value));
                continue;
            }
            "HostApplication" => &mut context.host_application,
            "EngineVersion" => &mut context.engine_version,
            "RunspaceId" => {
                context.runspace_id = LoggedId::parse(&value);
                continue;
            }
            "PipelineId" => &mut context.pipeline_id,
            "CommandLine" => &mut context.command_line,
            "CommandName" => &mut context.command_name,
            "CommandType" => &mut context.command_type,
            "UserId" => &mut context.user,
            "SequenceNumber" => {
                context.sequence = context.sequence.or(value.parse().ok());
                continue;
            }
            _ => continue,
        };
        // What stands before the host application cannot be forged in it, as its HostId above;
        // what stands after can only be forged before its own line.
        if !matches!(key, "HostName" | "HostApplication") || field.is_empty() {
            *field = value;
        }
    }
    context
}

/// The engine's context of 4103 and 4100.
///
/// On a system whose keys are not English the values still tell some of it: the host's name, two
/// GUIDs (host before runspace in every known translation), the host application; and what follows
/// the runspace by its place, as the order is not localised.
pub fn context_info(text: &str) -> EngineContext {
    let mut context = EngineContext::default();
    let pairs = pairs(text);
    let mut understood = false;
    for (key, value) in &pairs {
        let field = match *key {
            "Host Name" => &mut context.host_name,
            "Host ID" => {
                context.host_id = context.host_id.or_else(|| LoggedId::parse(value));
                understood = true;
                continue;
            }
            "Host Application" => &mut context.host_application,
            "Engine Version" => &mut context.engine_version,
            "Runspace ID" => {
                context.runspace_id = LoggedId::parse(value);
                understood = true;
                continue;
            }
            "Pipeline ID" => &mut context.pipeline_id,
            "Command Name" => &mut context.command_name,
            "Command Type" => &mut context.command_type,
            "Sequence Number" => {
                context.sequence = value.parse().ok();
                continue;
            }
            "User" => &mut context.user,
            "Connected User" => &mut context.connected_user,
            _ => continue,
        };
        if !matches!(*key, "Host Name" | "Host Application") || field.is_empty() {
            field.clone_from(value);
        }
        understood = true;
    }
    if !understood {
        by_value(&pairs, &mut context);
    }
    context
}

fn by_value(pairs: &[(&str, String)], context: &mut EngineContext) {
    let mut guids = pairs.iter().enumerate();
    let mut next = || guids.find_map(|(at, (_, value))| Some((at, Guid::parse(value)?)));
    let (host, runspace) = (next(), next());
    context.host_id = host.map(|(_, guid)| LoggedId::Guid(guid));
    context.runspace_id = runspace.map(|(_, guid)| LoggedId::Guid(guid));
    let runspace = runspace.map(|(at, _)| at);
    let after = |place: usize| Some(&pairs.get(runspace? + place)?.1);
    // Runspace ID, Pipeline ID, Command Name, Command Type, Script Name, Command Path, Sequence
    // Number.
    let sequence = after(6).and_then(|value| value.parse().ok());
    if let (Some(pipeline), Some(_)) = (after(1), sequence)
        && pipeline.bytes().all(|byte| byte.is_ascii_digit())
    {
        context.sequence = sequence;
        context.pipeline_id.clone_from(pipeline);
        context.command_name = after(2).cloned().unwrap_or_default();
    }
    let mut values = pairs.iter().map(|(_, value)| value.as_str());
    if let Some(host) = values.clone().find(|value| matches!(*value, REMOTE_HOST | "ConsoleHost")) {
        context.host_name = host.to_owned();
    }
    if let Some(command) = values.find(|value| value.to_lowercase().contains(".exe")) {
        context.host_application = command.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(context: &EngineContext) -> [String; 2] {
        [&context.host_id, &context.runspace_id].map(|id| LoggedId::text(id.as_ref()))
    }

    #[test]
    fn values_may_span_lines_and_hold_equal_signs() {
        let text = "\tHostName=ConsoleHost\r\n\tHostApplication=powershell -c $a=1\r\n$b = 2\r\n\
                    if ($x) {=}\r\n\r\n\tEngineVersion=5.1\r\n\tRunspaceId=";
        let expected = [
            ("HostName", "ConsoleHost"),
            ("HostApplication", "powershell -c $a=1\n$b = 2\nif ($x) {=}"),
            ("EngineVersion", "5.1"),
            ("RunspaceId", ""),
        ];
        let found = pairs(text);
        let found: Vec<_> = found.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_classic_text_without_host_application() {
        let context = classic("\tHostName=ServerRemoteHost\n\tHostId=AB-1\n\tRunspaceId=CD-2\n");
        assert!(context.is_remote());
        assert_eq!(ids(&context), ["ab-1", "cd-2"]);
        assert_eq!(context.host_application, "");
    }

    #[test]
    fn what_was_typed_forges_no_key() {
        let text = "\tHostName=ServerRemoteHost\n\tHostId=a\n\tHostApplication=x\nHostId=b\n\
                    \tRunspaceId=r-a\n\tCommandLine=echo\nHostName=ConsoleHost\nRunspaceId=r-b";
        let context = classic(text);
        assert!(context.is_remote());
        assert_eq!(ids(&context), ["a", "r-a"]);
        assert_eq!(context.command_line, "echo\nHostName=ConsoleHost\nRunspaceId=r-b");
    }

    #[test]
    fn context_info_in_another_language() {
        let text = "        Schweregrad = Informational\n        Hostname = ServerRemoteHost\n\
                    \x20       Host-ID = 3A01E863-e5f7-4fe6-a55d-36e4078d77f9\n\
                    \x20       Hostanwendung = C:\\windows\\system32\\wsmprovhost.exe -Embedding\n\
                    \x20       Runspace-ID = c1c61e0c-fa39-457f-bb50-49692f950904\n\
                    \x20       Pipeline-ID = 7\n        Befehlsname = Get-Date\n\
                    \x20       Befehlstyp = Cmdlet\n        Skriptname = \n\
                    \x20       Befehlspfad = \n        Sequenznummer = 18\n";
        let context = context_info(text);
        assert_eq!((context.pipeline_id.as_str(), context.sequence), ("7", Some(18)));
        assert_eq!(context.command_name, "Get-Date");
        assert!(context.is_remote());
        let expected =
            ["3a01e863-e5f7-4fe6-a55d-36e4078d77f9", "c1c61e0c-fa39-457f-bb50-49692f950904"];
        assert_eq!(ids(&context), expected);
        assert!(context.host_application.ends_with("-Embedding"));
    }
}
