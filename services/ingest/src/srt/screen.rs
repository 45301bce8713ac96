//! What of a broadcaster's packets reaches the library: what a sender of media has to send.
//! The library gives up its task over some of the others.

use super::passphrase::key_size;

/// The header that every packet has (draft-sharabayko-srt-01, 3).
const HEADER_LEN: usize = 16;
/// Control types (table 1).
const KEEP_ALIVE: u16 = 1;
const SHUTDOWN: u16 = 5;
const ACK_ACK: u16 = 6;
const USER_DEFINED: u16 = 0x7fff;
/// Of the last: new key material.
const KM_REQUEST: u16 = 3;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Part of the broadcast.
    Media,
    /// Something that keeps the connection going.
    Control,
    /// The broadcaster is done.
    Shutdown,
    /// Nothing that a sender of media has to say.
    Other,
}

/// Looks at a packet's header alone, but for key material.
pub(super) fn kind(packet: &[u8]) -> Kind {
    let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
        return Kind::Other;
    };
    if header[0] & 0x80 == 0 {
        return Kind::Media;
    }
    let subtype = u16::from_be_bytes([header[2], header[3]]);
    match u16::from_be_bytes([header[0] & 0x7f, header[1]]) {
        KEEP_ALIVE | ACK_ACK => Kind::Control,
        SHUTDOWN => Kind::Shutdown,
        USER_DEFINED if subtype == KM_REQUEST => match key_size(&packet[HEADER_LEN..]) {
            Some(_) => Kind::Control,
            None => Kind::Other,
        },
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_senders_of_media_send_is_taken() {
        let control = |kind: u8| [&[0x80, kind][..], &[0; 14]].concat();
        let kinds = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|number| kind(&control(number)));
        let taken = [(1, Kind::Control), (5, Kind::Shutdown), (6, Kind::Control)];
        for (number, kind) in kinds.iter().enumerate() {
            let wanted = taken.iter().find(|(at, _)| *at == number);
            assert_eq!(
                *kind,
                wanted.map_or(Kind::Other, |(_, kind)| *kind),
                "{number}"
            );
        }
        assert_eq!(kind(&[0x12; 1332]), Kind::Media);
        assert_eq!(kind(&[0x12; 15]), Kind::Other);
    }

    #[test]
    fn key_material_must_be_as_long_as_it_says() {
        let mut packet = vec![0xff, 0xff, 0, 3];
        packet.resize(16, 0);
        packet.extend([0x12, 0x20, 0x29, 1, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 4, 4]);
        packet.resize(16 + 16 + 16 + 8 + 16, 7);
        assert_eq!(kind(&packet), Kind::Control);
        packet.pop();
        assert_eq!(kind(&packet), Kind::Other);
    }
}
