//! Events of the System log.

use evtx_writer::{EvtxEvent, EvtxGuid, EvtxValue, FileTime, Payload};

use super::{ScenarioLogon, data};

/// 7036: a service is now `running` or `stopped`.
pub fn service_state(time: FileTime, service: &str, state: &str) -> EvtxEvent {
    EvtxEvent {
        provider: "Service Control Manager".into(),
        provider_guid: Some(EvtxGuid::from_u128(0x555908d1_a6d7_4695_8e1e_26931d2012f4)),
        event_source: Some("Service Control Manager".into()),
        event_id: 7036,
        qualifiers: Some(16384),
        level: 4,
        keywords: 0x8080000000000000,
        time,
        process_id: 668,
        thread_id: 5912,
        channel: "System".into(),
        payload: data([("param1", service.into()), ("param2", state.into())]),
        ..EvtxEvent::default()
    }
}

/// 104: `by` cleared the log called `channel`.
pub fn cleared(time: FileTime, by: ScenarioLogon<'_>, channel: &str) -> EvtxEvent {
    let fields: [(&str, EvtxValue); 4] = [
        ("SubjectUserName", by.account.name.into()),
        ("SubjectDomainName", by.account.domain.into()),
        ("Channel", channel.into()),
        ("BackupPath", "".into()),
    ];
    EvtxEvent {
        provider: "Microsoft-Windows-Eventlog".into(),
        provider_guid: Some(EvtxGuid::from_u128(0xfc65ddd8_d6ef_4962_83d5_6e5cfe9ce148)),
        event_id: 104,
        level: 4,
        task: 104,
        keywords: 0x8000000000000000,
        time,
        process_id: 1016,
        thread_id: 1188,
        channel: "System".into(),
        user_sid: Some(by.account.sid),
        payload: Payload::UserData {
            element: "LogFileCleared".into(),
            namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        },
        ..EvtxEvent::default()
    }
}
