//! A broadcast's feeds: one for each seeder, as seeders come and go.
//!
//! The one rule: a seeder is fed as long as it is known, and from when it is known; that one
//! comes or goes is nothing to the others.

use std::{collections::BTreeMap, sync::Arc};

use boot::{registry::Service, traces::Origin};
use proto::seeder::{Generation, Open};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    feed::{Feed, remote},
    registry::Shared,
};

/// The feeds.
pub(crate) struct Feeds {
    open: Open,
    /// Everything sealed.
    ring: broadcast::Sender<Generation>,
    fed: BTreeMap<String, DropGuard>,
    superseded: CancellationToken,
    /// What the broadcast began with, in its broadcaster's trace.
    origin: Origin,
}

impl Feeds {
    /// None yet: [`Feeds::renew`] begins them.
    pub(crate) fn new(open: Open, ring: broadcast::Sender<Generation>, origin: Origin) -> Self {
        Self {
            open,
            ring,
            fed: BTreeMap::new(),
            superseded: CancellationToken::new(),
            origin,
        }
    }

    /// Cancelled when a seeder knows of a later epoch.
    pub(crate) fn superseded(&self) -> CancellationToken {
        self.superseded.clone()
    }

    /// Feeds those that are known now. Who drains keeps its feed and begins none; who is not
    /// known any more is given up.
    pub(crate) fn renew(&mut self, known: &[Service], shared: &Arc<Shared>) {
        self.fed
            .retain(|url, _| known.iter().any(|one| one.grpc == *url));
        for seeder in known {
            if seeder.draining || self.fed.contains_key(&seeder.grpc) {
                continue;
            }
            let Ok(remote) = remote(&seeder.grpc, &shared.config.tls) else {
                continue;
            };
            let given_up = CancellationToken::new();
            let open = (self.open.clone(), self.origin.clone());
            let feed = Feed::new(open, self.ring.subscribe());
            let fed = feed.run(remote, self.superseded.clone());
            let until = given_up.clone();
            shared.tasks.spawn(async move {
                tokio::select! {
                    () = fed => {}
                    () = until.cancelled() => {}
                }
            });
            self.fed.insert(seeder.grpc.clone(), given_up.drop_guard());
        }
        // Seeders that come later begin in the middle.
        self.origin = Origin::default();
    }

    /// Lets the feeds run to their ends: they give what is left, and no others begin.
    pub(crate) fn release(self) {
        for (_, guard) in self.fed {
            guard.disarm();
        }
    }
}
