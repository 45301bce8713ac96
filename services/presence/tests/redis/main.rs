//! What is shared by a real Redis, which dies, freezes and comes back meanwhile.

mod server;

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Result;
use presence::{DEADLINE, NotAUrl, Presence, Rate};
use redis::aio::MultiplexedConnection;
use tracing_subscriber::fmt::MakeWriter;

use server::Server;

/// What a test that has to wait for it would notice, and no more comes back meanwhile.
const RATE: Rate = Rate {
    burst: 10.0,
    per_second: 0.001,
};
/// What the scheduler of a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(50);
/// By when all is again as it was.
const REBUILT: Duration = Duration::from_secs(15);

/// How many of so many are allowed; every answer in time.
async fn granted(presence: &Presence, limit: &'static str, whom: u128, asked: usize) -> usize {
    let mut granted = 0;
    for _ in 0..asked {
        let began = Instant::now();
        granted += usize::from(presence.allow(limit, RATE, whom).await);
        let took = began.elapsed();
        assert!(took < DEADLINE + SLACK, "{took:?}");
    }
    granted
}

/// Waits until two count together: what one spends, the other lacks.
async fn count_together(one: &Presence, other: &Presence, first: u128) -> Result<()> {
    let began = Instant::now();
    for whom in first.. {
        // Whom nobody has counted yet.
        let all =
            granted(one, "together", whom, 7).await + granted(other, "together", whom, 7).await;
        if all == 10 {
            break;
        }
        anyhow::ensure!(began.elapsed() < REBUILT, "they count apart");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn instances_count_together() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    count_together(&one, &other, 0).await?;
    assert_eq!(granted(&one, "a", 1, 6).await, 6);
    assert_eq!(granted(&other, "a", 1, 6).await, 4);
    assert_eq!(granted(&other, "a", 2, 20).await, 10, "another one");
    assert_eq!(granted(&other, "b", 1, 20).await, 10, "another limit");
    // What comes back comes back to both.
    let quick = Rate {
        burst: 2.0,
        per_second: 10.0,
    };
    let mut allowed = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        for instance in [&one, &other] {
            allowed += u32::from(instance.allow("quick", quick, 1).await);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((20..=23).contains(&allowed), "{allowed}");
    Ok(())
}

#[tokio::test]
async fn nothing_stays_in_it_for_longer_than_it_means_something() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    count_together(&one, &other, 0).await?;
    let quick = Rate {
        burst: 5.0,
        per_second: 10.0,
    };
    assert!(one.allow("quick", quick, 1).await);
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    assert_eq!(keys(&mut connection).await?.len(), 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(keys(&mut connection).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn one_that_is_killed_is_done_without_and_used_again() -> Result<()> {
    let Some(mut server) = Server::start()? else {
        return Ok(());
    };
    let log = Log::start();
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    count_together(&one, &other, 0).await?;
    assert_eq!(granted(&one, "a", 1, 20).await, 10);
    server.kill()?;
    // Each for itself, from the first call on.
    assert_eq!(granted(&one, "a", 1, 20).await, 10);
    assert_eq!(granted(&other, "a", 1, 20).await, 10);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(granted(&one, "a", 1, 200).await, 0);
    // Once by each.
    assert_eq!(log.lines("Redis is away"), 2);
    server.restart()?;
    count_together(&one, &other, 1000).await?;
    assert_eq!(log.lines("Redis answers"), 4);
    Ok(())
}

#[tokio::test]
async fn one_that_freezes_holds_nobody_up() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    count_together(&one, &other, 0).await?;
    server.signal("STOP")?;
    let began = Instant::now();
    assert_eq!(granted(&one, "a", 1, 200).await, 10);
    // The first waited for it, the others did not.
    assert!(began.elapsed() < 2 * DEADLINE, "{:?}", began.elapsed());
    server.signal("CONT")?;
    count_together(&one, &other, 1000).await
}

#[tokio::test]
async fn one_that_is_full_is_done_without() -> Result<()> {
    let Some(server) = Server::start()? else {
        return Ok(());
    };
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    count_together(&one, &other, 0).await?;
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg(1);
    set.query_async::<()>(&mut connection).await?;
    assert_eq!(granted(&one, "a", 1, 20).await, 10);
    assert_eq!(granted(&other, "a", 1, 20).await, 10);
    Ok(())
}

#[tokio::test]
async fn one_that_is_not_there_yet_keeps_nobody_from_starting() -> Result<()> {
    let Some(mut server) = Server::start()? else {
        return Ok(());
    };
    server.kill()?;
    let [one, other] = [
        Presence::shared(&server.url())?,
        Presence::shared(&server.url())?,
    ];
    assert_eq!(granted(&one, "a", 1, 20).await, 10);
    server.restart()?;
    count_together(&one, &other, 0).await
}

#[tokio::test]
async fn what_is_no_url_is_not_repeated() {
    for wrong in ["", "redis", "http://127.0.0.1:6379", "redis://:hush@"] {
        let refused = Presence::shared(wrong).err();
        assert_eq!(refused, Some(NotAUrl), "{wrong}");
        assert!(!NotAUrl.to_string().contains("hush"));
    }
}

async fn keys(connection: &mut MultiplexedConnection) -> Result<Vec<String>> {
    let mut command = redis::cmd("KEYS");
    command.arg("livestation:rate:quick:*");
    Ok(command.query_async(connection).await?)
}

/// What is logged on this thread while it lives. Tests of one thread log all there.
struct Log {
    written: Written,
    _scope: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> Self {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(written.clone())
            .with_ansi(false)
            .finish();
        Self {
            written,
            _scope: tracing::subscriber::set_default(subscriber),
        }
    }

    fn lines(&self, words: &str) -> usize {
        let written = self.written.0.lock().expect("no panic");
        let text = String::from_utf8_lossy(&written);
        text.lines().filter(|line| line.contains(words)).count()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
