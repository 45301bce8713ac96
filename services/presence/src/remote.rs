//! In Redis. A connection that does not answer in time is dropped at once, for all who would
//! ask by it, and until there is another nobody waits: one task keeps it, nobody else connects.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, aio::MultiplexedConnection,
};
use tokio::{
    sync::watch,
    time::{error::Elapsed, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Away, NotAUrl, Rate, Store};

/// For an answer; what is left of [`crate::DEADLINE`] is for going on without.
const ANSWER_DEADLINE: Duration = Duration::from_millis(80);
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// One that nobody asks by is looked after too, so that the first who does need not wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// One key for each bucket, gone when it is full again. The server's clock counts.
const ALLOW: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local burst, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2]) / 1000
local bucket = redis.call('HMGET', KEYS[1], 'spent', 'at')
local since = math.max(0, now - tonumber(bucket[2] or now))
local spent = math.max(0, tonumber(bucket[1] or 0) - since * per_ms)
local allowed = spent + 1 <= burst
if allowed then spent = spent + 1 end
redis.call('HSET', KEYS[1], 'spent', spent, 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(spent / per_ms) + 1)
return allowed and 1 or 0";

/// A Redis, there or not. Dropped, it is let go.
pub struct Redis {
    link: Link,
    _keeping: DropGuard,
}

/// The connection while there is one that answers, and which one it is.
type Link = Arc<watch::Sender<Option<(u64, MultiplexedConnection)>>>;

impl Redis {
    /// One that may come later. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`NotAUrl`].
    pub fn open(url: &str) -> Result<Self, NotAUrl> {
        let client = Client::open(url).map_err(|_| NotAUrl)?;
        let link: Link = Arc::new(watch::Sender::new(None));
        let stop = CancellationToken::new();
        let keeping = stop.clone().drop_guard();
        let kept = link.clone();
        tokio::spawn(async move { stop.run_until_cancelled(keep(client, kept)).await });
        Ok(Self {
            link,
            _keeping: keeping,
        })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Away> {
        let current = self.link.borrow().clone();
        let (number, mut connection) = current.ok_or(Away)?;
        match timeout(ANSWER_DEADLINE, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => {
                give_up(&self.link, number);
                Err(Away)
            }
        }
    }
}

impl Store for Redis {
    async fn allow(&self, limit: &'static str, rate: Rate, whom: u128) -> Result<bool, Away> {
        Ok(self.ask::<i64>(&allow(limit, rate, whom)).await? == 1)
    }
}

fn allow(limit: &str, rate: Rate, whom: u128) -> Cmd {
    let mut command = redis::cmd("EVAL");
    let key = format!("livestation:rate:{limit}:{whom:032x}");
    command.arg(ALLOW).arg(1).arg(key);
    command.arg(rate.burst).arg(rate.per_second);
    command
}

/// Nobody asks by this connection any more; a later one stays.
fn give_up(link: &Link, number: u64) {
    link.send_if_modified(|current| {
        let this = current.as_ref().is_some_and(|(known, _)| *known == number);
        if this {
            *current = None;
        }
        this
    });
}

async fn keep(client: Client, link: Link) {
    // What was said last of it; each change is said once.
    let mut answers = None;
    for number in 0.. {
        match connect(&client).await {
            Ok(connection) => {
                if answers != Some(true) {
                    tracing::info!("Redis answers: instances count together");
                }
                answers = Some(true);
                link.send_replace(Some((number, connection.clone())));
                stay(&link, number, connection).await;
            }
            Err(error) => {
                if answers != Some(false) {
                    let why = error.map_or_else(|| "no answer".to_owned(), |it| it.to_string());
                    tracing::warn!(why, "Redis is away: each instance counts for itself");
                }
                answers = Some(false);
            }
        }
        sleep(RETRY_EVERY).await;
    }
}

/// Until it is given up, by whoever asks or here.
async fn stay(link: &Link, number: u64, mut connection: MultiplexedConnection) {
    let mut changes = link.subscribe();
    let lost = async {
        // The sender is ours.
        let _ = changes.wait_for(Option::is_none).await;
    };
    let look = async {
        loop {
            sleep(LOOK_EVERY).await;
            if probe(&mut connection).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = lost => {}
        () = look => give_up(link, number),
    }
}

/// The error of Redis, or none when it is silent.
async fn connect(client: &Client) -> Result<MultiplexedConnection, Option<RedisError>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(Some(ANSWER_DEADLINE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let connected = timeout(CONNECT_DEADLINE, connecting).await;
    let mut connection = told(connected)?;
    probe(&mut connection).await?;
    Ok(connection)
}

/// Whether it does what it is for, which one that is full, or may not write, does not.
async fn probe(connection: &mut MultiplexedConnection) -> Result<(), Option<RedisError>> {
    let rate = Rate {
        burst: 1e9,
        per_second: 1e9,
    };
    let command = allow("probe", rate, 0);
    told(timeout(ANSWER_DEADLINE, command.query_async(connection)).await)
}

fn told<T>(asked: Result<Result<T, RedisError>, Elapsed>) -> Result<T, Option<RedisError>> {
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Some(error)),
        Err(_) => Err(None),
    }
}
