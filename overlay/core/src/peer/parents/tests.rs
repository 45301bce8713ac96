use super::*;

const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const C: PeerId = PeerId(3);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn stripe() -> StripeId {
    StripeId::new(5).unwrap()
}

/// One peer's parents in stripe 5, and what it hears of others.
#[derive(Default)]
struct Story {
    parents: Parents,
    liveness: Liveness,
    relays: Vec<PeerId>,
}

impl Story {
    /// A is in place since 0, with a first piece of generation 1.
    fn with_parent(backups: &[PeerId]) -> Self {
        let mut story = Self::default();
        for peer in [A, B, C] {
            story.liveness.on_heard(at(0), peer);
        }
        story.place(at(0), A, backups);
        story.accept(at(1), 0, A);
        story.piece(at(100), A, 1);
        story
    }

    fn place(&mut self, now: Instant, parent: PeerId, backups: &[PeerId]) -> Vec<Action> {
        let place = wire::Place {
            stripe: 5,
            parent: parent.0,
            backups: backups.iter().map(|backup| backup.0).collect(),
            interior: false,
        };
        self.parents.place(now, &place, |_| true)
    }

    fn accept(&mut self, now: Instant, newest: u64, parent: PeerId) -> Vec<Action> {
        self.decide(now, newest, |parents, view| {
            parents.on_accept(view, parent, stripe())
        })
    }

    fn piece(&mut self, now: Instant, from: PeerId, sequence: u64) -> Vec<Action> {
        self.liveness.on_heard(now, from);
        self.parents.on_piece(from, stripe(), sequence)
    }

    fn decide<T>(
        &mut self,
        now: Instant,
        newest: u64,
        ask: impl FnOnce(&mut Parents, View<'_>) -> T,
    ) -> T {
        let relays = self.relays.clone();
        let relays = move |_| relays.clone();
        let view = View {
            now,
            newest: Some(newest),
            interval: Duration::from_millis(200),
            liveness: &self.liveness,
            relays: &relays,
        };
        ask(&mut self.parents, view)
    }

    /// Ticks every 50 ms, the broadcast going on by five generations a second, while these
    /// speak. What was done, with when.
    fn run(&mut self, ms: std::ops::Range<u64>, speak: &[PeerId]) -> Vec<(u64, Action)> {
        let mut done = Vec::new();
        for now in ms.step_by(50) {
            for peer in speak {
                self.liveness.on_heard(at(now), *peer);
            }
            let actions = self.decide(at(now), now / 200, Parents::tick);
            done.extend(actions.into_iter().map(|action| (now, action)));
        }
        done
    }
}

fn subscribes_to(peer: PeerId) -> impl Fn(&&(u64, Action)) -> bool {
    move |(_, action)| matches!(action, Action::Subscribe { parent, .. } if *parent == peer)
}

#[test]
fn a_move_keeps_the_old_parent_until_the_new_one_delivers() {
    let mut story = Story::with_parent(&[]);
    story.place(at(150), B, &[]);
    assert!(story.accept(at(160), 1, B).is_empty());
    assert_eq!(story.parents.of(stripe()), Some(A));
    let actions = story.piece(at(170), B, 3);
    let unsubscribe = Action::Unsubscribe {
        parent: A,
        stripe: stripe(),
    };
    assert!(actions.contains(&unsubscribe));
    assert_eq!(story.parents.of(stripe()), Some(B));
}

#[test]
fn a_lost_parent_is_followed_by_its_backup_and_told_of_when_that_delivers() {
    let mut story = Story::with_parent(&[B]);
    let actions = story.decide(at(200), 1, |parents, view| parents.on_link_down(view, A));
    assert!(
        matches!(actions[..], [Action::Subscribe { parent: B, .. }]),
        "{actions:?}"
    );
    let actions = story.accept(at(210), 1, B);
    let dead = Action::Detached {
        parent: A,
        stripe: stripe(),
        reason: DetachReason::Dead,
    };
    assert!(actions.contains(&dead), "{actions:?}");
    assert_eq!(story.parents.of(stripe()), Some(B));
}

#[test]
fn a_silent_parent_is_doubted_and_keeps_its_place_until_another_delivers() {
    let mut story = Story::with_parent(&[B]);
    let done = story.run(200..1000, &[B]);
    let asked = done
        .iter()
        .find(subscribes_to(B))
        .expect("the backup is asked")
        .0;
    assert!((600..=900).contains(&asked), "after {asked} ms");
    assert_eq!(story.parents.of(stripe()), Some(A));
    story.accept(at(1000), 4, B);
    story.piece(at(1010), B, 5);
    assert_eq!(story.parents.of(stripe()), Some(B));
}

#[test]
fn a_doubted_parent_that_speaks_again_stays() {
    let mut story = Story::with_parent(&[B]);
    let done = story.run(200..900, &[B]);
    assert!(done.iter().any(|entry| subscribes_to(B)(&entry)));
    let actions = story.piece(at(900), A, 4);
    let unsubscribe = Action::Unsubscribe {
        parent: B,
        stripe: stripe(),
    };
    assert_eq!(actions, [unsubscribe]);
    assert_eq!(story.parents.of(stripe()), Some(A));
}

#[test]
fn nothing_is_wrong_while_the_broadcast_stands() {
    let mut story = Story::with_parent(&[B]);
    for now in (200..9000).step_by(50) {
        assert!(story.decide(at(now), 2, Parents::tick).is_empty());
    }
}

#[test]
fn a_new_parent_owes_nothing_while_the_broadcast_stands() {
    let mut story = Story::with_parent(&[B]);
    story.decide(at(200), 100, |parents, view| parents.on_link_down(view, A));
    story.accept(at(210), 100, B);
    for now in (250..9000).step_by(50) {
        story.liveness.on_heard(at(now), B);
        assert!(story.decide(at(now), 100, Parents::tick).is_empty());
    }
}

#[test]
fn a_parent_that_says_it_waits_itself_is_waited_for_longer() {
    let given_up = |excuses: bool| {
        let mut story = Story::with_parent(&[]);
        for now in (200..6000).step_by(50) {
            story.liveness.on_heard(at(now), A);
            if excuses {
                story.parents.on_late(at(now), A, stripe());
            }
            let actions = story.decide(at(now), now / 200, Parents::tick);
            if story.parents.of(stripe()).is_none() {
                return (now, actions);
            }
        }
        panic!("never given up");
    };
    let (patient, _) = given_up(true);
    let (soon, actions) = given_up(false);
    assert!(patient > soon + 500, "{patient} against {soon} ms");
    let silent = Action::Detached {
        parent: A,
        stripe: stripe(),
        reason: DetachReason::Silent,
    };
    assert!(actions.contains(&silent), "{actions:?}");
}

#[test]
fn without_backups_neighbours_with_room_are_tried_one_after_another() {
    let mut story = Story::with_parent(&[]);
    story.relays = vec![B, C];
    let done = story.run(200..2500, &[B, C]);
    let first = done.iter().find(subscribes_to(B)).expect("B is asked").0;
    let second = done.iter().find(subscribes_to(C)).expect("C is asked").0;
    assert!(second >= first + 500, "B has time to answer");
}

#[test]
fn a_backup_that_is_silent_itself_is_passed_over() {
    let mut story = Story::with_parent(&[B]);
    story.relays = vec![C];
    let done = story.run(3000..4000, &[C]);
    assert!(!done.iter().any(|entry| subscribes_to(B)(&entry)));
    assert!(done.iter().any(|entry| subscribes_to(C)(&entry)));
}

#[test]
fn who_lags_by_a_generation_is_kept_and_who_lags_more_is_not() {
    for (behind, kept) in [(1, true), (3, false)] {
        let mut story = Story::with_parent(&[B]);
        let mut left = Vec::new();
        for newest in 6..40 {
            let now = newest * 200;
            story.piece(at(now), A, newest - behind);
            let done = story.run(now..now + 200, &[A, B]);
            left.extend(done.into_iter().find(subscribes_to_any));
        }
        assert_eq!(
            left.is_empty(),
            kept,
            "{behind} generations behind: {left:?}"
        );
    }
}

fn subscribes_to_any((_, action): &(u64, Action)) -> bool {
    matches!(action, Action::Subscribe { .. })
}

#[test]
fn a_silent_parent_is_told_of_once_before_another_is_tried() {
    let mut story = Story::with_parent(&[B]);
    let done = story.run(100..1000, &[B]);
    let suspects: Vec<u64> = done
        .iter()
        .filter(|(_, action)| *action == Action::Suspect(A))
        .map(|(at, _)| *at)
        .collect();
    let tried = done
        .iter()
        .find(subscribes_to(B))
        .expect("the backup is tried");
    assert!(suspects.len() == 1 && suspects[0] < tried.0, "{done:?}");
}

#[test]
fn of_the_backups_the_one_heard_of_last_is_tried_first() {
    let mut story = Story::with_parent(&[B, C]);
    let done = story.run(100..1000, &[C]);
    assert!(done.iter().any(|done| subscribes_to(C)(&done)), "{done:?}");
    assert!(!done.iter().any(|done| subscribes_to(B)(&done)), "{done:?}");
}
