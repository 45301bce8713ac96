//! Tag bodies, one after the other, through demuxer and fragmenter, as ingest does. Each is
//! `kind and length (2 bytes), stamp (4 bytes), body`.

#![no_main]

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use media::{
    cmaf::Fragmenter,
    flv::{Audio, Video, audio, video},
};

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes::copy_from_slice(input);
    let mut fragmenter = Fragmenter::new(0);
    while input.len() >= 6 {
        let head = input.get_u16();
        let stamp = input.get_u32();
        let body = input.split_to(usize::from(head & 0x3ff).min(input.len()));
        if head & 0x8000 == 0 {
            match video(body) {
                Ok(Video::Config(config)) => fragmenter.set_video(config),
                Ok(Video::Frame(frame)) => {
                    if fragmenter.video(stamp, frame).is_err() {
                        return;
                    }
                }
                _ => {}
            }
        } else {
            match audio(body) {
                Ok(Audio::Config(config)) => fragmenter.set_audio(config),
                Ok(Audio::Frame(bytes)) => fragmenter.audio(stamp, bytes),
                _ => {}
            }
        }
        if head & 0x4000 != 0 {
            fragmenter.flush();
        }
        while let Some(fragment) = fragmenter.poll() {
            assert_eq!(fragment.keyframe, fragment.init.is_some());
            assert!(fragment.media.len() < 960 * 1024);
            if let Some(init) = fragment.init {
                assert!(media::codecs(&init).is_some() || !init.is_empty());
            }
        }
    }
});
