//! How the program ends. Scripts rely on these numbers.

/// Done.
pub(crate) const DONE: u8 = 0;
/// Failed; stderr says why.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage; clap exits with it by itself.
pub(crate) const USAGE: u8 = 2;
/// There is no such channel.
pub(crate) const NO_SUCH_CHANNEL: u8 = 3;
/// The ticket was refused.
pub(crate) const TICKET_REFUSED: u8 = 4;
/// The broadcast never came within `--wait`, or as long as a swarm ran.
pub(crate) const NEVER_LIVE: u8 = 5;
