//! What ffmpeg muxes comes out as it comes out of FLV.

use std::process::Command;

use bytes::Bytes;
use media::{flv, part::Part};

use crate::{Stamped, read};

/// Encodes once and muxes twice; `None` where there is no ffmpeg.
fn encoded(codecs: &[&str], mux: &[&str]) -> Option<(Vec<u8>, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ts, flv) = (path("clip.ts"), path("clip.flv"));
    let options: String = mux.iter().map(|option| format!("{option}:")).collect();
    let outputs = format!("[{options}f=mpegts]{ts}|[f=flv]{flv}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=640x360:rate=30", "-f", "lavfi", "-i"])
        .args(["sine=frequency=440:sample_rate=44100", "-t", "4"])
        .args(["-map", "0:v", "-map", "1:a", "-flags", "+global_header"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt"])
        .args(["yuv420p", "-g", "30", "-c:a", "aac", "-ac", "2"])
        .args(codecs)
        .args(["-f", "tee", &outputs])
        .status()
        .ok()?;
    assert!(made.success());
    let bytes = |path| std::fs::read(path).expect("what ffmpeg wrote");
    Some((bytes(ts), bytes(flv)))
}

/// The parts of an FLV file.
fn tags(file: Vec<u8>) -> Vec<Stamped> {
    let file = Bytes::from(file);
    let mut parts = Vec::new();
    // A header of 9 bytes and a length; each tag has 11 bytes before it and a length after.
    let mut at = 13;
    while at + 11 < file.len() {
        let number =
            |from: usize| u32::from_be_bytes([0, file[from], file[from + 1], file[from + 2]]);
        let (len, stamp) = (number(at + 1) as usize, number(at + 4));
        let body = file.slice(at + 11..at + 11 + len);
        let part = match file[at] {
            9 => flv::video(body).expect("H.264"),
            8 => flv::audio(body).expect("AAC"),
            _ => None,
        };
        parts.extend(part.map(|part| (stamp, part)));
        at += 11 + len + 4;
    }
    parts
}

/// Every frame is the same, and each as far after the first as it was sent.
fn assert_exact(codecs: &[&str], mux: &[&str]) {
    let Some((ts, flv)) = encoded(codecs, mux) else {
        eprintln!("no ffmpeg, nothing compared");
        return;
    };
    let (came, counts) = read(ts.chunks(1316)).expect("H.264 and AAC");
    assert_eq!(counts, Default::default());
    let sent = tags(flv);
    for video in [true, false] {
        let frames = |parts: &[Stamped]| -> Vec<Stamped> {
            let kept = parts.iter().filter(|(_, part)| match part {
                Part::Picture(_) => video,
                Part::Sound(_) => !video,
                _ => false,
            });
            kept.cloned().collect()
        };
        let (sent, came) = (frames(&sent), frames(&came));
        assert!(sent.len() > 100, "{} of video {video}", sent.len());
        assert_eq!(sent.len(), came.len());
        let offset = came[0].0 as i64 - sent[0].0 as i64;
        for (sent, came) in sent.iter().zip(&came) {
            let late = came.0 as i64 - sent.0 as i64 - offset;
            assert!(late.abs() <= 1, "{} came at {}", sent.0, came.0);
            assert_same(&sent.1, &came.1);
        }
    }
}

fn assert_same(sent: &Part, came: &Part) {
    match (sent, came) {
        (Part::Picture(sent), Part::Picture(came)) => {
            assert_eq!(sent.bytes, came.bytes);
            assert_eq!(sent.keyframe, came.keyframe);
            let moved = sent.composition_ms - came.composition_ms;
            assert!(moved.abs() <= 1, "{moved}");
        }
        (sent, came) => assert_eq!(sent, came),
    }
}

#[test]
fn b_frames_arrive_exactly() {
    assert_exact(&["-bf", "2"], &[]);
}

#[test]
fn parameter_sets_in_the_stream_and_sound_at_48_khz_arrive_exactly() {
    assert_exact(
        &["-bf", "0", "-ar", "48000"],
        &["mpegts_flags=+resend_headers"],
    );
}

#[test]
fn sounds_that_share_packets_arrive_exactly() {
    assert_exact(&["-b:a", "32k"], &["pes_payload_size=4000"]);
}

#[test]
fn small_pictures_whose_length_is_announced_arrive_exactly() {
    assert_exact(&["-b:v", "100k"], &["omit_video_pes_length=0"]);
}
