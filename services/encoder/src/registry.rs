//! Which channels are open. The only place where two sessions of one channel meet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use boot::registry::Services;
use proto::{access::Role, accounts::accounts_client::AccountsClient};
use stripe::ChannelId;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel as Transport;

use crate::{
    Config, Error,
    channel::{self, Channel, Publish},
};

/// The open channels, shared by every call.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

/// What every channel needs.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) accounts: AccountsClient<Transport>,
    pub(crate) seeders: Services,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    open: Mutex<BTreeMap<ChannelId, mpsc::Sender<Publish>>>,
}

/// Sessions that may knock at a channel at once.
const KNOCKING: usize = 4;
/// Certifying an epoch takes at most 2 s.
const OPENED: Duration = Duration::from_secs(4);

impl Registry {
    pub(crate) fn new(config: Config, shutdown: CancellationToken) -> Result<Self, Error> {
        let (accounts, tls) = (&config.accounts, &config.tls);
        let accounts = boot::grpc::connect_lazy(accounts, Role::Accounts, tls)?;
        let seeders = Services::find(&config.seeders, Role::Seeder, tls, accounts.clone())?;
        Ok(Self(Arc::new(Shared {
            accounts: AccountsClient::new(accounts),
            seeders,
            config,
            shutdown,
            tasks: TaskTracker::new(),
            open: Mutex::new(BTreeMap::new()),
        })))
    }

    /// Brings a session to its channel, which is opened if need be. Says where the
    /// session's timeline starts.
    pub(crate) async fn publish(
        &self,
        about: &channel::About,
        mut inputs: channel::Inputs,
        after_epoch: u64,
    ) -> Result<channel::Opened, Error> {
        // A channel may close between being found and being asked: then it is opened anew.
        for _ in 0..3 {
            let (reply, answer) = oneshot::channel();
            let publish = Publish {
                inputs,
                after_epoch,
                reply,
            };
            match self.find_or_open(about).try_send(publish) {
                Ok(()) => {
                    let answer = timeout(OPENED, answer).await;
                    return answer
                        .map_err(|_| Error::Unavailable)?
                        .map_err(|_| Error::Unavailable)?;
                }
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Error::Unavailable),
                Err(mpsc::error::TrySendError::Closed(publish)) => inputs = publish.inputs,
            }
        }
        Err(Error::Unavailable)
    }

    /// Runs a session's task, so that stopping waits for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// Waits until every task has ended.
    pub(crate) async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn find_or_open(&self, about: &channel::About) -> mpsc::Sender<Publish> {
        let mut open = self.0.lock();
        if let Some(sender) = open.get(&about.id).filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let (sender, publishes) = mpsc::channel(KNOCKING);
        open.insert(about.id, sender.clone());
        let channel = Channel::new(self.0.clone(), about.clone(), publishes);
        self.0.tasks.spawn(channel.run());
        sender
    }
}

impl Shared {
    /// Closes a channel, unless a session has just knocked: then that is its answer.
    pub(crate) fn close(
        &self,
        id: ChannelId,
        publishes: &mut mpsc::Receiver<Publish>,
    ) -> Option<Publish> {
        let mut open = self.lock();
        if let Ok(publish) = publishes.try_recv() {
            return Some(publish);
        }
        publishes.close();
        open.remove(&id);
        None
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, mpsc::Sender<Publish>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
