//! Events of the System log.

use evtx_writer::{Event, FileTime, Guid};

use crate::world::data;

/// 7036: a service is now `running` or `stopped`.
pub fn service_state(time: FileTime, service: &str, state: &str) -> Event {
    Event {
        provider: "Service Control Manager".into(),
        provider_guid: Some(Guid::from_u128(0x555908d1_a6d7_4695_8e1e_26931d2012f4)),
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
        ..Event::default()
    }
}
