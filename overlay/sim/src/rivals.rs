//! Other ways to carry a broadcast to many, on the same network, with the same viewers and the
//! same misfortunes, to be measured by the same figures.
//!
//! Each is one state machine for all of its viewers, written from what was published of it.
//! The one rule: a viewer does what it could know at that moment; that somebody is gone, it
//! learns from silence.
//!
//! Where the simulation is kind to all of them: control messages never wait behind media, a
//! line carries exactly what its viewer offers, nothing is signed, and a picture that is not
//! there when due is passed over instead of waiting for the next keyframe.

use std::time::Duration;

use crate::Scenario;

mod client_server;
mod forest;
mod pull_mesh;
mod segments;
mod single_tree;
mod splitstream;
mod swarm;
mod viewer;

pub(crate) use swarm::{Act, Part, Said, Swarm, Why};
pub(crate) use viewer::{Due, Viewers};

/// Who carries the broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// The peers and the tracker of this project.
    #[default]
    Ours,
    /// A server sends it to everybody.
    ClientServer,
    /// One tree.
    SingleTree,
    /// A tree for each of sixteen stripes.
    SplitStream,
    /// Neighbours tell each other what they have, and ask for it.
    PullMesh,
    /// Neighbours exchange whole segments, and a server has what they lack.
    Segments,
}

impl Overlay {
    /// All there are, ours first.
    pub const ALL: [Self; 6] = [
        Self::Ours,
        Self::ClientServer,
        Self::SingleTree,
        Self::SplitStream,
        Self::PullMesh,
        Self::Segments,
    ];

    /// As it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::ClientServer => "client-server",
            Self::SingleTree => "single-tree",
            Self::SplitStream => "splitstream",
            Self::PullMesh => "pull-mesh",
            Self::Segments => "segments",
        }
    }
}

/// A rival: what its viewers and its server do.
pub(crate) trait Rival {
    /// How media travels.
    fn format(&self) -> Format;

    /// The broadcast begins, or its server is back without memory.
    fn begins(&mut self, swarm: &mut Swarm<'_>);

    /// A viewer comes; whoever it is, it has not been there before.
    fn arrives(&mut self, swarm: &mut Swarm<'_>, viewer: u32);

    /// The server has another generation.
    fn publishes(&mut self, swarm: &mut Swarm<'_>, sequence: u64);

    /// A message arrives at one that is there.
    fn hears(&mut self, swarm: &mut Swarm<'_>, way: Way, said: Said);

    /// The time has come that one asked for.
    fn wakes(&mut self, swarm: &mut Swarm<'_>, viewer: u32, why: Why);

    /// The tracker, if it has one, notices that a viewer is gone.
    fn loses(&mut self, viewer: u32);

    /// A viewer is gone for long.
    fn forgets(&mut self, viewer: u32);

    /// Whose child a viewer is, and in which stripe; nothing where there are no trees.
    fn parents(&self, viewer: u32) -> Vec<(u8, u32)> {
        let _ = viewer;
        Vec::new()
    }

    /// A viewer's children, by stripe.
    fn children(&self, viewer: u32) -> Vec<(u8, Vec<u32>)> {
        let _ = viewer;
        Vec::new()
    }
}

/// From one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// How a rival's media travels, and when it is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// A generation is in so many parts,
    pub(crate) parts: u8,
    /// and with so many of them it can be shown.
    pub(crate) enough: u8,
    /// From the ingest of a generation to its release.
    pub(crate) delay: Duration,
    /// The server sends as much as it is asked for.
    pub(crate) server_unbounded: bool,
}

/// The one that is asked for; none: ours.
pub(crate) fn rival(scenario: &Scenario) -> Option<Box<dyn Rival>> {
    match scenario.overlay {
        Overlay::Ours => None,
        Overlay::ClientServer => Some(Box::new(client_server::ClientServer::new(scenario))),
        Overlay::SingleTree => Some(Box::new(single_tree::new(scenario))),
        Overlay::SplitStream => Some(Box::new(splitstream::new(scenario))),
        Overlay::PullMesh => Some(Box::new(pull_mesh::PullMesh::new(scenario))),
        Overlay::Segments => Some(Box::new(segments::Segments::new(scenario))),
    }
}
