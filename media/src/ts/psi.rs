//! The tables that say what is in a transport stream (ISO/IEC 13818-1, 2.4.4).

use super::names::{self, Kind};

/// The longest section of the two tables, its first three bytes included.
const MAX_LEN: usize = 1024;
/// Before a section's content, and after it: the header up to its last number, and the CRC.
const HEADER_LEN: usize = 8;
const CRC_LEN: usize = 4;
const PROGRAMS: u8 = 0;
const STREAMS: u8 = 2;

/// Collects the sections of one table.
#[derive(Default)]
pub(super) struct Assembler {
    bytes: Vec<u8>,
    open: bool,
}

/// The streams of a program that can be carried, and a name for each kind that cannot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) h264: Option<u16>,
    pub(super) aac: Option<u16>,
    pub(super) other_video: Option<String>,
    pub(super) other_audio: Option<String>,
}

impl Assembler {
    /// A packet came; the section that ends in it, if it is whole and sound.
    pub(super) fn push(&mut self, starts: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let mut payload = payload;
        let mut ended = None;
        if starts {
            let (pointer, rest) = payload.split_first()?;
            let (before, after) = rest.split_at_checked(usize::from(*pointer))?;
            ended = self.extend(before);
            self.bytes.clear();
            self.open = true;
            payload = after;
        }
        // One section a packet is what senders do; of more, the last counts.
        self.extend(payload).or(ended)
    }

    fn extend(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.open {
            return None;
        }
        self.bytes.extend_from_slice(payload);
        let [_, high, low, ..] = self.bytes[..] else {
            return None;
        };
        let len = 3 + usize::from(u16::from_be_bytes([high & 15, low]));
        if len > MAX_LEN {
            self.open = false;
        }
        if !self.open || self.bytes.len() < len {
            return None;
        }
        self.open = false;
        let section = self.bytes[..len].to_vec();
        (crc(&section) == 0).then_some(section)
    }
}

/// The PID of the first program's table of streams.
pub(super) fn first_program(section: &[u8]) -> Option<u16> {
    let entries = content(section, PROGRAMS)?.chunks_exact(4);
    let mut programs = entries.filter(|entry| entry[..2] != [0, 0]);
    programs.next().map(|entry| pid(entry[2], entry[3]))
}

/// The streams that a program's table names.
pub(super) fn streams(section: &[u8]) -> Option<Streams> {
    let content = content(section, STREAMS)?;
    let info_len = usize::from(u16::from_be_bytes([
        *content.get(2)? & 15,
        *content.get(3)?,
    ]));
    let mut rest = content.get(4 + info_len..)?;
    let mut streams = Streams::default();
    while let [kind, high, low, info_high, info_low, after @ ..] = rest {
        let info_len = usize::from(u16::from_be_bytes([info_high & 15, *info_low]));
        let (info, after) = after.split_at_checked(info_len)?;
        let pid = pid(*high, *low);
        match names::kind(*kind, info) {
            Kind::H264 => _ = streams.h264.get_or_insert(pid),
            Kind::Aac => _ = streams.aac.get_or_insert(pid),
            Kind::Video(name) => _ = streams.other_video.get_or_insert(name),
            Kind::Audio(name) => _ = streams.other_audio.get_or_insert(name),
            Kind::Other => {}
        }
        rest = after;
    }
    Some(streams)
}

/// What stands between header and CRC of a section in force with this table's number.
fn content(section: &[u8], table: u8) -> Option<&[u8]> {
    let in_force = section.get(5)? & 1 == 1;
    let end = section.len().checked_sub(CRC_LEN)?;
    let content = section.get(HEADER_LEN..end)?;
    (in_force && section[0] == table).then_some(content)
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high & 0x1f, low])
}

/// CRC-32 of ISO/IEC 13818-1, annex A: zero over a section with its CRC.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| match crc >> 31 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x04c1_1db7,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section of a table with its CRC.
    fn section(table: u8, content: &[u8]) -> Vec<u8> {
        let len = (content.len() + 9) as u16;
        let mut bytes = vec![table, 0xb0 | (len >> 8) as u8, len as u8, 0, 1, 0xc1, 0, 0];
        bytes.extend(content);
        let sum = crc(&bytes);
        bytes.extend(sum.to_be_bytes());
        bytes
    }

    #[test]
    fn a_section_over_packets_is_put_together() {
        let whole = section(STREAMS, &[7; 400]);
        let mut assembler = Assembler::default();
        let first = [&[2, 0xff, 0xff][..], &whole[..180]].concat();
        assert_eq!(assembler.push(true, &first), None);
        assert_eq!(assembler.push(false, &whole[180..360]), None);
        let last = [&whole[360..], &[0xff; 20]].concat();
        assert_eq!(assembler.push(false, &last), Some(whole));
        assert_eq!(assembler.push(false, &last), None);
    }

    #[test]
    fn a_section_with_one_wrong_bit_is_not_believed() {
        let mut whole = section(PROGRAMS, &[0, 1, 0xe1, 0]);
        let push = |bytes: &[u8]| Assembler::default().push(true, &[&[0], bytes].concat());
        assert!(push(&whole).is_some());
        whole[9] ^= 1;
        assert_eq!(push(&whole), None);
    }

    #[test]
    fn the_network_table_is_no_program() {
        let table = section(PROGRAMS, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, 0]);
        assert_eq!(first_program(&table), Some(0x1000));
    }

    #[test]
    fn streams_that_cannot_be_carried_are_named() {
        let entries = [
            &[0xe1, 0, 0xf0, 2, 9, 9][..],
            &[0x24, 0xe1, 0, 0xf0, 0],
            &[0x0f, 0xe1, 1, 0xf0, 1, 0],
            &[0x06, 0xe1, 2, 0xf0, 6, 5, 4, b'O', b'p', b'u', b's'],
        ];
        let streams = streams(&section(STREAMS, &entries.concat())).unwrap();
        assert_eq!((streams.h264, streams.aac), (None, Some(0x101)));
        assert_eq!(streams.other_video.as_deref(), Some("HEVC"));
        assert_eq!(streams.other_audio.as_deref(), Some("Opus"));
    }
}
