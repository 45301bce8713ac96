//! A reader's side: who lives, as it changes.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use proto::registry::{self as wire, ListRequest, registry_client::RegistryClient};
use tokio::sync::watch;
use tonic::{Status, transport::Channel};

use super::{Instance, LEASE, answer, jittered, request};

/// A newcomer is found, and one who died missed, about this much later.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// 4096 instances with all that they may say of themselves fit in.
const LIST_MAX: usize = 8 << 20;

/// The living instances of `role`, by id, as they change; those that drain are among them.
/// Empty until accounts first answers. It is asked as long as somebody holds a receiver.
/// Needs a tokio runtime.
#[must_use]
pub fn follow(accounts: Channel, role: &str) -> watch::Receiver<Vec<Instance>> {
    let registry = RegistryClient::new(accounts).max_decoding_message_size(LIST_MAX);
    follow_by(role, move |role| {
        let mut registry = registry.clone();
        async move {
            let message = request(ListRequest { role });
            let reply = answer(registry.list(message)).await?;
            Ok(reply.instances)
        }
    })
}

/// As [`follow`], for who has another way to the list than a call: what `list` answers for
/// the role is what the registry would.
#[must_use]
pub fn follow_by<L, A>(role: &str, list: L) -> watch::Receiver<Vec<Instance>>
where
    L: FnMut(String) -> A + Send + 'static,
    A: Future<Output = Result<Vec<wire::Instance>, Status>> + Send,
{
    let (told, living) = watch::channel(Vec::new());
    let role = role.to_owned();
    tokio::spawn(async move {
        tokio::select! {
            () = look(list, role, &told) => {}
            () = told.closed() => {}
        }
    });
    living
}

async fn look<L, A>(mut list: L, role: String, told: &watch::Sender<Vec<Instance>>)
where
    L: FnMut(String) -> A,
    A: Future<Output = Result<Vec<wire::Instance>, Status>>,
{
    let mut known = Known::default();
    loop {
        match list(role.clone()).await {
            Ok(listed) => {
                let listed = listed.into_iter().map(Instance::from);
                let living = known.heard(Instant::now(), listed.collect());
                told.send_if_modified(|told| {
                    let new = *told != living;
                    *told = living;
                    new
                });
            }
            Err(status) => {
                if known.silence() {
                    let code = status.code();
                    tracing::warn!(role, ?code, "the registry does not answer: going on");
                }
            }
        }
        tokio::time::sleep(jittered(LOOK_EVERY)).await;
    }
}

/// Who lives, as far as is known.
///
/// While the registry was away nobody could renew: when it is back it lists few, until all
/// have registered again. So for a lease's length after an outage nobody is given up.
#[derive(Default)]
struct Known {
    living: BTreeMap<String, Instance>,
    away: bool,
    patient_until: Option<Instant>,
}

impl Known {
    /// The registry did not answer; whether that is news.
    fn silence(&mut self) -> bool {
        !std::mem::replace(&mut self.away, true)
    }

    /// What it listed; who is to be taken for living.
    fn heard(&mut self, now: Instant, listed: Vec<Instance>) -> Vec<Instance> {
        if std::mem::take(&mut self.away) {
            self.patient_until = Some(now + LEASE);
        }
        if self.patient_until.is_none_or(|until| now >= until) {
            self.living.clear();
        }
        // Whoever answers at an address now is who is there.
        let taken: HashSet<&str> = listed.iter().map(|one| one.grpc.as_str()).collect();
        self.living
            .retain(|_, old| old.grpc.is_empty() || !taken.contains(old.grpc.as_str()));
        let listed = listed.into_iter().map(|one| (one.id.clone(), one));
        self.living.extend(listed);
        self.living.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Instance {
        Instance {
            id: format!("id-{address}"),
            role: "seeder".into(),
            grpc: address.into(),
            public_url: String::new(),
            udp: Vec::new(),
            capacity: 1,
            version: "1.2.3".into(),
            draining: false,
        }
    }

    #[test]
    fn who_is_not_listed_any_more_is_gone() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert_eq!(known.heard(now, vec![at("b"), at("a")]), [at("a"), at("b")]);
        assert_eq!(known.heard(now, vec![at("b")]), [at("b")]);
        assert_eq!(known.heard(now, vec![]), []);
    }

    #[test]
    fn after_an_outage_nobody_is_given_up_for_a_lease() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.heard(now, vec![at("a"), at("b")]);
        assert!(known.silence());
        assert!(!known.silence(), "told once");
        assert_eq!(known.heard(now, vec![]), [at("a"), at("b")]);
        let draining = Instance {
            draining: true,
            ..at("b")
        };
        let soon = now + LEASE - Duration::from_millis(1);
        let living = known.heard(soon, vec![draining.clone(), at("c")]);
        assert_eq!(living, [at("a"), draining.clone(), at("c")]);
        assert_eq!(known.heard(now + LEASE, vec![draining.clone()]), [draining]);
    }

    #[test]
    fn who_comes_back_at_the_same_address_is_not_there_twice() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.heard(now, vec![at("a")]);
        known.silence();
        let again = Instance {
            id: "other".into(),
            ..at("a")
        };
        assert_eq!(known.heard(now, vec![again.clone()]), [again]);
    }
}
