//! Streams that are cut, garbled, wrapped or not what is carried.

use media::{
    part::Part,
    ts::{Error, Reader},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    mux::{AUDIO_PID, Mux, SOUND_TICKS, VIDEO_PID, adts, stamp},
    pictures, read, sounds,
};

/// Seconds of a stream from a stamp on.
fn stream(seconds: u64, from_ticks: u64) -> Mux {
    let mut mux = Mux::default();
    for second in 0..seconds {
        mux.tables(0x1b, 0x0f);
        mux.second(from_ticks + second * 90_000);
    }
    mux
}

fn pieces(packets: &[[u8; 188]]) -> impl Iterator<Item = &[u8]> {
    packets.iter().map(|packet| &packet[..])
}

/// The place of the first packet of a PID that starts, or goes on with, something.
fn place(mux: &Mux, pid: u16, starts: bool, from: usize) -> usize {
    let [high, low] = pid.to_be_bytes();
    let start = if starts { 0x40 } else { 0 };
    let found = (from..mux.packets.len()).find(|at| {
        let packet = mux.packets[*at];
        packet[1] == high | start && packet[2] == low
    });
    found.expect("as the test made it")
}

#[test]
fn a_whole_stream_gives_every_frame_up_to_the_last() {
    let mux = stream(2, 0);
    let (parts, counts) = read(pieces(&mux.packets)).unwrap();
    let pictures = pictures(&parts);
    assert_eq!(pictures.len(), 50);
    assert!((0..50).all(|at| pictures[at] == (at as u32 * 40, at % 25 == 0)));
    assert_eq!(sounds(&parts).len(), 94);
    assert_eq!(counts, Default::default());
    let Some((_, Part::Picture(picture))) = parts
        .iter()
        .find(|(at, part)| *at == 40 && matches!(part, Part::Picture(_)))
    else {
        panic!("no picture at 40 ms");
    };
    assert_eq!(picture.composition_ms, 40);
    assert_eq!(&picture.bytes[..5], [0, 0, 0x02, 0xbd, 0x41]);
}

#[test]
fn a_missing_packet_costs_the_pictures_up_to_the_next_keyframe_and_no_sound() {
    let mut mux = stream(3, 0);
    let middle = place(&mux, VIDEO_PID, false, mux.packets.len() / 2);
    mux.packets.remove(middle);
    let (parts, counts) = read(pieces(&mux.packets)).unwrap();
    let pictures = pictures(&parts);
    let resumed = pictures.windows(2).find(|pair| pair[1].0 - pair[0].0 > 40);
    let resumed = resumed.expect("nothing is missing")[1];
    assert_eq!(resumed, (2000, true));
    assert_eq!(pictures.last(), Some(&(2960, false)));
    assert_eq!(sounds(&parts).len(), 141);
    assert_eq!(counts.damages, 1);
    assert_eq!(counts.left_out as usize, 75 - pictures.len() - 1);
}

#[test]
fn a_missing_sound_costs_no_picture() {
    let mut mux = stream(2, 0);
    let middle = place(&mux, AUDIO_PID, true, mux.packets.len() / 2);
    mux.packets.remove(middle);
    let (parts, _) = read(pieces(&mux.packets)).unwrap();
    assert_eq!(pictures(&parts).len(), 50);
    assert_eq!(sounds(&parts).len(), 93);
}

#[test]
fn a_gap_of_sixteen_packets_is_noticed_when_it_is_told() {
    let mux = stream(3, 0);
    let mut reader = Reader::new();
    let mut parts = Vec::new();
    for (at, packet) in mux.packets.iter().enumerate() {
        if at == 100 {
            reader.on_gap();
        }
        reader.push(packet);
        while let Some(part) = reader.poll().unwrap() {
            parts.push(part);
        }
    }
    let pictures = pictures(&parts);
    let gap = pictures.windows(2).find(|pair| pair[1].0 - pair[0].0 > 40);
    assert_eq!(gap.expect("no gap")[1], (1000, true));
}

#[test]
fn stamps_go_on_over_the_wrap_after_26_hours() {
    let mux = stream(2, (1 << 33) - 45_000);
    let (parts, _) = read(pieces(&mux.packets)).unwrap();
    let stamps: Vec<u32> = pictures(&parts).iter().map(|(stamp, _)| *stamp).collect();
    assert_eq!(stamps.len(), 50);
    assert!(stamps.windows(2).all(|pair| pair[1] - pair[0] == 40));
    let sounds = sounds(&parts);
    assert!(
        sounds
            .windows(2)
            // Each second of the test's begins anew, so that one is short.
            .all(|pair| matches!(pair[1] - pair[0], 18..=22))
    );
}

#[test]
fn a_stream_that_is_joined_anywhere_begins_with_a_keyframe() {
    let mux = stream(3, 0);
    let from = place(&mux, VIDEO_PID, false, 30);
    let mut packets = mux.packets[from..].to_vec();
    packets.splice(0..0, mux.packets[..2].iter().copied());
    let (parts, counts) = read(pieces(&packets)).unwrap();
    assert_eq!(pictures(&parts)[0], (1000, true));
    assert!(counts.left_out > 10);
}

#[test]
fn several_sounds_in_a_packet_and_one_over_two_have_stamps_of_their_own() {
    let mut mux = Mux::default();
    mux.tables(0x1b, 0x0f);
    let frames = [adts(50), adts(60), adts(70)].concat();
    let put = |mux: &mut Mux, ticks: u64, bytes: &[u8]| {
        let mut pes = vec![0, 0, 1, 0xc0, 0, (bytes.len() + 8) as u8, 0x80, 0x80, 5];
        pes.extend(stamp(2, ticks));
        pes.extend(bytes);
        mux.pes(AUDIO_PID, &pes);
    };
    put(&mut mux, 90_000, &frames[..150]);
    // The stamp is that of the sound after the one that goes on here.
    let second = [&frames[150..], &adts(80)[..]].concat();
    put(&mut mux, 90_000 + 3 * SOUND_TICKS, &second);
    let (parts, counts) = read(pieces(&mux.packets)).unwrap();
    assert_eq!(sounds(&parts), [1000, 1021, 1043, 1064]);
    assert_eq!(counts.damages, 0);
}

#[test]
fn headers_come_before_all_frames_though_one_track_begins_later() {
    let mut mux = Mux::default();
    mux.tables(0x1b, 0x0f);
    for index in 0..10 {
        mux.picture(index * 3600, index == 0, 700);
    }
    mux.sound(3600, 100);
    mux.second(90_000);
    let (parts, _) = read(pieces(&mux.packets)).unwrap();
    assert!(matches!(parts[0].1, Part::VideoHeader(_)));
    assert!(matches!(parts[1].1, Part::AudioHeader(_)));
    assert_eq!(pictures(&parts).len(), 35);
}

#[test]
fn a_track_that_does_not_begin_is_not_waited_for_long() {
    let mut mux = Mux::default();
    mux.tables(0x1b, 0x0f);
    for index in 0..50 {
        mux.picture(index * 3600, index == 0, 700);
    }
    let mut reader = Reader::new();
    let first = mux.packets.iter().position(|packet| {
        reader.push(packet);
        reader.poll().unwrap().is_some()
    });
    // A second's pictures, of four packets each.
    assert!(
        first.is_some_and(|at| (100..150).contains(&at)),
        "{first:?}"
    );
}

#[test]
fn a_last_picture_that_was_not_sent_to_its_end_is_left_out() {
    let mux = stream(1, 0);
    let last = (0..mux.packets.len()).rfind(|at| mux.packets[*at][1..3] == [1, 0]);
    let whole = &mux.packets[..=last.expect("as the test made it")];
    let (parts, _) = read(pieces(whole)).unwrap();
    assert_eq!(pictures(&parts).len(), 25);
    let (parts, _) = read(pieces(&whole[..whole.len() - 1])).unwrap();
    assert_eq!(pictures(&parts).len(), 24);
}

#[test]
fn repeated_packets_are_taken_once() {
    let mux = stream(1, 0);
    let twice: Vec<_> = mux.packets.iter().flat_map(|p| [*p, *p]).collect();
    let (parts, counts) = read(pieces(&twice)).unwrap();
    assert_eq!(pictures(&parts).len(), 25);
    assert_eq!(counts.damages, 0);
}

#[test]
fn codecs_that_are_not_carried_are_named() {
    let mut mux = Mux::default();
    mux.tables(0x24, 0x0f);
    let refused = read(pieces(&mux.packets)).unwrap_err();
    assert_eq!(refused, Error::Unsupported("HEVC".to_owned()));
    let mut mux = Mux::default();
    mux.tables(0x1b, 0x81);
    let refused = read(pieces(&mux.packets)).unwrap_err();
    assert_eq!(refused, Error::Unsupported("AC-3".to_owned()));
}

#[test]
fn an_endless_picture_is_given_up() {
    let mut mux = Mux::default();
    mux.tables(0x1b, 0x0f);
    mux.picture(0, true, 3 << 20);
    mux.picture(3600, true, 500);
    let (parts, counts) = read(pieces(&mux.packets)).unwrap();
    assert_eq!(pictures(&parts), [(40, true)]);
    assert_eq!(counts.damages, 1);
}

proptest! {
    #[test]
    fn every_cut_gives_the_same(cuts in vec(1..700_usize, 1..8), from in 0..188_usize) {
        let bytes = stream(1, 77).packets.concat();
        let bytes = &bytes[from..];
        let whole = read([bytes]).unwrap();
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read(pieces).unwrap(), whole);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..4000)) {
        let _ = read([&bytes[..]]);
        let mut synced = bytes;
        for packet in synced.chunks_mut(188) {
            packet[0] = 0x47;
        }
        let _ = read([&synced[..]]);
    }

    #[test]
    fn no_wrong_or_missing_bytes_make_the_reader_or_the_fragmenter_panic(
        faults in vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        lost in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut packets = stream(2, (1 << 33) - 9_000).packets;
        for (at, byte) in faults {
            let at = at.index(packets.len() * 188);
            packets[at / 188][at % 188] = byte;
        }
        for at in lost {
            packets.remove(at.index(packets.len()));
        }
        let mut fragmenter = media::cmaf::Fragmenter::new(0);
        if let Ok((parts, _)) = read(pieces(&packets)) {
            for (stamp, part) in parts {
                let _ = fragmenter.put(stamp, part);
                while fragmenter.poll().is_some() {}
            }
        }
        fragmenter.flush();
    }
}
