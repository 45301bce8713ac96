//! The registry of running instances, as its members and its readers see it. Every service
//! that may be several registers here and finds the others; accounts serves it
//! (`registry.proto` says what each call means).
//!
//! The one rule: while accounts or its database is away, everybody goes on with what was last
//! known; nobody ends because of it.

mod lease;
mod listing;
mod services;

use std::{net::SocketAddr, time::Duration};

use proto::registry as wire;
use tonic::{Request, Response, Status};

use crate::{grpc::CALL_DEADLINE, version::VERSION};

pub use lease::{Membership, State, register};
pub use listing::{follow, follow_by};
pub use services::{Service, Services};

/// How long an instance lives without renewing: three renewals, of which one may be lost and
/// one late.
pub const LEASE: Duration = Duration::from_secs(6);

/// A renewal is due this long after the last at the latest.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Who is about to end is given nothing new from so long after it has said so: a look at the
/// list, and what that takes.
pub const NOTICE: Duration = Duration::from_millis(1500);

/// How long after no answer the next try comes at the latest.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What is done every so often by many is done up to this part earlier, by chance, so that
/// they do not all come at once after an outage.
const JITTER: f64 = 0.2;

/// A running instance of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// 16 random bytes in hex.
    pub id: String,
    /// 1 to 16 of a-z: `seeder`, `tracker`, …
    pub role: String,
    /// Where other services call it, `http://host:port`, at most 255 bytes; empty of one that
    /// nobody calls.
    pub grpc: String,
    /// Where viewers reach it, `https://host`, at most 255 bytes; empty without.
    pub public_url: String,
    /// Where viewers reach its UDP socket, at most 8.
    pub udp: Vec<SocketAddr>,
    /// How much it can carry, in what its role counts; below 2^63.
    pub capacity: u64,
    /// The program's version.
    pub version: String,
    /// It ends soon and is to be given nothing new.
    pub draining: bool,
}

impl Instance {
    /// One of this program, with an id of its own; what else it has is to be filled in.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(role: &str, grpc: &str) -> Result<Self, getrandom::Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self {
            id: hex::encode(id),
            role: role.to_owned(),
            grpc: grpc.to_owned(),
            public_url: String::new(),
            udp: Vec::new(),
            capacity: 0,
            version: VERSION.to_owned(),
            draining: false,
        })
    }

    fn to_wire(&self) -> wire::Instance {
        wire::Instance {
            id: self.id.clone(),
            role: self.role.clone(),
            grpc: self.grpc.clone(),
            public_url: self.public_url.clone(),
            udp: self.udp.iter().map(SocketAddr::to_string).collect(),
            capacity: self.capacity,
            version: self.version.clone(),
            draining: self.draining,
        }
    }
}

impl From<wire::Instance> for Instance {
    /// An address that cannot be read, as a later release might have, is left out.
    fn from(wire: wire::Instance) -> Self {
        let udp = wire.udp.iter().filter_map(|text| text.parse().ok());
        Self {
            udp: udp.collect(),
            id: wire.id,
            role: wire.role,
            grpc: wire.grpc,
            public_url: wire.public_url,
            capacity: wire.capacity,
            version: wire.version,
            draining: wire.draining,
        }
    }
}

/// A message that says how long its sender waits.
fn request<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// What is answered to a call within its deadline.
async fn answer<R>(call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, Status> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// A little less than `period`, by chance.
fn jittered(period: Duration) -> Duration {
    // Without randomness all come at once, which costs little.
    let chance = getrandom::u32().unwrap_or(0);
    period.mul_f64(1.0 - JITTER * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_an_id_of_its_own() -> anyhow::Result<()> {
        let [one, other] = [Instance::new("seeder", "a")?, Instance::new("seeder", "a")?];
        assert_ne!(one.id, other.id);
        assert_eq!(one.id.len(), 32);
        Ok(())
    }

    #[test]
    fn renewals_are_spread_and_never_late() {
        let waits: Vec<Duration> = (0..1000).map(|_| jittered(RENEW_EVERY)).collect();
        let least = RENEW_EVERY.mul_f64(1.0 - JITTER);
        assert!(
            waits
                .iter()
                .all(|wait| (least..=RENEW_EVERY).contains(wait))
        );
        let early = waits
            .iter()
            .filter(|wait| **wait < RENEW_EVERY.mul_f64(0.9));
        assert!((300..700).contains(&early.count()));
    }
}
