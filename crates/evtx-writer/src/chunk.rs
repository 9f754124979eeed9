use crate::EvtxEvent;
use crate::binxml::BinXml;
use crate::header::{CHUNK_SIZE, ChunkHeaderFields, put};
use crate::template::write_event;

/// Marks a record: `**` and two zeros.
const RECORD_MAGIC: [u8; 4] = *b"**\0\0";
/// Where records end at the latest. No chunk of Windows was seen with less than eight bytes free,
/// and readers look there for a next record's mark and size.
const RECORDS_END: usize = CHUNK_SIZE - 8;

/// A chunk that takes records until it is full.
pub(crate) struct ChunkWriter {
    xml: BinXml,
    /// First and last record number.
    numbers: Option<(u64, u64)>,
    last_record: u32,
}

impl ChunkWriter {
    pub fn new() -> Self {
        Self { xml: BinXml::new(), numbers: None, last_record: 0 }
    }

    /// Appends a record; `false` and nothing changed if there is no room for it.
    pub fn push(&mut self, number: u64, event: &EvtxEvent) -> bool {
        let start = self.xml.data.len();
        let tables = self.xml.tables.clone();
        self.write_record(number, event);
        if self.xml.data.len() > RECORDS_END {
            self.xml.roll_back(start, tables);
            return false;
        }
        self.numbers = Some((self.numbers.map_or(number, |(first, _)| first), number));
        self.last_record = start as u32;
        true
    }

    /// The chunk's 64 KiB, unless it has no record.
    pub fn finish(self) -> Option<Vec<u8>> {
        let (first_number, last_number) = self.numbers?;
        let BinXml { mut data, tables, .. } = self.xml;
        let header = ChunkHeaderFields {
            first_number,
            last_number,
            last_record: self.last_record,
            strings: &tables.strings,
            templates: &tables.templates,
        };
        header.complete(&mut data);
        Some(data)
    }

    fn write_record(&mut self, number: u64, event: &EvtxEvent) {
        let start = self.xml.data.len();
        self.xml.data.extend(RECORD_MAGIC);
        self.xml.data.extend([0; 4]); // size, set below
        self.xml.data.extend(number.to_le_bytes());
        self.xml.data.extend(event.time.0.to_le_bytes());
        write_event(&mut self.xml, event);
        let data = &mut self.xml.data;
        // The size stands at both ends, and a record begins at a multiple of eight.
        data.resize((data.len() + 4).next_multiple_of(8) - 4, 0);
        let size = ((data.len() + 4 - start) as u32).to_le_bytes();
        put(data, start + 4, size);
        data.extend(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileTime;

    #[test]
    fn record_frame() {
        let mut chunk = ChunkWriter::new();
        let event = EvtxEvent { time: FileTime(0x0102), ..EvtxEvent::default() };
        assert!(chunk.push(9, &event));
        assert!(chunk.push(10, &event));
        let bytes = chunk.finish().unwrap();
        assert_eq!(bytes[512..516], [0x2a, 0x2a, 0, 0]); // magic
        let size = u32::from_le_bytes(bytes[516..520].try_into().unwrap()) as usize;
        assert_eq!(size % 8, 0);
        assert_eq!(bytes[520..536], [9, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]); // number, time
        assert_eq!(bytes[536..542], [0x0f, 1, 1, 0, 0x0c, 1]); // fragment header, template instance
        assert_eq!(bytes[546..550], [0x26, 2, 0, 0]); // its definition comes right here
        assert_eq!(bytes[512 + size - 4..][..4], bytes[516..520]); // size once more
        let second = 512 + size;
        assert_eq!(bytes[second..second + 4], [0x2a, 0x2a, 0, 0]);
        assert_eq!(bytes[second + 34..second + 38], [0x26, 2, 0, 0]); // the first one's definition
        assert_eq!(bytes[44..48], (second as u32).to_le_bytes()); // last record
    }

    #[test]
    fn an_empty_chunk_is_none() {
        assert_eq!(ChunkWriter::new().finish(), None);
    }
}
