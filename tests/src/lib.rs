//! Live stations for tests and benches: the real program, real ffmpeg and the kernel's
//! counters, as child processes with verbs. The tests in `tests/` and the program
//! behind `bench/run` call it.
//!
//! The one rule: what is said of a run is read from files, sockets and the kernel, and a
//! program's claim is only ever compared with that.

pub mod broadcast;
pub mod exact;
pub mod figures;
pub mod http;
pub mod kernel;
pub mod network;
pub mod place;
pub mod process;
pub mod scenario;
pub mod stage;
pub mod stalls;
pub mod station;
pub mod swarm;
pub mod viewer;
pub mod weather;
