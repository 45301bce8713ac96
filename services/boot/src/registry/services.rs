//! Whom to call: services named by the operator, or those that the registry lists.
//!
//! The one rule: all that look for the same key among the same services try them in the same
//! order, so that what belongs together meets at one of them without asking anybody.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::access::Role;
use tokio::sync::watch;
use tonic::transport::{Channel, Error};

use super::Instance;
use crate::{grpc, tls::Tls};

/// The services of one role, wherever they are. Clones know the same ones.
#[derive(Clone, Debug)]
pub struct Services {
    role: Role,
    tls: Tls,
    source: Source,
    connected: Arc<Mutex<Connected>>,
}

/// A service to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where its gRPC answers.
    pub grpc: String,
    /// Where viewers reach it; empty without, and of one that the operator named.
    pub public_url: String,
    /// It ends soon: what it has stays until then, and nothing new comes.
    pub draining: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Named(Vec<Service>),
    Listed(watch::Receiver<Vec<Instance>>),
}

#[derive(Debug, Default)]
struct Connected {
    channels: HashMap<String, Channel>,
    /// Addresses that this process does not call; said once.
    refused: HashSet<String>,
}

impl Services {
    /// Those at these URLs and no others.
    ///
    /// # Errors
    /// When one of them is no URL.
    pub fn named(urls: &[String], role: Role, tls: &Tls) -> Result<Self, Error> {
        let named = |url: &String| Service {
            grpc: url.clone(),
            public_url: String::new(),
            draining: false,
        };
        let services = Self::new(Source::Named(urls.iter().map(named).collect()), role, tls);
        for url in urls {
            services.connect(url)?;
        }
        Ok(services)
    }

    /// Those that are listed, as [`super::follow`] knows them.
    #[must_use]
    pub fn listed(living: watch::Receiver<Vec<Instance>>, role: Role, tls: &Tls) -> Self {
        Self::new(Source::Listed(living), role, tls)
    }

    /// Those at `urls`, or those of whom accounts at `registry` knows when there are none.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When one of them is no URL.
    pub fn find(urls: &[String], role: Role, tls: &Tls, registry: Channel) -> Result<Self, Error> {
        match urls.is_empty() {
            true => Ok(Self::listed(
                super::follow(registry, role.name()),
                role,
                tls,
            )),
            false => Self::named(urls, role, tls),
        }
    }

    fn new(source: Source, role: Role, tls: &Tls) -> Self {
        Self {
            role,
            tls: tls.clone(),
            source,
            connected: Arc::default(),
        }
    }

    /// All that are known now; those that drain too, marked.
    #[must_use]
    pub fn all(&self) -> Vec<Service> {
        match &self.source {
            Source::Named(services) => services.clone(),
            Source::Listed(living) => {
                let living = living.borrow().clone();
                let living = living.into_iter().map(|one| Service {
                    grpc: one.grpc,
                    public_url: one.public_url,
                    draining: one.draining,
                });
                living.filter(|one| self.may_call(&one.grpc)).collect()
            }
        }
    }

    /// Who takes what is new of this key: the first, and who follows when it does not answer.
    /// As long as the same ones live, the order is the same for everybody; when one comes or
    /// goes, few keys have another first.
    #[must_use]
    pub fn ranked(&self, key: &[u8]) -> Vec<Service> {
        let mut fit = self.all();
        fit.retain(|one| !one.draining);
        fit.sort_by_cached_key(|one| (std::cmp::Reverse(rank(key, &one.grpc)), one.grpc.clone()));
        fit
    }

    /// A channel to one of them, that connects when it is used.
    ///
    /// # Errors
    /// When `url` is none.
    pub fn connect(&self, url: &str) -> Result<Channel, Error> {
        let mut connected = self.connected();
        if let Some(channel) = connected.channels.get(url) {
            return Ok(channel.clone());
        }
        let channel = grpc::connect_lazy(url, self.role, &self.tls)?;
        // What is not listed any more is not called any more.
        if let Source::Listed(living) = &self.source {
            let living = living.borrow();
            connected
                .channels
                .retain(|known, _| living.iter().any(|one| one.grpc == *known));
        }
        connected.channels.insert(url.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Resolves when others are known than when it last did; never, when they are named.
    /// Safe to be dropped and called again.
    pub async fn changed(&mut self) {
        if let Source::Listed(living) = &mut self.source
            && living.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// The registry's word does not make us speak plain text where our own flags do not.
    fn may_call(&self, url: &str) -> bool {
        let Err(error) = self.tls.may_call(url) else {
            return true;
        };
        if self.connected().refused.insert(url.to_owned()) {
            tracing::warn!(role = %self.role, url, %error, "a registered service is not called");
        }
        false
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        // Nothing in here panics halfway through a change.
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rendezvous hashing: who has the highest rank for a key has the key. FNV-1a, and the
/// finalizer of SplitMix64 for its weak upper bits: the same in every release and on every
/// machine, which the standard library's hashers do not promise.
fn rank(key: &[u8], url: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = key.iter().chain(&[0]).chain(url.as_bytes());
    let mut hash = bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: &str) -> Instance {
        Instance {
            id: format!("id of {place}"),
            role: "encoder".into(),
            grpc: format!("http://{place}"),
            public_url: String::new(),
            udp: Vec::new(),
            capacity: 1,
            version: "1.2.3".into(),
            draining: false,
        }
    }

    fn listed(living: Vec<Instance>) -> (watch::Sender<Vec<Instance>>, Services) {
        let (told, living) = watch::channel(living);
        let services = Services::listed(living, Role::Encoder, &Tls::default());
        (told, services)
    }

    fn urls(services: &[Service]) -> Vec<&str> {
        services.iter().map(|one| one.grpc.as_str()).collect()
    }

    #[tokio::test]
    async fn everybody_has_the_same_order_and_few_keys_move() -> anyhow::Result<()> {
        let [a, b, c] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(at);
        let (_told, here) = listed(vec![a.clone(), b.clone(), c.clone()]);
        let (_other, there) = listed(vec![c, a, b]);
        let mut firsts = HashMap::<String, u32>::new();
        for key in 0..300_u32 {
            let key = key.to_be_bytes();
            let order = here.ranked(&key);
            assert_eq!(order, there.ranked(&key));
            let (_without, less) = listed(
                order[1..]
                    .iter()
                    .map(|one| at(&one.grpc["http://".len()..]))
                    .collect(),
            );
            assert_eq!(less.ranked(&key), order[1..], "who follows takes over");
            *firsts.entry(order[0].grpc.clone()).or_default() += 1;
        }
        assert_eq!(firsts.len(), 3);
        assert!(firsts.values().all(|share| *share > 60), "{firsts:?}");
        Ok(())
    }

    #[tokio::test]
    async fn who_drains_is_known_and_gets_nothing_new() {
        let [a, mut b] = ["127.0.0.1:1", "127.0.0.1:2"].map(at);
        b.draining = true;
        let (_told, services) = listed(vec![a, b]);
        assert_eq!(services.all().len(), 2);
        assert_eq!(urls(&services.ranked(b"any")), ["http://127.0.0.1:1"]);
    }

    #[tokio::test]
    async fn the_registry_cannot_lead_to_plain_text_elsewhere() {
        let (_told, services) = listed(vec![at("192.0.2.1:1"), at("127.0.0.1:1")]);
        assert_eq!(urls(&services.all()), ["http://127.0.0.1:1"]);
        let secret = Instance {
            grpc: "https://127.0.0.1:2".into(),
            ..at("")
        };
        let (_told, services) = listed(vec![secret]);
        assert_eq!(services.all(), []);
    }

    #[tokio::test]
    async fn who_is_named_is_all_there_is() {
        let named = ["http://127.0.0.1:2".to_owned()];
        let mut services = Services::named(&named, Role::Encoder, &Tls::default()).unwrap();
        assert_eq!(urls(&services.ranked(b"any")), ["http://127.0.0.1:2"]);
        let soon = std::time::Duration::from_millis(10);
        assert!(
            tokio::time::timeout(soon, services.changed())
                .await
                .is_err()
        );
        assert!(Services::named(&["no url".to_owned()], Role::Encoder, &Tls::default()).is_err());
    }

    #[tokio::test]
    async fn channels_of_who_is_gone_are_not_kept() {
        let (told, services) = listed(vec![at("127.0.0.1:1")]);
        services.connect("http://127.0.0.1:1").unwrap();
        told.send_replace(vec![at("127.0.0.1:2")]);
        services.connect("http://127.0.0.1:2").unwrap();
        assert_eq!(services.connected().channels.len(), 1);
    }
}
