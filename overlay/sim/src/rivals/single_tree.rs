//! One tree of the whole stream, as End System Multicast broadcast with it (Chu, Ganjam, Ng,
//! Rao, Sripanidkulchai, Zhan, Zhang, "Early Experience with an Internet Broadcast System
//! Based on Overlay Multicast", USENIX 2004): a viewer has as many children as its uplink
//! carries whole streams; newcomers go as near to the root as there is room, and push out who
//! contributes nothing; a parent that is silent for some seconds is given up.
//!
//! Not faithful: the source knows everybody and names the parent, where End System Multicast
//! gossips and probes; a viewer does not leave a parent because it is slow; media queue for no
//! longer than the play-out delay, and a newcomer gets nothing of what was before it.

use std::time::Duration;

use super::{
    Format,
    forest::{Forest, Rules},
};
use crate::Scenario;

/// Players of that time buffered for five seconds and more; with a play-out delay like ours
/// keyframes come too late.
const DELAY: Duration = Duration::from_secs(5);
/// A guess at that system's detection of dead parents.
const SILENCE: Duration = Duration::from_secs(5);
const BEAT: Duration = Duration::from_secs(1);
/// A generation is passed on in so many messages, so that nobody waits for all of it.
const PACKETS: u8 = 16;
/// A child takes up a stream and what frames it.
const FRAMED: f64 = 1.1;

pub(super) fn new(scenario: &Scenario) -> Forest {
    let takes = scenario.bitrate_bps as f64 * FRAMED;
    let slots = move |upload_bps: u64| (upload_bps as f64 / takes) as usize;
    Forest::new(Rules {
        format: Format {
            parts: PACKETS,
            enough: PACKETS,
            delay: scenario.rival.delay.unwrap_or(DELAY),
            server_unbounded: false,
        },
        trees: 1,
        silence: SILENCE,
        beat: BEAT,
        server_slots: slots(scenario.seeder_bps),
        routed: None,
        one_stripe_each: false,
        slots: Box::new(slots),
    })
}
