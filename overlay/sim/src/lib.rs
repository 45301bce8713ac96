//! Swarms on a virtual clock: the very `Peer` and `Tracker` of the programs, on a network of
//! latencies, uplink queues and losses, with a light scheme in which pieces have a length
//! and no bytes. Single-threaded and seeded: the same seed gives the same trace hash.
//!
//! The one rule: nothing here decides anything a peer or the tracker should decide. Other
//! overlays, to compare with, live in `rivals` and share all the rest.

pub mod fault;
mod histogram;
mod light;
mod nat;
mod network;
mod pairs;
mod rivals;
pub mod scenario;
mod world;

pub use fault::{Attack, Fault, How, What, Who};
pub use light::{Light, LightHeader, LightPiece};
pub use rivals::Overlay;
pub use scenario::{Coming, RivalConfig, Scenario, Sessions};
pub use world::{Curves, FaultReport, Findings, Measures, Report, run};
