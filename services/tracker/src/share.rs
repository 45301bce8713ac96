//! Lets go of the channels that other trackers have.
//!
//! The one rule: a swarm is let go only to somebody: while no other tracker is known it stays.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Share, registry::Registry, swarm::Moved};

/// Who comes with a ticket that was issued before a channel moved is found within this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks whenever trackers come or go, until `shutdown`.
pub(crate) async fn keep(mut share: Share, swarms: Arc<Registry>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = share.trackers.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for (key, swarm) in swarms.all() {
            if share.is_of_another(&key) {
                // One that is gone has nobody to send away.
                swarm.do_send(Moved);
            }
        }
    }
}

impl Share {
    fn is_of_another(&self, channel: &[u8]) -> bool {
        let ranked = self.trackers.ranked(channel);
        ranked.first().is_some_and(|first| first.grpc != self.own)
    }
}

#[cfg(test)]
mod tests {
    use boot::registry::{Instance, Services};
    use proto::access::Role;
    use tokio::sync::watch;

    use super::*;

    fn tracker(port: u16) -> Instance {
        let url = format!("http://127.0.0.1:{port}");
        Instance::new("tracker", &url).expect("randomness")
    }

    #[tokio::test]
    async fn a_channel_is_of_one_tracker_and_of_the_last_that_is_there() {
        let [one, other] = [tracker(1), tracker(2)];
        let (told, living) = watch::channel(Vec::new());
        let share = |own: &Instance| Share {
            trackers: Services::listed(living.clone(), Role::Tracker, &Default::default()),
            own: own.grpc.clone(),
        };
        let (here, there) = (share(&one), share(&other));
        let lost = |share: &Share| {
            (0..100_u8)
                .filter(|key| share.is_of_another(&[*key]))
                .count()
        };
        assert_eq!(lost(&here), 0, "nobody else is known");
        told.send_replace(vec![one.clone(), other.clone()]);
        assert_eq!(lost(&here) + lost(&there), 100);
        assert!(lost(&here) > 20 && lost(&there) > 20);
        let leaving = Instance {
            draining: true,
            ..one
        };
        told.send_replace(vec![leaving.clone(), other]);
        assert_eq!((lost(&here), lost(&there)), (100, 0));
        told.send_replace(vec![leaving]);
        assert_eq!(lost(&here), 0, "there is nobody to let go to");
    }
}
