//! Stories of two to five real peers, their tracker and sometimes a stranger, on a virtual
//! link. What holds in all of them stands in `world`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod broadcast;
mod strangers;
mod swarm;
mod world;
