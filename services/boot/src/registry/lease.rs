//! A member's side: registers, renews, registers again when it was forgotten, leaves.

use std::time::Duration;

use proto::registry::{
    DeregisterRequest, RegisterRequest, RenewRequest, registry_client::RegistryClient,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, transport::Channel};

use super::{Instance, RENEW_EVERY, RETRY_EVERY, answer, jittered, request};
use crate::grpc::Remote;

/// What the registry said last of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: accounts or its database is away. It is asked again within a second.
    Away,
    /// That it lives.
    Registered,
    /// That it may not: a field breaks a bound, the versions are too far apart, the certificate
    /// is for another role, the id is another role's, or there are too many; why.
    Refused(String),
}

/// A place in the registry, held as long as this lives. Dropped without [`Membership::leave`]
/// it is given up too, but nobody waits until that was heard.
#[derive(Debug)]
pub struct Membership {
    state: watch::Receiver<State>,
    draining: CancellationToken,
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Registers `instance` with `accounts`, by a connection of its own, and keeps it registered.
/// Needs a tokio runtime.
#[must_use]
pub fn register(accounts: Remote, instance: Instance) -> Membership {
    let (told, state) = watch::channel(State::Away);
    let draining = CancellationToken::new();
    let stop = CancellationToken::new();
    let member = Member {
        registry: RegistryClient::new(accounts.connect_lazy()),
        accounts,
        instance,
        told,
        registered: false,
    };
    let task = tokio::spawn(member.live(draining.clone(), stop.clone()));
    Membership {
        state,
        draining,
        stop: stop.drop_guard(),
        task,
    }
}

impl Membership {
    /// What the registry said last, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Says at once that the instance ends soon and is to be given nothing new. There is no
    /// way back.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Takes the instance out, within the deadline of a call.
    pub async fn leave(self) {
        drop(self.stop);
        // Fails only when the task panicked, and then the lease ends by itself.
        let _ = self.task.await;
    }
}

struct Member {
    accounts: Remote,
    registry: RegistryClient<Channel>,
    instance: Instance,
    told: watch::Sender<State>,
    registered: bool,
}

impl Member {
    async fn live(mut self, draining: CancellationToken, stop: CancellationToken) {
        loop {
            self.instance.draining = draining.is_cancelled();
            let pause = tokio::select! {
                pause = self.ask() => pause,
                () = stop.cancelled() => break,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = draining.cancelled(), if !self.instance.draining => {}
                () = stop.cancelled() => break,
            }
        }
        self.leave().await;
    }

    /// Asks once; how long to wait for the next time.
    async fn ask(&mut self) -> Duration {
        let told = match self.registered {
            true => self.renew().await,
            false => self.enter().await,
        };
        match told {
            Ok(()) => {
                self.registered = true;
                self.tell(State::Registered);
                jittered(RENEW_EVERY)
            }
            Err(status) => {
                let refused = matches!(
                    status.code(),
                    Code::FailedPrecondition
                        | Code::InvalidArgument
                        | Code::PermissionDenied
                        | Code::ResourceExhausted
                );
                if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) {
                    // Who does not answer here may, or another one, by a new connection.
                    self.registry = RegistryClient::new(self.accounts.connect_lazy());
                }
                self.tell(match refused {
                    true => State::Refused(status.message().to_owned()),
                    false => State::Away,
                });
                jittered(if refused { RENEW_EVERY } else { RETRY_EVERY })
            }
        }
    }

    /// A lease that had ended begins anew.
    async fn renew(&mut self) -> Result<(), Status> {
        let message = request(RenewRequest {
            id: self.instance.id.clone(),
            draining: self.instance.draining,
        });
        match answer(self.registry.renew(message)).await {
            Err(status) if status.code() == Code::NotFound => {
                self.registered = false;
                self.enter().await
            }
            renewed => renewed.map(|_| ()),
        }
    }

    async fn enter(&mut self) -> Result<(), Status> {
        let message = request(RegisterRequest {
            instance: Some(self.instance.to_wire()),
        });
        answer(self.registry.register(message)).await.map(|_| ())
    }

    /// Also when no answer came to what may have been registered.
    async fn leave(mut self) {
        let message = request(DeregisterRequest {
            id: self.instance.id,
        });
        if let Err(status) = answer(self.registry.deregister(message)).await {
            tracing::debug!(code = ?status.code(), "the registry did not hear the farewell");
        }
    }

    /// Says what is new, once.
    fn tell(&self, state: State) {
        let role = &self.instance.role;
        let new = self.told.send_if_modified(|told| {
            let new = *told != state;
            *told = state.clone();
            new
        });
        match state {
            State::Registered if new => tracing::info!(role, "registered"),
            State::Refused(why) if new => tracing::error!(role, why, "not registered"),
            State::Away if new => {
                tracing::warn!(role, "the registry does not answer: going on, trying again");
            }
            _ => {}
        }
    }
}
