//! Tag bodies, one after the other, through demuxer and fragmenter, as ingest does. Each is
//! `kind and length (2 bytes), stamp (4 bytes), body`.

#![no_main]

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use media::{
    cmaf::Fragmenter,
    flv::{audio, video},
};

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes::copy_from_slice(input);
    let mut fragmenter = Fragmenter::new(0);
    while input.len() >= 6 {
        let head = input.get_u16();
        let stamp = input.get_u32();
        let body = input.split_to(usize::from(head & 0x3ff).min(input.len()));
        let read = match head & 0x8000 {
            0 => video(body),
            _ => audio(body),
        };
        if let Ok(Some(part)) = read
            && fragmenter.put(stamp, part).is_err()
        {
            return;
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
