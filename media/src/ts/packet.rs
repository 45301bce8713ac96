//! Packets of 188 bytes (ISO/IEC 13818-1, 2.4.3.2) and whether they follow each other.

/// Length of a packet.
pub(super) const LEN: usize = 188;
/// What every packet starts with.
pub(super) const SYNC: u8 = 0x47;

/// One packet.
pub(super) struct Packet<'a> {
    pub(super) pid: u16,
    /// A table or a PES packet starts in it.
    pub(super) starts: bool,
    /// The sender says that the counter may jump here.
    discontinuity: bool,
    counter: u8,
    /// It is filled up, as the last one of a PES packet is.
    pub(super) filled_up: bool,
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for one that was damaged on its way, is scrambled, or carries nothing.
    pub(super) fn read(bytes: &'a [u8; LEN]) -> Option<Self> {
        let [sync, flags, pid_low, control, ..] = *bytes;
        let damaged = flags & 0x80 != 0;
        let scrambled = control & 0xc0 != 0;
        if sync != SYNC || damaged || scrambled || control & 0x10 == 0 {
            return None;
        }
        let mut payload = &bytes[4..];
        let (mut discontinuity, mut filled_up) = (false, false);
        if control & 0x20 != 0 {
            let (len, rest) = payload.split_first()?;
            let field = rest.get(..usize::from(*len))?;
            discontinuity = field.first().is_some_and(|flags| flags & 0x80 != 0);
            filled_up = is_stuffed(field);
            payload = &rest[field.len()..];
        }
        Some(Self {
            pid: u16::from(flags & 0x1f) << 8 | u16::from(pid_low),
            starts: flags & 0x40 != 0,
            discontinuity,
            counter: control & 15,
            filled_up,
            payload,
        })
    }
}

/// Whether an adaptation field is longer than what is in it (ISO/IEC 13818-1, 2.4.3.4); one
/// without even flags is there for its length alone.
fn is_stuffed(field: &[u8]) -> bool {
    let Some(flags) = field.first() else {
        return true;
    };
    let len_if = |flag: u8, len: usize| if flags & flag != 0 { len } else { 0 };
    // Two clocks, and a countdown to a splice.
    let content = 1 + len_if(0x10, 6) + len_if(0x08, 6) + len_if(0x04, 1);
    // What has a length of its own is not looked at.
    flags & 0x03 == 0 && field.len() > content
}

/// The counter of one PID's packets (ISO/IEC 13818-1, 2.4.3.3).
#[derive(Default)]
pub(super) struct Counter(Option<u8>);

/// How a packet relates to the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Follows {
    Next,
    /// The same once more, as senders may.
    Again,
    /// Some are missing.
    Gap,
}

impl Counter {
    pub(super) fn check(&mut self, packet: &Packet<'_>) -> Follows {
        let last = self.0.replace(packet.counter);
        match last {
            Some(last) if last == packet.counter => Follows::Again,
            Some(last) if (last + 1) & 15 != packet.counter && !packet.discontinuity => {
                Follows::Gap
            }
            _ => Follows::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(control: u8, field: &[u8]) -> [u8; LEN] {
        let mut bytes = [7; LEN];
        bytes[..4].copy_from_slice(&[SYNC, 0x41, 0x02, control]);
        bytes[4..4 + field.len()].copy_from_slice(field);
        bytes
    }

    #[test]
    fn the_header_is_read_and_the_adaptation_field_skipped() {
        let bytes = packet(0x35, &[2, 0x80, 0]);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!((packet.pid, packet.starts), (0x102, true));
        assert_eq!(packet.payload, [7; LEN - 7]);
        assert!(packet.discontinuity);
    }

    #[test]
    fn stuffing_is_told_from_clocks() {
        let filled_up = |field: &[u8]| Packet::read(&packet(0x30, field)).unwrap().filled_up;
        assert!(filled_up(&[0]) && filled_up(&[2, 0, 0xff]));
        assert!(!filled_up(&[1, 0]) && !filled_up(&[7, 0x10, 1, 2, 3, 4, 5, 6]));
        assert!(filled_up(&[8, 0x10, 1, 2, 3, 4, 5, 6, 0xff]));
        assert!(!Packet::read(&packet(0x10, &[])).unwrap().filled_up);
    }

    #[test]
    fn fields_longer_than_the_packet_and_packets_without_payload_are_nothing() {
        assert!(Packet::read(&packet(0x30, &[200])).is_none());
        assert!(Packet::read(&packet(0x20, &[183])).is_none());
        assert!(Packet::read(&packet(0x90, &[])).is_none());
    }

    #[test]
    fn gaps_and_repetitions_are_told_from_each_other() {
        let mut counter = Counter::default();
        let mut check = |count: u8, field: &[u8]| {
            let control = if field.is_empty() { 0x10 } else { 0x30 };
            counter.check(&Packet::read(&packet(control | count, field)).unwrap())
        };
        assert_eq!(check(14, &[]), Follows::Next);
        assert_eq!(check(15, &[]), Follows::Next);
        assert_eq!(check(0, &[]), Follows::Next);
        assert_eq!(check(0, &[]), Follows::Again);
        assert_eq!(check(2, &[]), Follows::Gap);
        assert_eq!(check(9, &[1, 0x80]), Follows::Next);
    }
}
