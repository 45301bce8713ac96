//! What broadcasters send and what travels: RTMP with FLV, or MPEG-TS, in; CMAF out; and the
//! words players need about it (HLS playlists, codec strings). Called by ingest, by the
//! native peer and by the browser.
//!
//! The one rule: pure. Bytes and stamps come in, bytes and events go out; no I/O, no
//! clock, no panic on any input, no allocation sized by a length that a stranger declared.

pub mod aac;
pub mod avc;
mod bits;
pub mod cmaf;
mod codec_string;
pub mod flv;
pub mod hls;
pub mod part;
pub mod rtmp;
pub mod ts;

pub use codec_string::codecs;
