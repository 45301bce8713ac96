//! Who may not publish is told why.

use std::time::Duration;

use anyhow::Result;
use stripe::Flags;
use tokio::time::timeout;

use crate::stage::{KEY, KeyState, Stage, USUAL, ffmpeg, in_real_time, raw::Client};

async fn stage() -> Result<Stage> {
    Stage::new(Duration::from_secs(60)).await
}

/// What ffmpeg says when it may not push what it wants to.
async fn push_and_fail(stage: &Stage, key: &str, codecs: &[&str]) -> Result<String> {
    let url = stage.publish_url(key);
    let mut pushing = ffmpeg(60.0, codecs, &["-f", "flv", &url]);
    let output = timeout(Duration::from_secs(10), pushing.output()).await??;
    assert!(!output.status.success());
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_a_description() -> Result<()> {
    let stage = stage().await?;
    let said = push_and_fail(&stage, "not-the-key", USUAL).await?;
    assert!(said.contains("unknown stream key"), "{said}");
    assert!(stage.generations().is_empty());
    Ok(())
}

#[tokio::test]
async fn after_five_wrong_keys_accounts_is_not_asked_any_more() -> Result<()> {
    let stage = stage().await?;
    for _ in 0..5 {
        let refusal = Client::connect(stage.rtmp).await?.publish("guess").await?;
        assert!(refusal.contains("unknown stream key"), "{refusal}");
    }
    let refusal = Client::connect(stage.rtmp).await?.publish(KEY).await?;
    assert!(refusal.contains("too many wrong stream keys"), "{refusal}");
    assert_eq!(*stage.authorizations.lock().unwrap(), 5);
    Ok(())
}

#[tokio::test]
async fn a_second_publisher_is_refused_and_the_first_goes_on() -> Result<()> {
    let stage = stage().await?;
    let url = stage.publish_url(KEY);
    let mut first = in_real_time(8.0, USUAL, &["-f", "flv", &url]).spawn()?;
    stage
        .until("the first generation", |g| !g.is_empty())
        .await?;
    let said = push_and_fail(&stage, KEY, USUAL).await?;
    assert!(said.contains("channel is already live"), "{said}");
    let before = stage.generations().len();
    stage
        .until("more of the first", |g| g.len() > before + 5)
        .await?;
    assert!(stage.generations().iter().all(|g| !g.has(Flags::PAUSE)));
    first.kill().await?;
    Ok(())
}

#[tokio::test]
async fn an_unsupported_codec_is_named() -> Result<()> {
    let stage = stage().await?;
    // ffmpeg itself may notice the refusal before it reads the reason.
    let said = push_and_fail(&stage, KEY, &["-c:v", "flv1", "-an"]).await?;
    assert!(said.contains("Sorenson H.263 is not supported"), "{said}");
    let mp3 = ["-c:v", "libx264", "-c:a", "libmp3lame"];
    let said = push_and_fail(&stage, KEY, &mp3).await?;
    assert!(said.contains("MP3 is not supported"), "{said}");
    let refusal = Client::connect(stage.rtmp)
        .await?
        .publish_tag(KEY, 9, b"\x90hvc1")
        .await?;
    assert!(
        refusal.contains("HEVC (hvc1) is not supported"),
        "{refusal}"
    );
    assert!(stage.generations().is_empty());
    Ok(())
}

#[tokio::test]
async fn without_accounts_or_encoder_the_broadcaster_is_told() -> Result<()> {
    let (rtmp, _running) = crate::stage::ingest_alone().await?;
    let refusal = Client::connect(rtmp).await?.publish(KEY).await?;
    assert!(
        refusal.contains("account service is not available"),
        "{refusal}"
    );
    Ok(())
}

#[tokio::test]
async fn a_broadcaster_is_told_when_the_server_stops() -> Result<()> {
    let stage = stage().await?;
    let mut client = Client::connect(stage.rtmp).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    stage.stop();
    let said = client.until_closed(Duration::from_secs(3)).await?;
    assert!(said.contains("NetStream.Publish.Failed"), "{said}");
    Ok(())
}

/// As the contract says; with a second for a machine that has much to do.
const REVOKED_WITHIN: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_broadcaster_whose_key_is_revoked_is_told_and_the_encoder_waits() -> Result<()> {
    let stage = stage().await?;
    let url = stage.publish_url(KEY);
    let mut pushing = in_real_time(60.0, USUAL, &["-f", "flv", &url]).spawn()?;
    stage.until("a generation", |g| !g.is_empty()).await?;
    stage.key_is(KeyState::Revoked);
    let pushed = timeout(REVOKED_WITHIN, pushing.wait()).await??;
    assert!(!pushed.success());
    let paused = |g: &[crate::stage::Generation]| g.iter().any(|g| g.has(Flags::PAUSE));
    stage.until("the pause", paused).await?;

    stage.key_is(KeyState::Good);
    let mut client = Client::connect(stage.rtmp).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    stage.key_is(KeyState::Revoked);
    let said = client.until_closed(REVOKED_WITHIN).await?;
    assert!(said.contains("NetStream.Publish.Unauthorized"), "{said}");
    assert!(said.contains("the stream key was revoked"), "{said}");
    Ok(())
}

#[tokio::test]
async fn while_accounts_says_nothing_of_its_key_a_broadcast_goes_on() -> Result<()> {
    let stage = stage().await?;
    stage.key_is(KeyState::Unknown);
    let mut client = Client::connect(stage.rtmp).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    assert!(client.until_closed(REVOKED_WITHIN).await.is_err());
    stage.key_is(KeyState::Revoked);
    client.until_closed(REVOKED_WITHIN).await.map(drop)
}

#[tokio::test]
async fn when_the_encoder_does_not_read_the_socket_waits() -> Result<()> {
    let (rtmp, _running) = crate::stage::ingest_with_a_stuck_encoder().await?;
    let mut client = Client::connect(rtmp).await?;
    let accepted = client.publish(KEY).await?;
    assert!(accepted.contains("NetStream.Publish.Start"), "{accepted}");
    let sent = client.flood(64 << 20, Duration::from_secs(2)).await?;
    assert!(sent > 1 << 20, "{sent}");
    assert!(sent < 40 << 20, "nothing held it back: {sent}");
    Ok(())
}
