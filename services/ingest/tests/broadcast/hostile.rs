//! Strangers who mean harm, or are merely broken.

use std::time::{Duration, Instant};

use anyhow::Result;
use stripe::Flags;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::stage::{KEY, Stage, USUAL, in_real_time, raw};

/// Sends bytes, then waits for the server to close; says how long that took.
async fn closed_after(stage: &Stage, bytes: &[u8]) -> Result<Duration> {
    let started = Instant::now();
    let mut socket = TcpStream::connect(stage.rtmp).await?;
    // The server may close while we still send.
    let _ = socket.write_all(bytes).await;
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await?;
    Ok(started.elapsed())
}

async fn stage() -> Result<Stage> {
    Stage::new(Duration::from_secs(60)).await
}

#[tokio::test]
async fn garbage_is_closed_at_once() -> Result<()> {
    let stage = stage().await?;
    assert!(closed_after(&stage, &[0x47; 5000]).await? < Duration::from_secs(1));
    let mut garbled = raw::handshake();
    garbled.extend([0xff; 4000]);
    assert!(closed_after(&stage, &garbled).await? < Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn silence_and_half_a_handshake_are_closed_within_5_s() -> Result<()> {
    let stage = stage().await?;
    let whole = raw::handshake();
    let waits = tokio::join!(
        closed_after(&stage, &[]),
        closed_after(&stage, &whole[..700]),
        closed_after(&stage, &whole),
    );
    for wait in [waits.0?, waits.1?, waits.2?] {
        assert!(wait < Duration::from_millis(5500), "{wait:?}");
        assert!(wait > Duration::from_millis(4500), "{wait:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_huge_declared_length_is_closed_at_once() -> Result<()> {
    let stage = stage().await?;
    let mut bytes = raw::handshake();
    bytes.extend([3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0]);
    assert!(closed_after(&stage, &bytes).await? < Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn unfinished_messages_before_authentication_are_bounded() -> Result<()> {
    let stage = stage().await?;
    let mut bytes = raw::handshake();
    for id in 3..40 {
        // 64,000 bytes announced, the first chunk of 128 sent.
        bytes.extend([id, 0, 0, 0, 0, 0xfa, 0, 20, 0, 0, 0, 0]);
        bytes.extend([0; 128]);
    }
    assert!(closed_after(&stage, &bytes).await? < Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn an_idle_broadcaster_is_closed_and_the_broadcast_pauses() -> Result<()> {
    let limits = ingest::Limits {
        idle: Duration::from_secs(1),
        ..ingest::Limits::default()
    };
    let stage = Stage::with_limits(Duration::from_secs(60), limits).await?;
    let mut client = raw::Client::connect(stage.rtmp).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    let said = client.until_closed(Duration::from_secs(4)).await?;
    assert!(said.contains("NetStream.Publish.Idle"), "{said}");
    Ok(())
}

#[tokio::test]
async fn chunks_of_one_byte_are_read_all_the_same() -> Result<()> {
    let stage = stage().await?;
    let mut client = raw::Client::connect(stage.rtmp).await?;
    client.set_chunk_len(1).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    Ok(())
}

#[tokio::test]
async fn strangers_of_one_address_are_turned_away_beyond_the_cap() -> Result<()> {
    let stage = stage().await?;
    let mut sockets = Vec::new();
    for _ in 0..32 {
        sockets.push(TcpStream::connect(stage.rtmp).await?);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(closed_after(&stage, &[]).await? < Duration::from_secs(1));
    drop(sockets);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let accepted = raw::Client::connect(stage.rtmp).await?.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    Ok(())
}

#[tokio::test]
async fn a_broadcast_goes_on_while_others_do_their_worst() -> Result<()> {
    let stage = stage().await?;
    let url = stage.publish_url(KEY);
    let mut pushing = in_real_time(4.0, USUAL, &["-f", "flv", &url]).spawn()?;
    stage
        .until("the first generation", |g| !g.is_empty())
        .await?;
    for round in 0..20 {
        let mut bytes = raw::handshake();
        bytes.extend(vec![round * 7; 3000]);
        closed_after(&stage, &bytes[usize::from(round)..])
            .await
            .ok();
        if round % 5 == 0 {
            let _idle = TcpStream::connect(stage.rtmp).await?;
        }
        if pushing.try_wait()?.is_some() {
            break;
        }
    }
    assert!(pushing.wait().await?.success());
    let paused = |g: &[crate::stage::Generation]| g.last().is_some_and(|g| g.has(Flags::PAUSE));
    let generations = stage.until("the pause", paused).await?;
    let us: u64 = generations.last().map_or(0, |g| g.meta.media_time_us);
    assert!(us > 3_500_000, "{us}");
    Ok(())
}
