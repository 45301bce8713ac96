//! The swarm's logic: [`Peer`], what every viewer and seeder runs, and [`Tracker`], which
//! places them. Both are state machines without I/O: a host calls `handle(now, input)`,
//! then `poll()` until it answers `Timeout`. Three hosts drive them: tokio (`native`, the
//! services), WebAssembly (`browser`), and the simulator (`sim`).
//!
//! The one rule: nothing here knows a clock, a socket, a random number generator of its
//! own, or the order of a hash map; the same inputs give the same outputs everywhere.

mod id;
pub mod peer;
mod random;
mod scheme;
mod time;
pub mod tracker;
pub mod wire;

pub use id::{PeerId, StripeId, StripeSet};
pub use peer::Peer;
pub use random::Random;
pub use scheme::{Facts, Scheme, Signed, SignedEpoch};
pub use time::Instant;
pub use tracker::Tracker;
