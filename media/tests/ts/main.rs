//! Transport streams of ffmpeg's and of a few lines of our own, whole and damaged.

mod damaged;
mod exact;
mod mux;

use media::{
    part::Part,
    ts::{Counts, Error, Reader},
};

/// A part with its stamp in milliseconds.
type Stamped = (u32, Part);

/// All that a reader finds in a stream that comes in pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Stamped>, Counts), Error> {
    let mut reader = Reader::new();
    let mut parts = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(part) = reader.poll()? {
            parts.push(part);
        }
    }
    reader.finish();
    while let Some(part) = reader.poll()? {
        parts.push(part);
    }
    Ok((parts, reader.counts()))
}

/// Stamps of the pictures, and whether each is a keyframe.
fn pictures(parts: &[Stamped]) -> Vec<(u32, bool)> {
    let pictures = parts.iter().filter_map(|(stamp, part)| match part {
        Part::Picture(picture) => Some((*stamp, picture.keyframe)),
        _ => None,
    });
    pictures.collect()
}

/// Stamps of the sounds.
fn sounds(parts: &[Stamped]) -> Vec<u32> {
    let sounds = parts
        .iter()
        .filter(|(_, part)| matches!(part, Part::Sound(_)));
    sounds.map(|(stamp, _)| *stamp).collect()
}
