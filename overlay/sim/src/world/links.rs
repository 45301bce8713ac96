//! Links, and what goes over them.

use std::time::Duration;

use overlay_core::{
    PeerId,
    peer::Input,
    wire::{Channel, Message},
};

use super::{Event, TRACKER_LATENCY, World, host::Host, index, peer_id};
use crate::{
    Light,
    network::{Delivery, Network},
};

/// Round trips until a link is open, signalling aside (measured between two native peers:
/// 241 ms at a round trip of 80 ms, for connectivity checks, DTLS and SCTP).
const HANDSHAKE_ROUND_TRIPS: u32 = 3;
/// What a link holds unsent and unacknowledged.
pub(super) const SEND_BUFFER: usize = 384 * 1024;
/// A link that is not up by then is given up.
const GIVES_UP: Duration = Duration::from_secs(5);
/// What two ends say before they can talk; what it says really is of no matter here.
const OFFER: &[u8] = b"offer";
const ANSWER: &[u8] = b"answer";
/// ICE checks of a link: once a second each way, in so many times of [`TRAFFIC`], each of
/// so many bytes with its answer.
const KEEPALIVE: u64 = 5;
const CHECK: usize = 150;
/// A polluter alters every so many pieces.
pub(super) const ALTERED: u64 = 10;
/// What the transport carried is told this often.
pub(super) const TRAFFIC: Duration = Duration::from_millis(200);

impl World {
    /// What two tell each other before they can talk goes by the tracker, at a constant
    /// latency; or if that is away by way of the peers themselves.
    pub(super) fn connect(&mut self, number: u32, other: u32) {
        let by_tracker = self
            .hosts
            .get(&number)
            .is_some_and(|host| host.session.is_some());
        if self.tracker_up && by_tracker {
            let at = self.now + TRACKER_LATENCY * 4 + self.handshake(number, other);
            return self.at(at, Event::LinkOpen(number, other));
        }
        self.at(self.now + GIVES_UP, Event::GiveUp(number, other));
        self.signal(number, other, OFFER);
    }

    pub(super) fn signal(&mut self, number: u32, other: u32, said: &'static [u8]) {
        let to = peer_id(other);
        let payload = said.into();
        self.feed(number, Input::Signal { to, payload });
    }

    pub(super) fn signalled(&mut self, number: u32, from: PeerId, payload: &[u8]) {
        let other = index(from);
        if payload == OFFER {
            return self.signal(number, other, ANSWER);
        }
        let at = self.now + self.handshake(number, other);
        self.at(at, Event::LinkOpen(number, other));
    }

    pub(super) fn handshake(&self, number: u32, other: u32) -> Duration {
        self.network.latency(number, other) * 2 * HANDSHAKE_ROUND_TRIPS
    }

    pub(super) fn give_up(&mut self, a: u32, b: u32) {
        if !self.links.contains((a, b)) {
            self.feed(a, Input::LinkDown(peer_id(b)));
        }
    }

    pub(super) fn open(&mut self, a: u32, b: u32) {
        let alive = |number: u32| self.hosts.get(&number).is_some_and(Host::is_alive);
        if !alive(a) || !alive(b) || self.is_apart(a, b) {
            self.feed(a, Input::LinkDown(peer_id(b)));
            return;
        }
        if !self.nat.reaches(a, b) {
            // Checks of pairs of addresses go on until somebody gives up.
            return self.at(self.now + GIVES_UP, Event::GiveUp(a, b));
        }
        if !self.links.contains((a, b)) {
            let link = self.queue.planned();
            self.links.insert((a, b), link);
            self.links.insert((b, a), link);
            self.note(2, a, u64::from(b));
            self.feed(a, Input::LinkUp(peer_id(b)));
            self.feed(b, Input::LinkUp(peer_id(a)));
        }
    }

    /// Every open link, once.
    pub(super) fn all_links(&self) -> impl Iterator<Item = (u32, u32)> {
        self.links.keys().filter(|(a, b)| a < b)
    }

    /// Takes a link away; whether there was one.
    pub(super) fn unlink(&mut self, a: u32, b: u32) -> bool {
        self.links.remove((b, a));
        self.links.remove((a, b)).is_some()
    }

    pub(super) fn send(&mut self, from: u32, to: u32, mut message: Message<Light>) {
        if !self.links.contains((from, to)) {
            return;
        }
        let len = message.wire_len();
        let how = match message.channel() {
            Channel::Reliable => Delivery::Reliable,
            Channel::Pieces => Delivery::Lossy,
        };
        self.note(1, from, u64::from(to) << 32 | len as u64);
        self.watch_message(from, &message);
        if let Message::Piece(piece) = &mut message {
            let Some(host) = self.hosts.get_mut(&from) else {
                return;
            };
            host.pieces_sent += 1;
            if host.lies && host.pieces_sent.is_multiple_of(ALTERED) {
                piece.piece.forged = true;
            } else if piece.piece.forged {
                self.bad_relayed += 1;
            }
            let withholds = host.withholds();
            if withholds || !self.has_room(from, to, len) {
                return self.tell_buffered(from, to);
            }
        }
        let arrival = self
            .network
            .send(self.now, (from, to), len, how, &mut self.random);
        if how == Delivery::Lossy {
            self.tell_buffered(from, to);
        }
        if !self.is_heard(from, to, len) {
            return;
        }
        let input = Input::Received {
            from: peer_id(from),
            message,
        };
        if let Some(arrival) = arrival {
            self.at(arrival, Event::ToPeer(to, input));
        }
    }

    /// Counts a message and what acknowledges it; whether there is anybody to do so.
    pub(super) fn is_heard(&mut self, from: u32, to: u32, len: usize) -> bool {
        let heard = !self.is_apart(from, to) && self.is_present(to);
        let (wire, ack) = Network::wire_len(len);
        self.count(from, to, wire, if heard { ack } else { 0 });
        if heard {
            self.network.acknowledge(to, ack);
            self.count(to, from, ack, wire);
        }
        heard
    }

    /// Whether a link's send buffer takes a piece.
    pub(super) fn has_room(&mut self, from: u32, to: u32, len: usize) -> bool {
        self.network.buffered(self.now, (from, to)) + len <= SEND_BUFFER
    }

    /// Tells a link's owner how full its send buffer is; on a line that is faster than what
    /// is offered it is nearly empty.
    pub(super) fn tell_buffered(&mut self, from: u32, to: u32) {
        let bytes = self.network.buffered(self.now, (from, to));
        let peer = peer_id(to);
        let host = self.hosts.get_mut(&from);
        if let Some(own) = host.and_then(|host| host.peer.as_mut()) {
            own.handle(self.now, Input::Buffered { peer, bytes });
        }
        if let Some(at) = self.network.watch((from, to), bytes >= SEND_BUFFER / 12) {
            self.at(at, Event::Drained(from, to));
        }
    }

    pub(super) fn drained(&mut self, from: u32, to: u32) {
        self.network.watched((from, to));
        if self.is_present(from) {
            self.tell_buffered(from, to);
            self.feed(from, Input::Timeout);
        }
    }

    pub(super) fn is_present(&self, number: u32) -> bool {
        self.hosts.get(&number).is_some_and(Host::is_alive)
    }

    pub(super) fn count(&mut self, number: u32, other: u32, sent: usize, received: usize) {
        if let Some(host) = self.hosts.get_mut(&number) {
            let entry = host.traffic.entry(other).or_default();
            entry.0 += sent as u64;
            entry.1 += received as u64;
        }
    }

    pub(super) fn tell_traffic(&mut self) {
        self.beats += 1;
        if self.beats.is_multiple_of(KEEPALIVE) {
            let links: Vec<(u32, u32)> = self.all_links().collect();
            for (a, b) in links {
                let both = self.is_present(a) && self.is_present(b) && !self.is_apart(a, b);
                let heard = if both { CHECK } else { 0 };
                self.count(a, b, CHECK, heard);
                self.count(b, a, CHECK, heard);
            }
        }
        let numbers: Vec<u32> = self.hosts.keys().collect();
        for number in numbers {
            let Some(host) = self.hosts.get_mut(&number) else {
                continue;
            };
            host.beat(self.network.sent(number));
            for (other, (sent, received)) in std::mem::take(&mut host.traffic) {
                if let Some(rival) = &mut self.rival {
                    rival.count_received(number, other, received);
                    continue;
                }
                let traffic = Input::Traffic {
                    peer: peer_id(other),
                    sent,
                    received,
                };
                self.feed(number, traffic);
            }
        }
        self.at(self.now + TRAFFIC, Event::Traffic);
    }
}
