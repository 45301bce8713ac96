//! One stripe's place: its parent, who is tried in its stead, and who else there is.

use std::time::Duration;

use super::{Action, View};
use crate::{Instant, PeerId, StripeId, wire::DetachReason};

/// A link to a parent must open within this, handshakes included.
const LINK_DEADLINE: Duration = Duration::from_secs(4);
/// A parent must answer a subscription within this: a long round trip, once in vain, and a
/// busy host.
const ANSWER_DEADLINE: Duration = Duration::from_millis(800);
/// A parent that is to replace another must bring its first piece within this.
const FIRST_PIECE: Duration = Duration::from_millis(2000);
/// A silence that is the end of a parent: on links without other traffic, checks come once a
/// second.
const DEAD: Duration = Duration::from_millis(1500);
/// A parent that speaks and brings nothing is given up after this,
const STARVED: Duration = Duration::from_millis(1500);
/// or, when it says that it waits for its own, after this:
const STARVED_ALL: Duration = Duration::from_millis(2500);
/// for which it must say so every so often.
const EXCUSED: Duration = Duration::from_millis(500);
/// One that goes on bringing what is behind the broadcast is given up after this: what was
/// queued while its own parent was away takes seconds to clear. (To bear a lag of up to 0.8 s
/// instead spared large swarms most of their moves in simulation, and where a fifth of all packets
/// was lost viewers stood for ten seconds: a new parent resends the last second.)
const LAGGED: Duration = Duration::from_millis(4000);
/// Generations that a stripe is behind before anything is wrong.
const BEHIND: u64 = 2;
/// A stripe without a parent looks around again after this: neighbours' news is as old.
const RETRY: Duration = Duration::from_millis(600);
/// A parent is told to be silent after this part of the silence after which it is doubted: the
/// tracker asks it, and the neighbours are asked who of them is there.
const SUSPECT_PART: f64 = 2.0 / 3.0;
/// A neighbour heard within this is there for certain.
const RECENT: Duration = Duration::from_millis(300);
/// Peers tried in a row before the tracker is asked.
const MAX_TRIED: usize = 6;

/// The place of one stripe.
#[derive(Debug)]
pub(super) struct Slot {
    stripe: StripeId,
    pub(super) interior: bool,
    current: Option<Current>,
    attempt: Option<Attempt>,
    pub(super) backups: Vec<PeerId>,
    /// Who was tried since the last parent that delivered.
    tried: Vec<PeerId>,
    /// Who failed, not yet told to the tracker: it would plan while others are tried.
    lost: Vec<(PeerId, DetachReason)>,
    pub(super) reminded: Instant,
    /// When everyone was last tried in vain.
    retried: Instant,
}

#[derive(Debug)]
struct Current {
    peer: PeerId,
    /// The newest generation it brought.
    newest: u64,
    /// It brought anything at all.
    delivered: bool,
    /// Since when the broadcast is ahead of it.
    behind: Option<Instant>,
    /// Since when it has brought nothing all the same: not since its last piece, which may be
    /// long ago when the broadcast itself stood.
    overdue: Option<Instant>,
    /// When it last said that it waits itself.
    excused: Option<Instant>,
    /// It is silent, which was told.
    suspected: bool,
    /// It is silent, and another is looked for.
    doubted: bool,
}

#[derive(Debug)]
struct Attempt {
    peer: PeerId,
    /// The tracker named it as the parent to have.
    planned: bool,
    asked: bool,
    accepted: bool,
    deadline: Instant,
}

impl Slot {
    pub(super) fn new(now: Instant, stripe: StripeId) -> Self {
        Self {
            stripe,
            interior: false,
            current: None,
            attempt: None,
            backups: Vec::new(),
            tried: Vec::new(),
            lost: Vec::new(),
            reminded: now,
            retried: now,
        }
    }

    pub(super) fn parent(&self) -> Option<PeerId> {
        self.current.as_ref().map(|current| current.peer)
    }

    /// Whether a peer is the parent, is tried as one or may be.
    pub(super) fn counts_on(&self, peer: PeerId) -> bool {
        self.parent() == Some(peer) || self.attempt_is(peer) || self.backups.contains(&peer)
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.current.is_none() && self.attempt.is_none()
    }

    /// Whether its pieces are likely to go on coming.
    pub(super) fn is_healthy(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| !current.doubted)
    }

    /// Whether its parent has brought anything.
    pub(super) fn delivers(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.delivered)
    }

    /// Whether its pieces come, or a first parent is about to bring them.
    pub(super) fn feeds(&self) -> bool {
        let waits = self
            .current
            .as_ref()
            .is_some_and(|current| current.excused.is_some());
        (self.is_healthy() && !waits)
            || (self.current.is_none() && self.attempt.is_some() && self.lost.is_empty())
    }

    /// Whether the broadcast is ahead of it.
    pub(super) fn is_overdue(&self, view: View<'_>) -> bool {
        let newest = self.current.as_ref().map_or(0, |current| current.newest);
        view.newest.is_some_and(|there| there >= newest + BEHIND)
    }

    /// Whom to leave when the stripe is given up.
    pub(super) fn leave(self) -> Vec<Action> {
        let stripe = self.stripe;
        let asked = self.attempt.filter(|attempt| attempt.asked);
        self.current
            .map(|current| current.peer)
            .into_iter()
            .chain(asked.map(|attempt| attempt.peer))
            .map(|parent| Action::Unsubscribe { parent, stripe })
            .collect()
    }

    pub(super) fn on_link_up(&mut self, now: Instant, peer: PeerId) -> Option<Action> {
        let attempt = self.attempt.as_mut();
        let attempt = attempt.filter(|attempt| attempt.peer == peer && !attempt.asked)?;
        attempt.asked = true;
        attempt.deadline = now + ANSWER_DEADLINE;
        Some(Action::Subscribe {
            parent: peer,
            stripe: self.stripe,
            interior: self.interior,
            planned: attempt.planned,
        })
    }

    /// A link is gone, or did not come about.
    pub(super) fn on_link_down(&mut self, view: View<'_>, peer: PeerId) -> Vec<Action> {
        let unasked = self.attempt.as_ref();
        let reason = if unasked.is_some_and(|attempt| attempt.peer == peer && !attempt.asked) {
            DetachReason::Unreachable
        } else {
            DetachReason::Dead
        };
        self.on_gone(view, peer, reason)
    }

    /// A peer is, or will be, no parent of the stripe.
    pub(super) fn on_gone(
        &mut self,
        view: View<'_>,
        peer: PeerId,
        reason: DetachReason,
    ) -> Vec<Action> {
        self.backups.retain(|backup| *backup != peer);
        let mut actions = Vec::new();
        if self.parent() == Some(peer) {
            actions.extend(self.lose(view, peer, reason));
        }
        if self.attempt_is(peer) {
            actions.extend(self.fail_attempt(view, peer, reason));
        }
        actions
    }

    pub(super) fn on_accept(&mut self, view: View<'_>, peer: PeerId) -> Vec<Action> {
        if self.parent() == Some(peer) {
            return Vec::new();
        }
        if !self.attempt_is(peer) {
            return vec![self.unsubscribe(peer)];
        }
        // With a parent in place the move waits for the new one's first piece.
        if let Some(attempt) = self.attempt.as_mut().filter(|_| self.current.is_some()) {
            attempt.accepted = true;
            attempt.deadline = view.now + FIRST_PIECE;
            return Vec::new();
        }
        let actions = self.switch(peer, 0);
        // It owes what comes from now on: nothing at all while the broadcast stands.
        if let Some(current) = &mut self.current {
            current.newest = view.newest.unwrap_or(0);
        }
        actions
    }

    pub(super) fn on_piece(&mut self, peer: PeerId, sequence: u64) -> Vec<Action> {
        if let Some(current) = self.current.as_mut().filter(|current| current.peer == peer) {
            current.delivered = true;
            if sequence <= current.newest {
                return Vec::new();
            }
            current.newest = sequence;
            current.excused = None;
            current.overdue = None;
            current.suspected = false;
            self.tried.clear();
            // It lives after all, and who was asked in its stead is not needed.
            if std::mem::take(&mut current.doubted) {
                self.lost.clear();
                if let Some(attempt) = self.attempt.take() {
                    return vec![self.unsubscribe(attempt.peer)];
                }
            }
            return Vec::new();
        }
        let new = self.attempt.as_ref();
        if new.is_some_and(|attempt| attempt.peer == peer && attempt.accepted) {
            return self.switch(peer, sequence);
        }
        Vec::new()
    }

    pub(super) fn on_late(&mut self, now: Instant, peer: PeerId) {
        if let Some(current) = self.current.as_mut().filter(|current| current.peer == peer) {
            current.excused = Some(now);
        }
    }

    pub(super) fn on_epoch(&mut self) {
        if let Some(current) = &mut self.current {
            current.newest = 0;
        }
    }

    pub(super) fn tick(&mut self, view: View<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let late = self.attempt.as_ref();
        let gone =
            |attempt: &Attempt| attempt.asked && view.liveness.seems_gone(view.now, attempt.peer);
        if let Some(attempt) = late.filter(|a| a.deadline <= view.now || gone(a)) {
            let (peer, asked) = (attempt.peer, attempt.asked);
            self.backups.retain(|backup| *backup != peer);
            if asked {
                actions.push(self.unsubscribe(peer));
            }
            let reason = if asked {
                DetachReason::Dead
            } else {
                DetachReason::Unreachable
            };
            actions.extend(self.fail_attempt(view, peer, reason));
        }
        actions.extend(self.doubt(view));
        if self.is_orphan() && view.now.since(self.retried) >= RETRY {
            self.retried = view.now;
            self.tried.clear();
            actions.extend(self.try_next(view));
        }
        actions
    }

    /// Looks for another parent when the one in place is silent, and gives it up when that
    /// lasts, or when it speaks and brings nothing.
    fn doubt(&mut self, view: View<'_>) -> Vec<Action> {
        let now = view.now;
        let overdue = self.is_overdue(view);
        let Some(current) = self.current.as_mut() else {
            return Vec::new();
        };
        if !overdue {
            current.behind = None;
            current.overdue = None;
            return Vec::new();
        }
        let peer = current.peer;
        let lags = now.since(*current.behind.get_or_insert(now)) >= LAGGED;
        let since = now.since(*current.overdue.get_or_insert(now));
        // A generation ago it should have spoken; before that there may have been nothing.
        let silence = view.liveness.silence(now, peer);
        let silence = silence.min(since + view.interval);
        let excused = current
            .excused
            .is_some_and(|said| now.since(said) <= EXCUSED);
        let starves = since >= if excused { STARVED_ALL } else { STARVED };
        if silence >= DEAD || starves || lags {
            let owed = !current.delivered && current.excused.is_none();
            let reason = match (silence >= DEAD, starves, owed) {
                (true, ..) => DetachReason::Dead,
                // Not to be planned again at once, and not to be blamed.
                (false, false, _) => DetachReason::Refused,
                (false, true, false) => DetachReason::Silent,
                (false, true, true) => DetachReason::Idle,
            };
            let mut actions = vec![self.unsubscribe(peer)];
            actions.extend(self.lose(view, peer, reason));
            return actions;
        }
        let patience = view.liveness.patience(peer).max(view.interval * 3 / 2);
        let mut actions = Vec::new();
        if silence >= patience.mul_f64(SUSPECT_PART) && !current.suspected {
            current.suspected = true;
            actions.push(Action::Suspect(peer));
        }
        if silence < patience {
            return actions;
        }
        current.doubted = true;
        if self.attempt.is_some() {
            return actions;
        }
        self.tried.push(peer);
        actions.extend(self.try_next(view));
        actions
    }

    /// The parent in place is one no longer.
    fn lose(&mut self, view: View<'_>, peer: PeerId, reason: DetachReason) -> Vec<Action> {
        self.current = None;
        self.lost.push((peer, reason));
        if self.attempt.is_some() {
            return Vec::new();
        }
        self.try_next_or_tell(view)
    }

    /// The peer being tried will not do.
    fn fail_attempt(&mut self, view: View<'_>, peer: PeerId, reason: DetachReason) -> Vec<Action> {
        self.attempt = None;
        if self
            .current
            .as_ref()
            .is_some_and(|current| !current.doubted)
        {
            // A move that the tracker wanted; nothing is lost.
            return vec![self.detached(peer, reason)];
        }
        self.lost.push((peer, reason));
        self.try_next_or_tell(view)
    }

    /// The parent that was tried is in place now.
    fn switch(&mut self, parent: PeerId, newest: u64) -> Vec<Action> {
        self.attempt = None;
        let mut actions = Vec::new();
        let old = self.current.take();
        let delivered = newest > 0;
        let newest = newest.max(old.as_ref().map_or(0, |current| current.newest));
        if let Some(old) = old {
            actions.push(self.unsubscribe(old.peer));
            if old.doubted {
                self.lost.push((old.peer, DetachReason::Dead));
            }
        }
        self.current = Some(Current {
            peer: parent,
            newest,
            delivered,
            behind: None,
            overdue: None,
            excused: None,
            suspected: false,
            doubted: false,
        });
        actions.extend(self.tell_lost());
        actions.push(Action::Attached {
            parent,
            stripe: self.stripe,
        });
        actions
    }

    /// Makes a peer the one being tried.
    pub(super) fn try_parent(
        &mut self,
        now: Instant,
        parent: PeerId,
        linked: bool,
        planned: bool,
    ) -> Vec<Action> {
        let stripe = self.stripe;
        let mut actions = Vec::new();
        if let Some(attempt) = self.attempt.take()
            && attempt.peer != parent
            && attempt.asked
        {
            actions.push(self.unsubscribe(attempt.peer));
        }
        if self.parent() == Some(parent) {
            actions.push(Action::Attached { parent, stripe });
            return actions;
        }
        let wait = if linked {
            ANSWER_DEADLINE
        } else {
            LINK_DEADLINE
        };
        self.attempt = Some(Attempt {
            peer: parent,
            planned,
            asked: linked,
            accepted: false,
            deadline: now + wait,
        });
        actions.push(if linked {
            Action::Subscribe {
                parent,
                stripe,
                interior: self.interior,
                planned,
            }
        } else {
            Action::Connect(parent)
        });
        actions
    }

    /// Tries whoever is left: the tracker's backups, then others that say they have room.
    fn try_next(&mut self, view: View<'_>) -> Vec<Action> {
        if self.tried.len() >= MAX_TRIED {
            self.tried.clear();
            self.retried = view.now;
            return Vec::new();
        }
        let current = self.parent();
        let fits = |peer: &PeerId| {
            Some(*peer) != current && !self.tried.contains(peer) && view.linked(*peer)
        };
        let others = (view.relays)(self.stripe);
        let all = || self.backups.iter().chain(&others).copied().filter(fits);
        let recent = |peer: &PeerId| view.liveness.silence(view.now, *peer) <= RECENT;
        let next = all().find(recent).or_else(|| all().next());
        next.map_or_else(Vec::new, |next| {
            self.tried.push(next);
            self.try_parent(view.now, next, true, false)
        })
    }

    /// Tries the next, or tells the tracker that there is none.
    fn try_next_or_tell(&mut self, view: View<'_>) -> Vec<Action> {
        let actions = self.try_next(view);
        if !actions.is_empty() {
            return actions;
        }
        self.reminded = view.now;
        self.tell_lost()
    }

    fn tell_lost(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.lost)
            .into_iter()
            .map(|(peer, reason)| self.detached(peer, reason))
            .collect()
    }

    fn attempt_is(&self, peer: PeerId) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.peer == peer)
    }

    fn detached(&self, parent: PeerId, reason: DetachReason) -> Action {
        Action::Detached {
            parent,
            stripe: self.stripe,
            reason,
        }
    }

    fn unsubscribe(&self, parent: PeerId) -> Action {
        Action::Unsubscribe {
            parent,
            stripe: self.stripe,
        }
    }
}
