//! The fragmenter as ingest drives it, read back with an independent reader of boxes.

use bytes::{Buf, Bytes};
use media::{
    aac, avc,
    cmaf::{Fragment, Fragmenter},
    part::Picture,
};
use mp4_atom::{Any, FourCC, Ftyp, Moof, Moov, ReadFrom};

const RECORD: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0x1a, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb,
    0x01, 0x10, 0, 0, 0x03, 0, 0x10, 0, 0, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60, 1, 0, 6, 0x68,
    0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0,
];

fn video_config() -> avc::Config {
    avc::Config::parse(Bytes::from_static(RECORD)).expect("as the test made it")
}

fn audio_config(header: &'static [u8]) -> aac::Config {
    aac::Config::parse(Bytes::from_static(header)).expect("as the test made it")
}

const AAC_44100: &[u8] = &[0x12, 0x10];
const AAC_48000: &[u8] = &[0x11, 0x90];

fn both() -> Fragmenter {
    let mut fragmenter = Fragmenter::new(0);
    fragmenter.set_video(video_config());
    fragmenter.set_audio(audio_config(AAC_44100));
    fragmenter
}

/// One NAL unit of `len` bytes.
fn picture(keyframe: bool, composition_ms: i32, len: usize) -> Picture {
    let mut bytes = (len as u32).to_be_bytes().to_vec();
    bytes.resize(4 + len, 0x41);
    Picture {
        keyframe,
        composition_ms,
        bytes: bytes.into(),
    }
}

fn drain(fragmenter: &mut Fragmenter) -> Vec<Fragment> {
    std::iter::from_fn(|| fragmenter.poll()).collect()
}

/// Pushes 30 pictures a second from `from_ms` for `ms`, a keyframe each second, with sound.
fn push(fragmenter: &mut Fragmenter, from_ms: u32, ms: u32) -> Vec<Fragment> {
    let mut sound_ms = from_ms;
    for index in 0..ms * 30 / 1000 {
        let stamp = from_ms + (index * 100 + 1) / 3;
        let frame = picture(index % 30 == 0, 66, 1000);
        fragmenter.video(stamp, frame).expect("as the test made it");
        while sound_ms < stamp {
            fragmenter.audio(sound_ms, Bytes::from_static(&[0x21; 200]));
            sound_ms += 23;
        }
    }
    drain(fragmenter)
}

/// The boxes of a fragment, and that its samples lie where it says.
fn moof(fragment: &Fragment) -> Moof {
    let mut reader = &fragment.media[..];
    let Any::Moof(moof) = Any::read_from(&mut reader).expect("as the test made it") else {
        panic!("no moof first");
    };
    let mdat_at = fragment.media.len() - reader.len();
    let Any::Mdat(mdat) = Any::read_from(&mut reader).expect("as the test made it") else {
        panic!("no mdat after");
    };
    assert!(reader.is_empty());
    let mut at = mdat_at + 8;
    for traf in &moof.traf {
        for trun in &traf.trun {
            assert_eq!(trun.data_offset, Some(at as i32));
            let sizes = trun
                .samples
                .iter()
                .map(|entry| entry.size.expect("as the test made it"));
            at += sizes.sum::<u32>() as usize;
        }
    }
    assert_eq!(at, mdat_at + 8 + mdat.data.len());
    moof
}

fn decode_times(fragments: &[Fragment], track: u32) -> Vec<u64> {
    let mut times = Vec::new();
    for moof in fragments.iter().map(moof) {
        for traf in moof.traf.iter().filter(|t| t.tfhd.track_id == track) {
            times.push(
                traf.tfdt
                    .as_ref()
                    .expect("as the test made it")
                    .base_media_decode_time,
            );
        }
    }
    times
}

#[test]
fn the_init_segment_says_what_the_headers_said() {
    let fragments = push(&mut both(), 0, 500);
    let init = fragments[0].init.clone().unwrap();
    assert_eq!(
        media::codecs(&init).as_deref(),
        Some("avc1.64001f,mp4a.40.2")
    );
    let mut reader = init.clone().reader();
    Ftyp::read_from(&mut reader).unwrap();
    let moov = Moov::read_from(&mut reader).unwrap();
    let [video, audio] = &moov.trak[..] else {
        panic!("not two tracks");
    };
    assert_eq!(video.mdia.mdhd.timescale, 90_000);
    assert_eq!(audio.mdia.mdhd.timescale, 44_100);
    assert_eq!(video.mdia.hdlr.handler, FourCC::new(b"vide"));
    assert_eq!(video.tkhd.width.integer(), 1280);
    assert_eq!(moov.mvex.unwrap().trex.len(), 2);
}

#[test]
fn fragments_are_100_ms_and_cut_before_keyframes() {
    let fragments = push(&mut both(), 0, 3000);
    let keys: Vec<u64> = fragments
        .iter()
        .filter(|fragment| fragment.keyframe)
        .map(|fragment| fragment.media_time_us)
        .collect();
    assert_eq!(keys, [0, 1_000_000, 2_000_000]);
    let mut next = 0;
    for fragment in &fragments {
        assert_eq!(fragment.init.is_some(), fragment.keyframe);
        assert_eq!(fragment.media_time_us, next);
        assert!((98_000..=134_000).contains(&fragment.duration_us));
        next += fragment.duration_us;
        let moof = moof(fragment);
        let entry = moof.traf[0].trun[0].samples.iter().next().unwrap();
        assert_eq!(entry.cts, Some(66 * 90));
        assert_eq!(entry.flags == Some(0x0200_0000), fragment.keyframe);
    }
}

#[test]
fn sound_is_counted_in_samples() {
    let fragments = push(&mut both(), 700, 3000);
    let times = decode_times(&fragments, 2);
    assert_eq!(times[0], 0);
    assert!(times.iter().all(|time| time % 1024 == 0), "{times:?}");
}

#[test]
fn sound_that_drifts_is_anchored_anew_and_counted() {
    let mut fragmenter = both();
    push(&mut fragmenter, 0, 500);
    fragmenter.audio(700, Bytes::from_static(&[1]));
    fragmenter.flush();
    let times = decode_times(&drain(&mut fragmenter), 2);
    assert_eq!(times.last(), Some(&(700 * 441 / 10)));
    assert_eq!(fragmenter.counts().anchors, 1);
}

#[test]
fn the_last_picture_waits_for_flush() {
    let mut fragmenter = both();
    let count = |fragments: &[Fragment]| -> usize {
        let trafs = fragments.iter().flat_map(|f| moof(f).traf);
        let videos = trafs.filter(|traf| traf.tfhd.track_id == 1);
        videos.map(|traf| traf.trun[0].samples.len()).sum()
    };
    let mut fragments = push(&mut fragmenter, 0, 1000);
    assert!(count(&fragments) < 30);
    fragmenter.flush();
    fragments.extend(drain(&mut fragmenter));
    assert_eq!(count(&fragments), 30);
    fragmenter.flush();
    assert_eq!(fragmenter.poll(), None);
}

#[test]
fn a_returning_session_goes_on_at_its_base() {
    let mut fragmenter = Fragmenter::new(7_000_000);
    fragmenter.set_video(video_config());
    fragmenter.set_audio(audio_config(AAC_44100));
    let fragments = push(&mut fragmenter, 123_456, 500);
    assert_eq!(fragments[0].media_time_us, 7_000_000);
    assert_eq!(decode_times(&fragments, 1)[0], 7 * 90_000);
    assert_eq!(decode_times(&fragments, 2)[0], 7 * 44_100);
}

#[test]
fn sound_before_the_first_picture_is_kept_and_shares_its_zero() {
    let mut fragmenter = both();
    fragmenter.audio(1000, Bytes::from_static(&[1]));
    fragmenter.audio(1023, Bytes::from_static(&[2]));
    fragmenter.video(1040, picture(true, 0, 10)).unwrap();
    fragmenter.flush();
    let fragments = drain(&mut fragmenter);
    assert!(fragments[0].keyframe);
    assert_eq!(decode_times(&fragments, 1), [40 * 90]);
    assert_eq!(decode_times(&fragments, 2), [0]);
}

#[test]
fn pictures_before_the_first_keyframe_are_left_out() {
    let mut fragmenter = both();
    fragmenter.video(0, picture(false, 0, 10)).unwrap();
    fragmenter.video(33, picture(true, 0, 10)).unwrap();
    fragmenter.flush();
    let fragments = drain(&mut fragmenter);
    assert_eq!(fragments.len(), 1);
    assert_eq!(fragments[0].media_time_us, 0);
    assert_eq!(fragmenter.counts().dropped, 1);
}

#[test]
fn a_changed_header_makes_a_new_init_segment_with_the_next_keyframe() {
    let mut fragmenter = both();
    let first = push(&mut fragmenter, 0, 1000)[0].init.clone();
    fragmenter.set_audio(audio_config(AAC_48000));
    let fragments = push(&mut fragmenter, 1000, 1000);
    let inits: Vec<_> = fragments.iter().filter_map(|f| f.init.clone()).collect();
    assert_eq!(inits.len(), 1);
    assert_ne!(inits.first(), first.as_ref());
    // Sound of the new kind starts where its stamps say, in its own samples.
    let times = decode_times(&fragments[1..], 2);
    assert!(times[0].abs_diff(48_000) < 2_400, "{times:?}");
}

#[test]
fn a_broken_picture_waits_for_the_next_keyframe() {
    let mut fragmenter = both();
    fragmenter.video(0, picture(true, 0, 10)).unwrap();
    let mut broken = picture(false, 0, 10);
    broken.bytes.truncate(8);
    fragmenter.video(33, broken).unwrap();
    fragmenter.video(66, picture(false, 0, 10)).unwrap();
    fragmenter.video(100, picture(true, 0, 10)).unwrap();
    fragmenter.flush();
    assert_eq!(drain(&mut fragmenter).len(), 2);
    assert_eq!(fragmenter.counts().dropped, 2);
}

#[test]
fn a_gap_and_a_jump_go_on_and_are_counted() {
    let mut fragmenter = both();
    let mut fragments = push(&mut fragmenter, 0, 1000);
    fragments.extend(push(&mut fragmenter, 4_000, 1000));
    assert_eq!(fragmenter.counts().gaps, 1);
    fragments.extend(push(&mut fragmenter, 3_000_000, 1000));
    fragments.extend(push(&mut fragmenter, 50, 1000));
    assert_eq!(fragmenter.counts().jumps, 2);
    let times = decode_times(&fragments, 1);
    assert!(times.is_sorted());
    assert!(*times.last().unwrap() < 9 * 90_000);
}

#[test]
fn fragments_stay_short_enough_to_travel() {
    let mut fragmenter = both();
    for index in 0..20 {
        let frame = picture(index == 0, 0, 400 * 1024);
        fragmenter.video(index, frame).unwrap();
    }
    fragmenter
        .video(20, picture(false, 0, 1024 * 1024))
        .unwrap();
    assert_eq!(fragmenter.counts().dropped, 1);
    fragmenter.flush();
    for fragment in drain(&mut fragmenter) {
        assert!(fragment.media.len() + fragment.init.map_or(0, |i| i.len()) < 950 * 1024);
    }
}

#[test]
fn a_broadcast_that_nobody_can_join_ends() {
    let mut fragmenter = both();
    fragmenter.video(0, picture(true, 0, 10)).unwrap();
    let mut ended = Ok(());
    for second in 1..70 {
        ended = fragmenter.video(second * 1000, picture(false, 0, 10));
        if ended.is_err() {
            assert_eq!(second, 61);
            break;
        }
    }
    assert!(ended.is_err());
}

#[test]
fn a_broadcast_whose_joiners_would_drown_ends() {
    let mut fragmenter = both();
    let taken = (0..100)
        .take_while(|index| {
            let frame = picture(*index == 0, 0, 800 * 1024);
            let taken = fragmenter.video(index * 10, frame).is_ok();
            drain(&mut fragmenter);
            taken
        })
        .count();
    assert_eq!(taken, 81);
}

#[test]
fn sound_alone_can_be_joined_every_two_seconds() {
    let mut fragmenter = Fragmenter::new(0);
    fragmenter.set_audio(audio_config(AAC_48000));
    for index in 0..300 {
        fragmenter.audio(index * 64 / 3, Bytes::from_static(&[0x21; 100]));
    }
    fragmenter.flush();
    let fragments = drain(&mut fragmenter);
    assert_eq!(fragments.iter().filter(|f| f.keyframe).count(), 4);
    assert_eq!(decode_times(&fragments, 2)[0], 0);
    let total: u64 = fragments.iter().map(|f| f.duration_us).sum();
    assert!(total.abs_diff(6_400_000) < 100, "{total}");
}
