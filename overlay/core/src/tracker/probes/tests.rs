use std::collections::BTreeSet;

use super::*;
use crate::{
    tracker::{Config, Grant, Input, Output, Role, SessionId},
    wire::{self, to_tracker},
};

const SEEDER: PeerId = PeerId(100);
/// Everyone is placed by then, and has not spoken for a while.
const BEGUN: Duration = Duration::from_millis(2300);

/// A seeder with room for one copy, and viewers who feed each other. Sessions are named as
/// their peers.
struct Story {
    tracker: Tracker,
    now: Instant,
    /// Who was asked whether it is there.
    asked: Vec<PeerId>,
    viewers: Vec<PeerId>,
    /// Who of them says nothing of itself.
    silent: Vec<PeerId>,
}

impl Story {
    fn with_viewers(viewers: u64) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut story = Self {
            tracker: Tracker::new(now, Config::default()),
            now,
            asked: Vec::new(),
            viewers: Vec::new(),
            silent: Vec::new(),
        };
        story.join(SEEDER, Role::Seeder, 1_200_000, true);
        story.speak(SEEDER);
        for peer in 1..=viewers {
            story.join(PeerId(peer), Role::Viewer, 5_000_000, true);
        }
        story.run(BEGUN);
        story
    }

    fn join(&mut self, peer: PeerId, role: Role, upload_bps: u64, answers_probes: bool) {
        let grant = Grant {
            role,
            may_share: true,
            origin: None,
        };
        let session = SessionId(peer.0);
        self.feed(Input::Opened { session, grant });
        let join = wire::Join {
            peer: peer.0,
            upload_bps,
            parents: Vec::new(),
            answers_probes,
        };
        self.say(peer, to_tracker::Kind::Join(join));
        if role == Role::Viewer {
            self.viewers.push(peer);
        }
    }

    fn say(&mut self, peer: PeerId, kind: to_tracker::Kind) {
        let (session, message) = (SessionId(peer.0), kind.into());
        self.feed(Input::Message { session, message });
    }

    fn speak(&mut self, peer: PeerId) {
        let live = wire::Stream {
            k: 4,
            n: 5,
            rate_bps: 800_000,
            live: true,
        };
        let status = wire::Status {
            stream: (peer == SEEDER).then_some(live),
            ..wire::Status::default()
        };
        self.say(peer, to_tracker::Kind::Status(status));
    }

    /// All whom it feeds miss it: it has vanished, or only seems so.
    fn vanish(&mut self, of: PeerId) {
        let node = self.tracker.placement.forest.get(of);
        let edges = node.into_iter().flat_map(|node| node.edges());
        let children: BTreeSet<PeerId> = edges.map(|(_, child)| child).collect();
        assert!(children.len() >= 2, "it feeds several");
        self.silent.push(of);
        children
            .into_iter()
            .for_each(|child| self.suspect(child, of));
    }

    fn suspect(&mut self, by: PeerId, of: PeerId) {
        let suspect = wire::Suspect { peer: of.0 };
        self.say(by, to_tracker::Kind::Suspect(suspect));
    }

    fn feed(&mut self, input: Input) {
        self.tracker.handle(self.now, input);
        loop {
            match self.tracker.poll() {
                Output::Timeout(_) => return,
                Output::Send { session, message } => {
                    if matches!(message.kind, Some(from_tracker::Kind::Probe(_))) {
                        self.asked.push(PeerId(session.0));
                    }
                }
                Output::Close { reason, .. } => panic!("a session was closed: {reason}"),
            }
        }
    }

    /// Time passes, in steps of ten milliseconds; everyone reports now and then.
    fn run(&mut self, span: Duration) {
        let steps = span.as_millis() / 10;
        for step in 0..steps {
            self.now = self.now + Duration::from_millis(10);
            self.feed(Input::Timeout);
            if step % 40 == 0 {
                let mut speak = self.viewers.clone();
                speak.retain(|peer| !self.silent.contains(peer));
                speak.push(SEEDER);
                speak.into_iter().for_each(|peer| self.speak(peer));
            }
        }
    }

    /// Somebody who feeds somebody else.
    fn edge(&self) -> (PeerId, PeerId) {
        let forest = &self.tracker.placement.forest;
        let edges = forest
            .viewers()
            .flat_map(|(child, node)| node.parents().map(move |(_, parent)| (parent, child)));
        let mut edges = edges.filter(|(parent, _)| *parent != SEEDER);
        edges.next().expect("somebody relays")
    }

    fn is_planned(&self, peer: PeerId) -> bool {
        self.tracker.placement.forest.get(peer).is_some()
    }

    fn children(&self, of: PeerId) -> usize {
        let node = self.tracker.placement.forest.get(of);
        node.map_or(0, |node| node.edges().count())
    }
}

#[test]
fn who_is_missed_and_does_not_answer_is_taken_out_and_its_children_placed() {
    let mut story = Story::with_viewers(6);
    let (parent, child) = story.edge();
    story.vanish(parent);
    assert_eq!(story.asked, [parent], "asked once");
    story.run(PATIENCE / 2);
    assert!(story.is_planned(parent));
    story.run(PATIENCE);
    assert!(!story.is_planned(parent));
    let held = |story: &Story| {
        let node = story.tracker.placement.forest.get(child);
        node.map_or(0, |node| node.held().len())
    };
    assert!(held(&story) >= 4, "the child has what decodes");
    story.silent.clear();
    story.run(Duration::from_secs(1));
    assert!(story.is_planned(parent), "it speaks again and is back");
}

#[test]
fn who_answers_stays_whatever_is_said_of_it() {
    let mut story = Story::with_viewers(6);
    let (parent, _) = story.edge();
    let before = story.children(parent);
    story.vanish(parent);
    story.run(PATIENCE / 2);
    story.speak(parent);
    story.run(PATIENCE * 3);
    assert!(story.children(parent) >= before);
    story.vanish(parent);
    assert_eq!(
        story.asked,
        [parent, parent],
        "asked again when missed again"
    );
}

#[test]
fn nobody_is_asked_who_spoke_just_now_or_feeds_not_who_misses_it() {
    let mut story = Story::with_viewers(6);
    let (parent, child) = story.edge();
    story.suspect(child, parent);
    story.suspect(child, parent);
    assert!(story.asked.is_empty(), "one alone misses it");
    story.run(Duration::from_secs(2));
    story.speak(parent);
    story.vanish(parent);
    story.suspect(child, PeerId(77));
    story.suspect(child, SEEDER);
    story.run(PATIENCE);
    let strangers: Vec<PeerId> = (1..=6)
        .map(PeerId)
        .filter(|other| *other != child && !story.tracker.placement.feeds(*other, child))
        .collect();
    for stranger in &strangers {
        story.suspect(child, *stranger);
    }
    assert!(story.asked.is_empty(), "{:?}", story.asked);
}

#[test]
fn when_many_are_missed_everyone_who_relays_is_asked_at_once() {
    let mut story = Story::with_viewers(12);
    let forest = &story.tracker.placement.forest;
    let edges: Vec<(PeerId, PeerId)> = forest
        .viewers()
        .flat_map(|(child, node)| node.parents().map(move |(_, parent)| (parent, child)))
        .filter(|(parent, _)| *parent != SEEDER)
        .collect();
    // Whoever misses somebody has spoken, and need not be asked.
    let (gone, there): (Vec<_>, Vec<_>) = edges
        .into_iter()
        .partition(|(parent, child)| parent.0 <= 4 && child.0 > 4);
    let mut spoke = BTreeSet::new();
    for (parent, child) in gone {
        story.silent.push(parent);
        story.suspect(child, parent);
        spoke.insert(child);
    }
    assert!(!there.is_empty());
    for relay in story.tracker.placement.relays_anything() {
        let asked = story.asked.contains(&relay);
        assert!(asked || spoke.contains(&relay), "{relay}");
    }
    assert!(story.asked.len() > MANY, "{:?}", story.asked);
}

#[test]
fn who_cannot_answer_is_not_asked() {
    let mut story = Story::with_viewers(0);
    for peer in 1..=6 {
        story.join(PeerId(peer), Role::Viewer, 5_000_000, false);
    }
    story.run(BEGUN);
    let (parent, _) = story.edge();
    story.vanish(parent);
    story.silent.clear();
    story.run(PATIENCE * 2);
    assert!(story.asked.is_empty());
    assert!(story.is_planned(parent));
}

#[test]
fn when_we_were_held_up_ourselves_nobody_is_taken_out_for_it() {
    let mut story = Story::with_viewers(6);
    let (parent, _) = story.edge();
    story.vanish(parent);
    story.now = story.now + PATIENCE + HELD_UP * 2;
    story.feed(Input::Timeout);
    assert!(story.is_planned(parent), "its answer may be unread");
    story.run(PATIENCE + Duration::from_millis(50));
    assert!(!story.is_planned(parent));
}

#[test]
fn whoever_was_taken_out_wrongly_earns_the_others_patience() {
    let mut story = Story::with_viewers(6);
    let (parent, _) = story.edge();
    story.vanish(parent);
    story.run(PATIENCE * 3 / 2);
    assert!(!story.is_planned(parent));
    story.silent.clear();
    story.run(Duration::from_secs(2));
    let (parent, _) = story.edge();
    story.run(Duration::from_millis(290));
    story.vanish(parent);
    assert_eq!(story.asked.last(), Some(&parent));
    story.run(PATIENCE * 3 / 2);
    assert!(story.is_planned(parent), "it has twice as long");
    story.run(PATIENCE);
    assert!(!story.is_planned(parent));
}
