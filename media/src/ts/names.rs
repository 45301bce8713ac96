//! What the streams of a program are, by names that people know.

/// What a stream is.
pub(super) enum Kind {
    H264,
    Aac,
    /// A picture that cannot be carried.
    Video(String),
    /// A sound that cannot be carried.
    Audio(String),
    /// Neither: subtitles, marks for advertising, data.
    Other,
}

/// The descriptor that names a format which has no stream_type (ISO/IEC 13818-1, 2.6.8).
const REGISTRATION: u8 = 5;

/// By stream_type (ISO/IEC 13818-1, table 2-34; ATSC A/53 for AC-3) and descriptors.
pub(super) fn kind(stream_type: u8, descriptors: &[u8]) -> Kind {
    let video = |name: &str| Kind::Video(name.to_owned());
    let audio = |name: &str| Kind::Audio(name.to_owned());
    match stream_type {
        0x1b => Kind::H264,
        0x0f => Kind::Aac,
        0x01 | 0x02 => video("MPEG-2 video"),
        0x10 => video("MPEG-4 part 2 video"),
        0x24 => video("HEVC"),
        0x33 => video("VVC"),
        0xea => video("VC-1"),
        0x03 | 0x04 => audio("MP2 or MP3"),
        0x11 => audio("AAC in LATM"),
        0x81 => audio("AC-3"),
        0x87 => audio("E-AC-3"),
        0x06 => match registration(descriptors) {
            Some(b"Opus") => audio("Opus"),
            Some(b"AC-3") => audio("AC-3"),
            Some(b"EAC3") => audio("E-AC-3"),
            Some(b"BSSD") => audio("PCM"),
            Some(b"AV01") => video("AV1"),
            Some(b"VP09") => video("VP9"),
            Some(b"HEVC") => video("HEVC"),
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

fn registration(descriptors: &[u8]) -> Option<&[u8; 4]> {
    let mut rest = descriptors;
    while let [tag, len, after @ ..] = rest {
        let (content, after) = after.split_at_checked(usize::from(*len))?;
        if *tag == REGISTRATION {
            return content.first_chunk();
        }
        rest = after;
    }
    None
}
