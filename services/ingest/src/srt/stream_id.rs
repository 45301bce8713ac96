//! What a caller's stream id asks for: SRT's own syntax (draft-sharabayko-srt-01, appendix B),
//! the one that other media servers take, or the key alone.

/// The syntax of key and value pairs begins so.
const PAIRS: &str = "#!::";
/// The resource of a channel, as in RTMP's URLs.
const LIVE: &str = "live/";
const PUBLISH: &str = "publish:";
/// Longest stream key that is looked at; real ones have 46 characters.
const MAX_KEY: usize = 128;

/// The stream key of who wants to publish: `#!::r=live/KEY,m=publish`, `publish:KEY` or `KEY`.
/// `None` for anything else.
pub(super) fn stream_key(stream_id: &str) -> Option<&str> {
    let key = match stream_id.strip_prefix(PAIRS) {
        Some(pairs) => resource(pairs)?.strip_prefix(LIVE)?,
        None => stream_id.strip_prefix(PUBLISH).unwrap_or(stream_id),
    };
    is_key(key).then_some(key)
}

/// The resource, if it is to be published as a live stream.
fn resource(pairs: &str) -> Option<&str> {
    let (mut resource, mut publish) = (None, false);
    for pair in pairs.split(',') {
        match pair.split_once('=')? {
            ("r", value) => resource = Some(value),
            ("m", value) => publish = value == "publish",
            ("t", value) if value != "stream" => return None,
            // Host, user, session and what others may add do not matter here.
            _ => {}
        }
    }
    resource.filter(|_| publish)
}

fn is_key(key: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use super::stream_key;

    #[test]
    fn three_forms_name_the_key() {
        for id in [
            "#!::r=live/the-Key_1,m=publish",
            "#!::m=publish,u=me,t=stream,r=live/the-Key_1",
            "publish:the-Key_1",
            "the-Key_1",
        ] {
            assert_eq!(stream_key(id), Some("the-Key_1"), "{id}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for id in [
            "",
            "publish:",
            "read:key",
            "live/key",
            "publish:live/key",
            "#!::",
            "#!::r=live/key",
            "#!::r=live/key,m=request",
            "#!::r=key,m=publish",
            "#!::r=live/key,m=publish,t=file",
            "#!::r=live/key,m=publish,",
            "#!:{r=live/key,m=publish}",
            "a key",
            "k\u{e9}y",
            &"k".repeat(129),
        ] {
            assert_eq!(stream_key(id), None, "{id}");
        }
    }
}
