//! An MPEG transport stream (ISO/IEC 13818-1) with H.264 and AAC, which SRT carries: bytes in,
//! headers and frames out, as the fragmenter takes them.
//!
//! The one rule: what is damaged is left out whole. A packet that is missing costs the frame
//! it was of, and of pictures all up to the next keyframe.

mod audio;
mod clock;
mod elementary;
mod names;
mod packet;
mod pes;
mod psi;
mod start;
mod video;

use crate::part::Part;

use audio::Audio;
use elementary::{Elementary, Output};
use packet::Packet;
use psi::Streams;
use video::Video;

/// Reads one broadcast. Holds at most two PES packets, of some 960 KiB each, at its start some
/// 4 MiB of frames, and what is not polled yet.
#[derive(Default)]
pub struct Reader {
    /// The beginning of a packet.
    rest: Vec<u8>,
    programs: psi::Assembler,
    table: Option<Table>,
    streams: Streams,
    video: Option<Elementary<Video>>,
    audio: Option<Elementary<Audio>>,
    out: Output,
    /// All tracks have said how they are to be decoded, or had the time to.
    started: bool,
    failed: Option<Error>,
}

/// What was wrong with the stream; it went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that something was missing or could not be read.
    pub damages: u64,
    /// Pictures left out: broken, before the first keyframe, or between damage and the next.
    pub left_out: u64,
}

/// Why the stream cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A codec that is not carried, by a name that people know.
    #[error("{0} is not supported; send H.264 video and AAC audio")]
    Unsupported(String),
}

/// The PID of the table of programs (ISO/IEC 13818-1, table 2-3).
const PROGRAMS_PID: u16 = 0;

/// The table of the program's streams.
struct Table {
    pid: u16,
    assembler: psi::Assembler,
}

impl Reader {
    /// At the beginning of a stream, or anywhere in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the stream, cut anywhere; some KiB at a time, as [`Reader::poll`] must have
    /// given all before more is pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut held = std::mem::take(&mut self.rest);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        while let Some((packet, after)) = rest.split_first_chunk() {
            if packet[0] == packet::SYNC {
                self.on_packet(packet);
                rest = after;
            } else {
                self.on_damage();
                let sync = rest.iter().position(|byte| *byte == packet::SYNC);
                rest = &rest[sync.unwrap_or(rest.len())..];
            }
        }
        self.rest = rest.to_vec();
    }

    /// The next header or frame with its stamp in milliseconds, which wraps.
    ///
    /// # Errors
    /// [`Error::Unsupported`], once the stream has said what is in it.
    pub fn poll(&mut self) -> Result<Option<(u32, Part)>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.started {
            if !start::is_complete(&self.out.ready, &self.streams) {
                return Ok(None);
            }
            self.start();
        }
        Ok(self.out.ready.pop_front())
    }

    /// Bytes are missing before those that are pushed next. Packets tell it by themselves,
    /// but for multiples of 16 of one stream.
    pub fn on_gap(&mut self) {
        self.rest.clear();
        self.on_damage();
    }

    /// The stream has ended: what has no successor to end it ends here, if it is whole.
    pub fn finish(&mut self) {
        self.end_frames();
        self.start();
    }

    /// What was wrong so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.out.counts
    }

    fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            start::headers_first(&mut self.out.ready);
        }
    }

    fn end_frames(&mut self) {
        if let Some(video) = &mut self.video {
            video.finish(&mut self.out);
        }
        if let Some(audio) = &mut self.audio {
            audio.finish(&mut self.out);
        }
    }

    fn on_packet(&mut self, bytes: &[u8; packet::LEN]) {
        let Some(packet) = Packet::read(bytes) else {
            return;
        };
        if packet.pid == PROGRAMS_PID {
            if let Some(section) = self.programs.push(packet.starts, packet.payload) {
                self.on_programs(&section);
            }
        } else if let Some(table) = self.table.as_mut().filter(|t| t.pid == packet.pid) {
            let section = table.assembler.push(packet.starts, packet.payload);
            if let Some(streams) = section.as_deref().and_then(psi::streams) {
                self.on_streams(streams);
            }
        } else if let Some(video) = self.video.as_mut().filter(|v| v.pid == packet.pid) {
            video.on_packet(&packet, &mut self.out);
        } else if let Some(audio) = self.audio.as_mut().filter(|a| a.pid == packet.pid) {
            audio.on_packet(&packet, &mut self.out);
        }
    }

    fn on_programs(&mut self, section: &[u8]) {
        let Some(pid) = psi::first_program(section) else {
            return;
        };
        if self.table.as_ref().is_none_or(|table| table.pid != pid) {
            let assembler = psi::Assembler::default();
            self.table = Some(Table { pid, assembler });
        }
    }

    fn on_streams(&mut self, streams: Streams) {
        if self.streams == streams {
            return;
        }
        self.end_frames();
        if self.streams.h264 != streams.h264 {
            self.video = streams.h264.map(Elementary::new);
        }
        if self.streams.aac != streams.aac {
            self.audio = streams.aac.map(Elementary::new);
        }
        self.streams = streams;
        let Streams {
            h264,
            aac,
            other_video,
            other_audio,
        } = &self.streams;
        let unsupported = (other_video.as_ref().filter(|_| h264.is_none()))
            .or(other_audio.as_ref().filter(|_| aac.is_none()));
        self.failed = unsupported.cloned().map(Error::Unsupported);
    }

    /// Of no track in particular.
    fn on_damage(&mut self) {
        if let Some(video) = &mut self.video {
            video.on_damage(&mut self.out);
        }
        if let Some(audio) = &mut self.audio {
            audio.on_damage(&mut self.out);
        }
    }
}
