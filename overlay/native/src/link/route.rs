//! Which link a datagram is for. Links that are set up are found by the sender's address;
//! an address is believed once an ICE check from it has named one of our links.
//!
//! The one rule: who merely claims an address in a blob cannot take it from who has proved
//! it.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
};

use str0m::{
    ice::StunMessage,
    net::{Protocol, Receive},
};

/// Addresses one link may have proved. A peer that moves between more is not a peer.
const MAX_PROVED: usize = 8;

/// Source addresses and ufrags to slots.
#[derive(Default)]
pub(super) struct Routes {
    proved: HashMap<SocketAddr, usize>,
    claimed: HashMap<SocketAddr, usize>,
    ufrags: HashMap<String, usize>,
    addresses: HashMap<usize, Vec<SocketAddr>>,
}

impl Routes {
    /// Checks that name this ufrag are for the slot.
    pub(super) fn add_ufrag(&mut self, ufrag: &str, slot: usize) {
        self.ufrags.insert(ufrag.to_owned(), slot);
    }

    /// The link's blob named this address.
    pub(super) fn claim(&mut self, address: SocketAddr, slot: usize) {
        if let Entry::Vacant(free) = self.claimed.entry(address) {
            free.insert(slot);
            self.addresses.entry(slot).or_default().push(address);
        }
    }

    /// Whether the address has sent the link an ICE check, or answered one.
    pub(super) fn is_proved(&self, address: SocketAddr, slot: usize) -> bool {
        self.proved.get(&address) == Some(&slot)
    }

    /// The slot's link is gone.
    pub(super) fn forget(&mut self, ufrag: &str, slot: usize) {
        self.ufrags.remove(ufrag);
        for address in self.addresses.remove(&slot).unwrap_or_default() {
            for map in [&mut self.proved, &mut self.claimed] {
                if map.get(&address) == Some(&slot) {
                    map.remove(&address);
                }
            }
        }
    }

    /// The slot for a datagram; `accepts` asks the slot's link.
    pub(super) fn find(
        &mut self,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        accepts: impl Fn(usize, Receive<'_>) -> bool,
    ) -> Option<usize> {
        if super::stun::is_stun(bytes) {
            return self.find_check(source, local, bytes, accepts);
        }
        self.proved.get(&source).copied()
    }

    /// STUN: a request names our ufrag, a response comes from where we sent a check to.
    fn find_check(
        &mut self,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        accepts: impl Fn(usize, Receive<'_>) -> bool,
    ) -> Option<usize> {
        let message = StunMessage::parse(bytes).ok()?;
        let named = message
            .split_username()
            .and_then(|(ours, _)| self.ufrags.get(ours).copied());
        let slot = named
            .or_else(|| self.proved.get(&source).copied())
            .or_else(|| self.claimed.get(&source).copied())?;
        let receive = Receive::new(Protocol::Udp, source, local, bytes).ok()?;
        if !accepts(slot, receive) {
            return None;
        }
        self.prove(source, slot);
        Some(slot)
    }

    fn prove(&mut self, source: SocketAddr, slot: usize) {
        if self.proved.get(&source) == Some(&slot) {
            return;
        }
        let addresses = self.addresses.entry(slot).or_default();
        if !addresses.contains(&source) {
            if addresses.len() >= MAX_PROVED + super::blob::MAX_CANDIDATES {
                return;
            }
            addresses.push(source);
        }
        self.proved.insert(source, slot);
    }
}
