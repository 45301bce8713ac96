//! SplitStream (Castro, Druschel, Kermarrec, Nandi, Rowstron, Singh, SOSP 2003): sixteen
//! stripes, a tree for each, every viewer inside one of them and a leaf in the others; who
//! finds no room in a stripe's tree hangs on a viewer with spare room; a parent is given up
//! after thirty seconds of silence. As in the paper a picture is there with twelve of sixteen
//! stripes, as with multiple description coding: its viewers see less then, which is not
//! counted against it.
//!
//! Parents are blind to capacity: whoever offers anything takes 24 children, which the half of
//! its line that it offers may not carry; who offers nothing takes none.
//!
//! Not faithful: the server is every stripe's root itself; requests find the place in a tree
//! that is nearest to the root instead of being pushed down from it, within the time of three
//! hops of Pastry; media queue for no longer than the play-out delay.

use std::time::Duration;

use super::{
    Format,
    forest::{Forest, Rules},
};
use crate::Scenario;

const STRIPES: u8 = 16;
/// Of these a picture can be shown (section 5 counts who has so many).
const ENOUGH: u8 = 12;
/// As for one tree: the paper says nothing of players.
const DELAY: Duration = Duration::from_secs(5);
/// From the paper, as its figures of repair show it.
const SILENCE: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(5);
/// What is sixteen in the paper, for all, and here one half more: a fifth of the viewers offers
/// nothing, and there must be room for everyone.
const CHILDREN: usize = 24;
/// log16 of the swarms that are simulated.
const HOPS: u32 = 3;

pub(super) fn new(scenario: &Scenario) -> Forest {
    let stripe_bps = (scenario.bitrate_bps / u64::from(STRIPES)).max(1);
    Forest::new(Rules {
        format: Format {
            parts: STRIPES,
            enough: ENOUGH,
            delay: scenario.rival.delay.unwrap_or(DELAY),
            server_unbounded: false,
        },
        trees: STRIPES,
        silence: SILENCE,
        beat: BEAT,
        server_slots: (scenario.seeder_bps / stripe_bps * 9 / 10) as usize,
        routed: Some(HOPS),
        one_stripe_each: true,
        slots: Box::new(|upload_bps| if upload_bps > 0 { CHILDREN } else { 0 }),
    })
}
