//! ISO base media boxes, written.

use bytes::{BufMut, BytesMut};

/// A box: its length is filled in when its content is known.
pub(super) fn boxed(out: &mut BytesMut, kind: &[u8; 4], content: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    content(out);
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// A box with version and flags.
pub(super) fn full(
    out: &mut BytesMut,
    kind: &[u8; 4],
    version_flags: u32,
    content: impl FnOnce(&mut BytesMut),
) {
    boxed(out, kind, |out| {
        out.put_u32(version_flags);
        content(out);
    });
}
