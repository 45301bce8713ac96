//! The native host of a peer: links, signalling, the driver that gives the pure core its
//! time and its datagrams, and the player's outputs. `livestation watch`, `livestation
//! swarm` and the seeder are made of it.
//!
//! The one rule: whatever arrives from a socket is limited here before anything else sees
//! it, and every queue between two tasks says what happens when it is full.

pub mod host;
pub mod link;
pub mod outputs;
pub mod shaper;
pub mod signalling;
pub mod socket;
pub mod stats;
pub mod stream;
pub mod ticket;
pub mod viewer;
