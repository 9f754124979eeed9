//! Records that hold remoting's own traffic: fragments in Microsoft-Windows-PowerShell/Analytic,
//! SOAP documents in Microsoft-Windows-WinRM/Analytic (ids, names and types: the providers'
//! manifests). What they say together, [`psrp`] tells.

use psrp::{ChunkKey, Exchange, Fragment, SoapChunk};

use super::fields::{known, number, number_of, text};
use crate::model::{AccountName, Channel, LoggedId, Record, ServerSession};

/// What a record holds of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// PowerShell 32867, 32868: a fragment was received, or sent.
    Fragment(FragmentRecord),
    /// WinRM 771, 772, 779, 1026, 1027, 1044: a chunk of a SOAP document.
    Chunk(SoapChunk),
}

/// PowerShell 32867, 32868.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentRecord {
    /// The logging host, lower case.
    pub host: String,
    /// System/Execution ProcessID: senders count objects per process.
    pub process: u32,
    /// System/Correlation ActivityID.
    pub activity: Option<String>,
    /// 32867; on a server it comes from the client.
    pub received: bool,
    /// ObjectId.
    pub object_id: u64,
    /// FragmentId.
    pub fragment_id: u64,
    /// The fragment, or what is wrong with its payload.
    pub fragment: Result<Fragment, String>,
}

/// Whether a record of this channel and event id holds traffic.
pub fn holds_wire(channel: Channel, event_id: u32) -> bool {
    match channel {
        Channel::WinRm | Channel::WinRmAnalytic => {
            matches!(event_id, 771 | 772 | 779 | 1026 | 1027 | 1044)
        }
        Channel::PowerShell | Channel::PowerShellCore | Channel::PowerShellAnalytic => {
            matches!(event_id, 32867 | 32868)
        }
        _ => false,
    }
}

/// What a record holds of the traffic, if it is one that does.
pub fn wire(record: &Record) -> Option<Wire> {
    if !holds_wire(record.known_channel, record.event_id) {
        return None;
    }
    let host = record.computer.to_lowercase();
    Some(match record.event_id {
        32867 | 32868 => Wire::Fragment(fragment(record, host)),
        _ => Wire::Chunk(SoapChunk {
            key: ChunkKey {
                host,
                activity: record.activity_id.as_ref().map(LoggedId::to_string),
                process: record.process_id,
                thread: record.thread_id,
                event_id: record.event_id,
            },
            index: number_of(record, "index").unwrap_or(0),
            total: number_of(record, "totalChunks").unwrap_or(0),
            text: text(record, "SoapDocument").trim_end_matches('\0').to_owned(),
        }),
    })
}

impl Wire {
    /// How many bytes of the traffic it holds.
    pub fn length(&self) -> usize {
        match self {
            Wire::Fragment(record) => record.fragment.as_ref().map_or(0, |one| one.blob.len()),
            Wire::Chunk(chunk) => chunk.text.len(),
        }
    }

    /// Hands it to an exchange with the caller's tag.
    pub fn add_to<T: Clone>(self, exchange: &mut Exchange<T>, tag: T) {
        match self {
            Wire::Chunk(chunk) => exchange.add_chunk(chunk, tag),
            Wire::Fragment(record) => {
                let FragmentRecord {
                    host,
                    process,
                    activity,
                    received,
                    object_id,
                    fragment_id,
                    fragment,
                } = record;
                let ids = (object_id, fragment_id);
                match fragment {
                    Ok(fragment) => {
                        let activity = activity.as_deref();
                        exchange.add_fragment_of_activity(
                            &host, process, received, activity, fragment, tag,
                        );
                    }
                    Err(reason) => {
                        exchange.add_damaged_fragment(&host, process, received, ids, reason, tag);
                    }
                }
            }
        }
    }
}

/// What 32850 says.
pub(super) fn server_session(record: &Record) -> ServerSession {
    ServerSession {
        account: record.data.known("param2").and_then(AccountName::parse),
        shell: known(record, "param3"),
    }
}

/// 32867, 32868 without their payload.
pub(super) fn fragment_in_short(record: &Record) -> String {
    let what = if record.event_id == 32867 { "received" } else { "sent" };
    let short = record.data.iter().filter(|(name, _)| *name != "FragmentPayload");
    let data: Vec<String> = short.map(|(name, value)| format!("{name}={value}")).collect();
    format!("remoting fragment {what}: {}", data.join(", "))
}

/// What a chunk's record says of it without its text: the document's action, where this chunk
/// names it.
pub(super) fn chunk_in_short(record: &Record) -> String {
    let what = match record.event_id {
        771 | 779 => "client sends",
        1026 => "client receives",
        772 => "listener receives",
        _ => "listener sends",
    };
    let field = |name| record.data.get(name).map_or("?", str::trim);
    let document = record.data.get("SoapDocument").unwrap_or_default();
    let action = || {
        let (_, rest) = document.split_once("Action")?;
        let (uri, _) = rest.split_once('>')?.1.split_once('<')?;
        uri.rsplit('/').next().filter(|name| name.len() < 64)
    };
    let action = action().map(|action| format!(" {action}")).unwrap_or_default();
    let (index, total) = (field("index"), field("totalChunks"));
    format!("{what}{action}, part {index} of {total}, {} bytes", document.len())
}

fn fragment(record: &Record, host: String) -> FragmentRecord {
    // The manifest has them as signed numbers.
    let id = |name| {
        let text = record.data.get(name)?.trim();
        number(text).or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
    };
    let flag = |name: &str| match record.data.get(name).map(str::trim) {
        Some(text) => {
            text.eq_ignore_ascii_case("true") || number(text).is_some_and(|flag| flag != 0)
        }
        None => false,
    };
    let ids = id("ObjectId").zip(id("FragmentId"));
    let (object_id, fragment_id) = ids.unwrap_or_default();
    let fragment = match ids {
        None => Err("it has no ObjectId or FragmentId".to_owned()),
        Some(_) => payload(record, (object_id, fragment_id)).map(|blob| Fragment {
            object_id,
            fragment_id,
            start: flag("sFlag"),
            end: flag("eFlag"),
            blob,
        }),
    };
    let process = record.process_id.unwrap_or_default();
    let received = record.event_id == 32867;
    let activity = record.activity_id.as_ref().map(LoggedId::to_string);
    FragmentRecord { host, process, activity, received, object_id, fragment_id, fragment }
}

/// The fragment's blob. PowerShell's source logs it without the fragment's header, as `0x` and hex;
/// the manifest of Windows 7 has it as binary. A payload that starts with this very fragment's
/// header is taken to have it.
fn payload(record: &Record, ids: (u64, u64)) -> Result<Vec<u8>, String> {
    let hex = record.data.get("FragmentPayload").unwrap_or_default().trim();
    let hex = hex.strip_prefix("0x").or_else(|| hex.strip_prefix("0X")).unwrap_or(hex);
    let bytes = psrp::decode_hex(hex).ok_or_else(|| "its payload is no hex".to_owned())?;
    let header = [ids.0.to_be_bytes(), ids.1.to_be_bytes()].concat();
    if bytes.starts_with(&header)
        && let (mut fragments, None) = Fragment::split(&bytes)
        && fragments.len() == 1
    {
        return Ok(fragments.remove(0).blob);
    }
    match number_of(record, "FragmentLength") {
        Some(length) if length as usize != bytes.len() => {
            Err(format!("its payload has {} of {length} bytes", bytes.len()))
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;

    const POWERSHELL: &str = "Microsoft-Windows-PowerShell/Analytic";

    fn read(id: u32, length: &str, payload: &str) -> FragmentRecord {
        let data = [
            ("ObjectId", "7"),
            ("FragmentId", "0"),
            ("sFlag", "1"),
            ("eFlag", "0"),
            ("FragmentLength", length),
            ("FragmentPayload", payload),
        ];
        match wire(&record(POWERSHELL, id, &data)) {
            Some(Wire::Fragment(fragment)) => fragment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn payloads_as_text_as_binary_and_with_their_header() {
        let whole = "00000000000000070000000000000000010000000268C3";
        for (length, payload) in
            [("2", "0x68C3"), ("2", "68c3"), (" 2", "0x68C3 "), ("2", whole), ("23", whole)]
        {
            let read = read(32867, length, payload);
            let fragment = read.fragment.unwrap();
            assert_eq!(
                (&*fragment.blob, fragment.start, fragment.end),
                (&b"h\xc3"[..], true, false)
            );
            assert!(read.received && read.object_id == 7);
        }
        assert!(!read(32868, "2", "0x68C3").received);
    }

    #[test]
    fn damage_is_told_and_used_for_nothing() {
        for (length, payload) in [("2", "0x68C"), ("2", "0x68ZZ"), ("3", "0x68C3"), ("2", "")] {
            assert!(read(32867, length, payload).fragment.is_err(), "{payload}");
        }
        let none = wire(&record(POWERSHELL, 32867, &[("FragmentPayload", "0x00")]));
        assert!(matches!(none, Some(Wire::Fragment(record)) if record.fragment.is_err()));
    }

    #[test]
    fn chunks_and_sessions() {
        let action = "<a:Action s:mustUnderstand=\"true\">http://x/transfer/Create</a:Action>";
        let data = [("index", " 1"), ("totalChunks", "2"), ("SoapDocument", action)];
        let short = chunk_in_short(&record("Microsoft-Windows-WinRM/Analytic", 1027, &data));
        assert_eq!(short, "listener sends Create, part 1 of 2, 69 bytes");
        let data = [
            ("index", "       1"),
            ("totalChunks", "2"),
            ("bytes", "3000"),
            ("SoapDocument", "<s:Envelope"),
        ];
        match wire(&record("Microsoft-Windows-WinRM/Analytic", 772, &data)) {
            Some(Wire::Chunk(chunk)) => {
                assert_eq!((chunk.index, chunk.total, &*chunk.text), (1, 2, "<s:Envelope"));
                assert_eq!((&*chunk.key.host, chunk.key.event_id), ("host", 772));
            }
            other => panic!("{other:?}"),
        }
        let data = [("param1", "request"), ("param2", r"CORP\alice"), ("param3", "http://x")];
        let session = server_session(&record(POWERSHELL, 32850, &data));
        assert_eq!(session.account.unwrap().to_string(), r"CORP\alice");
        assert_eq!(wire(&record(POWERSHELL, 7937, &[])), None);
        assert_eq!(wire(&record("Security", 772, &[])), None);
    }
}
