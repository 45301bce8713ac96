//! Who may not publish by SRT is told why, and harms nobody.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ingest::{
    Limits,
    srt::{Options, Passphrase},
};
use tokio::{net::UdpSocket, time::timeout};

use crate::stage::{
    KEY, KeyState, Stage, USUAL,
    caller::{Answer, Caller, conclusion, induction},
    in_real_time, ingest_alone_with_srt,
};

async fn stage() -> Result<Stage> {
    with(Limits::default(), Options::default()).await
}

async fn with(limits: Limits, options: Options) -> Result<Stage> {
    Stage::with_srt(Duration::from_secs(60), limits, options).await
}

async fn call(stage: &Stage, stream_id: &str) -> Result<Answer> {
    Caller::connect(stage.srt).await?.call(stream_id).await
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized_and_ffmpeg_gives_up() -> Result<()> {
    let stage = stage().await?;
    let answer = call(&stage, "publish:not-the-key").await?;
    assert_eq!(answer, Answer::Refused(1401));
    let url = format!("srt://{}?streamid=not-the-key", stage.srt);
    let mut pushing = in_real_time(60.0, USUAL, &["-f", "mpegts", &url]);
    let pushed = timeout(Duration::from_secs(10), pushing.status()).await??;
    assert!(!pushed.success());
    assert!(stage.generations().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_stream_id_that_is_none_of_ours_is_a_bad_request_and_accounts_is_not_asked() -> Result<()>
{
    let stage = stage().await?;
    for id in ["", "read:key", "#!::r=live/key,m=request", "live/key"] {
        assert_eq!(call(&stage, id).await?, Answer::Refused(1400), "{id}");
    }
    assert_eq!(*stage.authorizations.lock().unwrap(), 0);
    Ok(())
}

#[tokio::test]
async fn after_five_wrong_keys_an_address_is_refused_by_both_protocols() -> Result<()> {
    let stage = stage().await?;
    for _ in 0..5 {
        assert_eq!(call(&stage, "guess").await?, Answer::Refused(1401));
    }
    assert_eq!(call(&stage, KEY).await?, Answer::Refused(1402));
    let mut client = crate::stage::raw::Client::connect(stage.rtmp).await?;
    let refusal = client.publish(KEY).await?;
    assert!(refusal.contains("too many wrong stream keys"), "{refusal}");
    assert_eq!(*stage.authorizations.lock().unwrap(), 5);
    Ok(())
}

#[tokio::test]
async fn a_channel_that_is_live_is_a_conflict_and_a_full_server_an_overload() -> Result<()> {
    let limits = Limits {
        broadcasters: 2,
        ..Limits::default()
    };
    let stage = with(limits, Options::default()).await?;
    let mut first = Caller::connect(stage.srt).await?;
    assert_eq!(first.call(KEY).await?, Answer::Accepted);
    assert_eq!(call(&stage, KEY).await?, Answer::Refused(1409));
    let limits = Limits {
        broadcasters: 0,
        ..Limits::default()
    };
    let stage = with(limits, Options::default()).await?;
    assert_eq!(call(&stage, KEY).await?, Answer::Refused(1402));
    Ok(())
}

#[tokio::test]
async fn without_accounts_the_service_is_down() -> Result<()> {
    let (srt, _running) = ingest_alone_with_srt().await?;
    let answer = Caller::connect(srt).await?.call(KEY).await?;
    assert_eq!(answer, Answer::Refused(1503));
    Ok(())
}

#[tokio::test]
async fn a_wrong_or_a_missing_passphrase_is_refused_and_the_right_one_gets_in() -> Result<()> {
    let options = Options {
        passphrase: Some(Passphrase::new("the right words".to_owned())?),
        ..Options::default()
    };
    let stage = with(Limits::default(), options).await?;
    assert_eq!(call(&stage, KEY).await?, Answer::Refused(11));
    let push = |passphrase: &str| {
        let url = format!("srt://{}?streamid={KEY}&passphrase={passphrase}", stage.srt);
        in_real_time(30.0, USUAL, &["-f", "mpegts", &url])
    };
    let mut wrong = push("the+wrong+words");
    let pushed = timeout(Duration::from_secs(10), wrong.status()).await??;
    assert!(!pushed.success());
    assert_eq!(*stage.authorizations.lock().unwrap(), 0);
    let mut right = push("the+right+words").spawn()?;
    stage.until("a generation", |g| !g.is_empty()).await?;
    right.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_passphrase_where_none_is_wanted_is_refused() -> Result<()> {
    let stage = stage().await?;
    let url = format!(
        "srt://{}?streamid={KEY}&passphrase=some+more+words",
        stage.srt
    );
    let mut pushing = in_real_time(60.0, USUAL, &["-f", "mpegts", &url]);
    let pushed = timeout(Duration::from_secs(10), pushing.status()).await??;
    assert!(!pushed.success());
    assert!(stage.generations().is_empty());
    Ok(())
}

#[tokio::test]
async fn garbage_is_not_answered_and_a_later_broadcaster_gets_in() -> Result<()> {
    let stage = stage().await?;
    let quiet = UdpSocket::bind("127.0.0.1:0").await?;
    quiet.connect(stage.srt).await?;
    for len in [0, 1, 15, 16, 63, 64, 200, 1400, 2047] {
        quiet.send(&vec![0x80; len]).await?;
        quiet.send(&vec![0; len]).await?;
    }
    for kind in 0..9 {
        quiet
            .send(&[&[0x80, kind][..], &[0xff; 60]].concat())
            .await?;
    }
    // Everything that a caller says, with a cookie that is not its own.
    quiet.send(&conclusion(12_345, KEY)).await?;
    let mut buffer = [0; 2048];
    let answered = timeout(Duration::from_millis(300), quiet.recv(&mut buffer)).await;
    assert!(answered.is_err(), "{answered:?}");

    // With its own, what comes after it may be anything.
    for tail in [
        &[0, 3, 0xff, 0xff][..],
        &[0, 1, 0, 1, 0, 0, 0, 0],
        &[0, 6, 0, 1, 1, 2, 3, 4],
    ] {
        let mut caller = Caller::connect(stage.srt).await?;
        caller.socket.send(&induction()).await?;
        let len = caller.socket.recv(&mut buffer).await?;
        let cookie = u32::from_be_bytes(buffer[44..48].try_into()?);
        ensure!(len == 64);
        let garbled = [conclusion(cookie, "")[..64].to_vec(), tail.to_vec()].concat();
        caller.socket.send(&garbled).await?;
        let len = caller.socket.recv(&mut buffer).await?;
        ensure!(len == 64 && buffer[36..40] == 2400_u32.to_be_bytes());
        caller.call("read:nothing").await?;
    }
    let url = format!("srt://{}?streamid={KEY}", stage.srt);
    let mut pushing = in_real_time(30.0, USUAL, &["-f", "mpegts", &url]).spawn()?;
    stage.until("a generation", |g| !g.is_empty()).await?;
    pushing.kill().await?;
    Ok(())
}

#[tokio::test]
async fn who_was_accepted_and_sends_no_media_is_told_that_it_is_over() -> Result<()> {
    let limits = Limits {
        idle: Duration::from_secs(1),
        ..Limits::default()
    };
    let stage = with(limits, Options::default()).await?;
    let mut caller = Caller::connect(stage.srt).await?;
    let started = Instant::now();
    assert_eq!(caller.call(KEY).await?, Answer::Accepted);
    // Media that are none, and packets that senders have no business with.
    for sequence in 0..20 {
        caller.send(sequence, &[0x47; 1316]).await?;
        for kind in [2, 3, 4, 7, 8] {
            caller.send(0x8000_0000 | kind << 16, &[0xff; 24]).await?;
        }
    }
    caller.until_shut_down(Duration::from_secs(4)).await?;
    assert!(started.elapsed() > Duration::from_millis(900));
    Ok(())
}

#[tokio::test]
async fn who_falls_silent_makes_room_for_its_return() -> Result<()> {
    let stage = stage().await?;
    let mut gone = Caller::connect(stage.srt).await?;
    assert_eq!(gone.call(KEY).await?, Answer::Accepted);
    let started = Instant::now();
    while call(&stage, KEY).await? == Answer::Refused(1409) {
        ensure!(started.elapsed() < Duration::from_secs(8), "still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(4));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() -> Result<()> {
    let stage = stage().await?;
    let mut caller = Caller::connect(stage.srt).await?;
    caller.socket.send(&induction()).await?;
    let mut buffer = [0; 2048];
    caller.socket.recv(&mut buffer).await?;
    let cookie = u32::from_be_bytes(buffer[44..48].try_into()?);
    for _ in 0..3 {
        assert_eq!(caller.conclude(cookie, KEY).await?, Answer::Accepted);
    }
    assert_eq!(*stage.authorizations.lock().unwrap(), 1);
    Ok(())
}

#[tokio::test]
async fn a_broadcaster_by_srt_is_told_when_the_server_stops() -> Result<()> {
    let stage = stage().await?;
    let mut caller = Caller::connect(stage.srt).await?;
    assert_eq!(caller.call(KEY).await?, Answer::Accepted);
    stage.stop();
    caller.until_shut_down(Duration::from_secs(3)).await
}

#[tokio::test]
async fn a_broadcaster_by_srt_whose_key_is_revoked_is_told_that_it_is_over() -> Result<()> {
    let stage = stage().await?;
    let mut caller = Caller::connect(stage.srt).await?;
    assert_eq!(caller.call(KEY).await?, Answer::Accepted);
    stage.key_is(KeyState::Revoked);
    caller.until_shut_down(Duration::from_secs(6)).await
}
