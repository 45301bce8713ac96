//! The words by which MSE and HLS name codecs (RFC 6381), read from an init segment.

use bytes::Bytes;

/// Such as `avc1.64001f,mp4a.40.2`; `None` when no known codec is in the segment.
#[must_use]
pub fn codecs(init: &Bytes) -> Option<String> {
    let moov = boxes(init).find(|(kind, _)| kind == b"moov")?.1;
    let names: Vec<String> = boxes(moov)
        .filter(|(kind, _)| kind == b"trak")
        .filter_map(|(_, track)| track_codec(track))
        .collect();
    (!names.is_empty()).then(|| names.join(","))
}

fn track_codec(track: &[u8]) -> Option<String> {
    let mut content = track;
    for wanted in [b"mdia", b"minf", b"stbl", b"stsd"] {
        content = boxes(content).find(|(kind, _)| kind == wanted)?.1;
    }
    let (kind, entry) = boxes(content.get(8..)?).next()?;
    match &kind {
        b"avc1" => {
            let (_, record) = boxes(entry.get(78..)?).find(|(kind, _)| kind == b"avcC")?;
            let [_, profile, constraints, level, ..] = record else {
                return None;
            };
            Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
        }
        b"mp4a" => {
            let (_, esds) = boxes(entry.get(28..)?).find(|(kind, _)| kind == b"esds")?;
            let first = *decoder_specific(esds.get(4..)?)?.first()?;
            let object_type = first >> 3;
            (object_type < 31).then(|| format!("mp4a.40.{object_type}"))
        }
        _ => None,
    }
}

/// The innermost of the nested descriptors that an `esds` holds.
fn decoder_specific(es: &[u8]) -> Option<&[u8]> {
    let es = descriptor(es, 3)?;
    let decoder = descriptor(es.get(3..)?, 4)?;
    descriptor(decoder.get(13..)?, 5)
}

fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, mut rest) = bytes.split_first()?;
    let mut len = 0;
    for _ in 0..4 {
        let (byte, after) = rest.split_first()?;
        rest = after;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    (*first == tag).then_some(rest.get(..len)?)
}

/// The boxes in `bytes`, up to the first that does not fit.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let content = bytes.get(8..u32::from_be_bytes(*len) as usize)?;
        bytes = &bytes[8 + content.len()..];
        Some((*kind, content))
    })
}
