//! HLS playlists for fragmented MP4 (RFC 8216), for players that have no MSE.

use std::fmt::Write;

/// What a live playlist lists, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Playlist {
    /// Number of the first segment; counts up as segments leave.
    pub media_sequence: u64,
    /// Discontinuities among the segments that have left.
    pub discontinuity_sequence: u64,
    /// What can be fetched.
    pub segments: Vec<Segment>,
    /// Nothing will follow.
    pub ended: bool,
}

/// One file of media.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where it is, relative to the playlist.
    pub uri: String,
    /// Where its init segment is; a change of it is a discontinuity.
    pub init_uri: String,
    /// How long it plays.
    pub duration_us: u64,
}

impl Playlist {
    /// The playlist's text.
    #[must_use]
    pub fn text(&self) -> String {
        let longest_us = self.segments.iter().map(|s| s.duration_us).max();
        let target = longest_us.unwrap_or(0).div_ceil(1_000_000).max(1);
        let mut out = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            self.media_sequence
        );
        if self.discontinuity_sequence > 0 {
            put(
                &mut out,
                "#EXT-X-DISCONTINUITY-SEQUENCE:",
                self.discontinuity_sequence,
            );
        }
        let mut init_uri = None;
        for segment in &self.segments {
            if init_uri != Some(&segment.init_uri) {
                if init_uri.is_some() {
                    out.push_str("#EXT-X-DISCONTINUITY\n");
                }
                put(
                    &mut out,
                    "#EXT-X-MAP:URI=",
                    format_args!("\"{}\"", segment.init_uri),
                );
                init_uri = Some(&segment.init_uri);
            }
            let (seconds, micros) = (
                segment.duration_us / 1_000_000,
                segment.duration_us % 1_000_000,
            );
            put(
                &mut out,
                "#EXTINF:",
                format_args!("{seconds}.{micros:06},\n{}", segment.uri),
            );
        }
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        out
    }
}

fn put(out: &mut String, tag: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{tag}{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, init: &str) -> Segment {
        Segment {
            uri: format!("{number}.m4s"),
            init_uri: init.to_owned(),
            duration_us: 2_000_500,
        }
    }

    #[test]
    fn a_changed_init_segment_is_a_discontinuity() {
        let playlist = Playlist {
            media_sequence: 7,
            segments: vec![
                segment(7, "a.mp4"),
                segment(8, "a.mp4"),
                segment(9, "b.mp4"),
            ],
            ..Playlist::default()
        };
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:7\n\
            #EXT-X-MAP:URI=\"a.mp4\"\n#EXTINF:2.000500,\n7.m4s\n#EXTINF:2.000500,\n8.m4s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b.mp4\"\n#EXTINF:2.000500,\n9.m4s\n";
        assert_eq!(playlist.text(), expected);
    }

    #[test]
    fn an_ended_playlist_says_so() {
        let playlist = Playlist {
            ended: true,
            ..Playlist::default()
        };
        assert!(playlist.text().ends_with("#EXT-X-ENDLIST\n"));
    }
}
