//! Events of OpenSSH's own log.

use evtx_writer::{EvtxEvent, EvtxGuid, FileTime};

use super::{SYSTEM, data};

/// 4: what sshd, process `process_id`, has to say.
pub fn message(time: FileTime, process_id: u32, text: &str) -> EvtxEvent {
    EvtxEvent {
        provider: "OpenSSH".into(),
        provider_guid: Some(EvtxGuid::from_u128(0xc4b57d35_0636_4bc3_a262_370f249f9802)),
        event_id: 4,
        level: 4,
        keywords: 0x4000000000000000,
        time,
        process_id,
        thread_id: process_id + 2104,
        channel: "OpenSSH/Operational".into(),
        user_sid: Some(SYSTEM.sid),
        payload: data([("process", "sshd".into()), ("payload", text.into())]),
        ..EvtxEvent::default()
    }
}
