//! Sessions over real sockets: who gets one, what it may do, and what ends it.

use std::{net::SocketAddr, time::Duration};

use actix_web::{App, HttpServer};
use boot::{
    client::Proxies,
    ticket::{Share, Signer, Ticket},
};
use futures_util::{SinkExt, StreamExt};
use overlay_core::wire::{FromTracker, Join, Ping, ToTracker, from_tracker, to_tracker};
use prost::Message as _;
use proto::{
    access::Role,
    tracker::{
        AnnounceOpen, AnnounceRequest, StatsRequest, announce_request,
        tracker_client::TrackerClient,
    },
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async, tungstenite,
};
use tokio_util::sync::CancellationToken;
use tracker::{Config, Limits, Service};
use tungstenite::{Message, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(5);

struct Tracker {
    http: SocketAddr,
    signer: Signer,
    grpc: TrackerClient<tonic::transport::Channel>,
    shutdown: CancellationToken,
}

struct Viewer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Tracker {
    async fn start(limits: Limits) -> anyhow::Result<Self> {
        boot::start()?;
        let signer = Signer::new(&[5; 32]);
        let config = Config {
            tickets: boot::ticket::Verifier::new(&signer.public_key()),
            limits,
            swarm: Default::default(),
            proxied: false,
            tls: Default::default(),
            share: None,
        };
        let shutdown = CancellationToken::new();
        let service = Service::new(config, shutdown.clone())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(tracker::serve(service.clone(), listener, shutdown.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let http = listener.local_addr()?;
        // Half of this machine's loopback addresses are a proxy's.
        let proxies = Proxies::new(vec!["127.0.0.0/25".parse()?]);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(proxies.clone())
                .configure(tracker::http::routes(service.clone()))
        });
        tokio::spawn(server.workers(1).disable_signals().listen(listener)?.run());
        Ok(Self {
            http,
            signer,
            grpc: TrackerClient::new(boot::grpc::connect_lazy(
                &url,
                Role::Tracker,
                &Default::default(),
            )?),
            shutdown,
        })
    }

    fn token(&self, expires_in: i64) -> anyhow::Result<String> {
        let now = boot::ticket::now();
        Ok(self.signer.sign(&Ticket {
            viewer: "v".into(),
            channel_id: [1; 16],
            name: "demo".into(),
            channel_key: [2; 32],
            share: Share::Allowed,
            issued_at: now,
            expires_at: now.saturating_add_signed(expires_in),
        })?)
    }

    async fn viewer(&self) -> anyhow::Result<Viewer> {
        let url = format!("ws://{}/ws?ticket={}", self.http, self.token(60)?);
        Ok(Viewer(connect_async(url).await?.0))
    }

    async fn joined(&self, peer: u64) -> anyhow::Result<Viewer> {
        let mut viewer = self.viewer().await?;
        viewer.say(join(peer)).await?;
        match viewer.next().await?.kind {
            Some(from_tracker::Kind::Welcome(_)) => Ok(viewer),
            other => anyhow::bail!("not welcome: {other:?}"),
        }
    }

    async fn refusal(&self, query: &str) -> anyhow::Result<(u16, String)> {
        let reply = reqwest::get(format!("http://{}/ws{query}", self.http)).await?;
        let status = reply.status().as_u16();
        let body: Value = reply.json().await?;
        Ok((
            status,
            body["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ))
    }

    async fn viewers(&self) -> anyhow::Result<Value> {
        let request = StatsRequest {
            channel_name: "demo".into(),
        };
        let reply = self.grpc.clone().stats(request).await?.into_inner();
        Ok(serde_json::from_str::<Value>(&reply.json)?["viewers"].clone())
    }

    async fn until_viewers(&self, count: u64) -> anyhow::Result<()> {
        let wait = async {
            while self.viewers().await? != count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, wait).await?
    }
}

impl Viewer {
    async fn say(&mut self, kind: to_tracker::Kind) -> anyhow::Result<()> {
        self.bytes(ToTracker::from(kind).encode_to_vec()).await
    }

    async fn bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.0.send(Message::Binary(bytes.into())).await?)
    }

    async fn next(&mut self) -> anyhow::Result<FromTracker> {
        loop {
            match timeout(PATIENCE, self.0.next()).await? {
                Some(Ok(Message::Binary(bytes))) => return Ok(FromTracker::decode(bytes)?),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => anyhow::bail!("the session ended: {other:?}"),
            }
        }
    }

    /// What the tracker says when it closes the session.
    async fn last_word(&mut self) -> anyhow::Result<String> {
        loop {
            match timeout(PATIENCE, self.0.next()).await? {
                Some(Ok(Message::Close(word))) => {
                    return Ok(word.map(|word| word.reason.to_string()).unwrap_or_default());
                }
                Some(Ok(_)) => {}
                other => anyhow::bail!("closed without a word: {other:?}"),
            }
        }
    }
}

fn join(peer: u64) -> to_tracker::Kind {
    to_tracker::Kind::Join(Join {
        peer,
        upload_bps: 1_000_000,
        parents: vec![],
        answers_probes: false,
    })
}

#[tokio::test]
async fn a_viewer_with_a_ticket_joins_counts_and_leaves() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits::default()).await?;
    assert_eq!(tracker.viewers().await?, 0, "of a channel never announced");
    let mut viewer = tracker.joined(1).await?;
    viewer
        .say(to_tracker::Kind::Ping(Ping { stamp_us: 42 }))
        .await?;
    loop {
        if let Some(from_tracker::Kind::Pong(pong)) = viewer.next().await?.kind {
            assert_eq!(pong.stamp_us, 42);
            let now = boot::ticket::now() * 1_000_000;
            assert!(pong.wall_us.abs_diff(now) < 5_000_000, "the wall clock");
            break;
        }
    }
    tracker.until_viewers(1).await?;
    drop(viewer);
    tracker.until_viewers(0).await
}

#[tokio::test]
async fn no_forged_and_no_expired_ticket_is_let_in() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits::default()).await?;
    let foreign = Tracker {
        signer: Signer::new(&[6; 32]),
        ..Tracker::start(Limits::default()).await?
    };
    let forged = (401, "ticket_forged".to_owned());
    assert_eq!(tracker.refusal("").await?, forged);
    assert_eq!(tracker.refusal("?ticket=x.y.z").await?, forged);
    assert_eq!(
        tracker
            .refusal(&format!("?ticket={}", "a".repeat(5000)))
            .await?,
        forged
    );
    assert_eq!(
        tracker
            .refusal(&format!("?ticket={}", foreign.token(60)?))
            .await?,
        forged
    );
    let old = tracker
        .refusal(&format!("?ticket={}", tracker.token(-120)?))
        .await?;
    assert_eq!(old, (401, "ticket_expired".to_owned()));
    let plain = tracker
        .refusal(&format!("?ticket={}", tracker.token(60)?))
        .await?;
    assert_eq!(plain, (400, "not_websocket".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_ticket_may_come_as_the_sub_protocol() -> anyhow::Result<()> {
    use tungstenite::client::IntoClientRequest;
    let tracker = Tracker::start(Limits::default()).await?;
    let protocol = format!("ticket.{}", tracker.token(60)?);
    let mut request = format!("ws://{}/ws", tracker.http).into_client_request()?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol.parse()?);
    let (_, response) = connect_async(request).await?;
    assert_eq!(
        response.headers()["sec-websocket-protocol"],
        protocol.as_str()
    );
    Ok(())
}

#[tokio::test]
async fn what_is_no_message_ends_the_session_and_no_other() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits::default()).await?;
    let mut honest = tracker.joined(1).await?;
    let cases = [
        (vec![0xff; 40], "the message does not parse"),
        (vec![], "the message does not parse"),
        (vec![0; 70_000], "the message is too long"),
    ];
    for (bytes, word) in cases {
        let mut viewer = tracker.joined(2).await?;
        viewer.bytes(bytes).await?;
        assert_eq!(viewer.last_word().await?, word);
        tracker.until_viewers(1).await?;
    }
    let mut viewer = tracker.viewer().await?;
    viewer.0.send(Message::Text("{}".into())).await?;
    assert_eq!(viewer.last_word().await?, "the message does not parse");
    let mut viewer = tracker.viewer().await?;
    viewer
        .say(to_tracker::Kind::Status(Default::default()))
        .await?;
    assert_eq!(
        viewer.last_word().await?,
        "the first message must be a join"
    );
    honest
        .say(to_tracker::Kind::Ping(Ping { stamp_us: 1 }))
        .await?;
    honest.next().await?;
    Ok(())
}

#[tokio::test]
async fn who_does_not_join_and_who_falls_silent_is_closed() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits {
        join_within: Duration::from_millis(200),
        silence: Duration::from_millis(600),
        ..Limits::default()
    })
    .await?;
    let mut mute = tracker.viewer().await?;
    assert_eq!(mute.last_word().await?, "no join came in time");
    // Pings alone do not postpone the join.
    let mut pinging = tracker.viewer().await?;
    let pings = async {
        loop {
            if pinging
                .0
                .send(Message::Ping(Default::default()))
                .await
                .is_err()
            {
                return;
            }
            while let Ok(Some(Ok(message))) =
                timeout(Duration::from_millis(50), pinging.0.next()).await
            {
                if message.is_close() {
                    return;
                }
            }
        }
    };
    timeout(PATIENCE, pings).await?;
    // A client that is read answers pings by itself; one that is not read is silent.
    let mut silent = tracker.joined(3).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(silent.last_word().await?, "nothing came in time");
    Ok(())
}

#[tokio::test]
async fn one_address_and_all_together_have_a_limit() -> anyhow::Result<()> {
    let limits = Limits {
        sessions_per_address: 3,
        ..Limits::default()
    };
    let tracker = Tracker::start(limits).await?;
    let mut viewers = Vec::new();
    for peer in 1..=3 {
        viewers.push(tracker.joined(peer).await?);
    }
    let query = format!("?ticket={}", tracker.token(60)?);
    assert_eq!(
        tracker.refusal(&query).await?,
        (429, "too_many_sessions".to_owned())
    );
    viewers.pop();
    tracker.until_viewers(2).await?;
    tracker.joined(4).await?;
    Ok(())
}

#[tokio::test]
async fn behind_a_proxy_that_is_believed_every_viewer_has_its_own_limit() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits {
        sessions_per_address: 1,
        ..Limits::default()
    })
    .await?;
    let url = format!("ws://{}/ws?ticket={}", tracker.http, tracker.token(60)?);
    // A session from one loopback address, said to be for somebody.
    let open = async |from: [u8; 4], said: &'static str| {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let socket = socket.connect(tracker.http).await?;
        let mut request = url.as_str().into_client_request()?;
        let said = tungstenite::http::HeaderValue::from_static(said);
        request.headers_mut().insert("x-forwarded-for", said);
        anyhow::Ok(client_async(request, socket).await)
    };
    let _one = open([127, 0, 0, 1], "192.0.2.1").await??;
    let _other = open([127, 0, 0, 1], "1.1.1.1, 198.51.100.1").await??;
    let again = open([127, 0, 0, 2], "192.0.2.1").await?;
    assert!(again.is_err(), "it has all that one may have");
    // Who is not believed is one address, whatever it says.
    let _stranger = open([127, 0, 0, 200], "203.0.113.1").await??;
    let again = open([127, 0, 0, 200], "203.0.113.2").await?;
    assert!(again.is_err(), "a stranger invents addresses");
    Ok(())
}

#[tokio::test]
async fn a_flood_of_messages_ends_the_session() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits {
        messages_per_second: 20,
        ..Limits::default()
    })
    .await?;
    let mut viewer = tracker.joined(1).await?;
    for stamp_us in 0..100 {
        if viewer
            .say(to_tracker::Kind::Ping(Ping { stamp_us }))
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(viewer.last_word().await?, "too many messages");
    Ok(())
}

#[tokio::test]
async fn a_seeder_announces_by_grpc_and_viewers_learn_of_it() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits::default()).await?;
    let request = |kind| AnnounceRequest { kind: Some(kind) };
    let (said, requests) = tokio::sync::mpsc::channel(8);
    let channel = proto::accounts::Channel {
        id: vec![1; 16].into(),
        name: "demo".into(),
        ..Default::default()
    };
    let open = AnnounceOpen {
        channel: Some(channel),
    };
    said.send(request(announce_request::Kind::Open(open)))
        .await?;
    let message = ToTracker::from(join(77)).encode_to_vec().into();
    said.send(request(announce_request::Kind::Message(message)))
        .await?;
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut replies = tracker.grpc.clone().announce(requests).await?.into_inner();
    let reply = timeout(PATIENCE, replies.message())
        .await??
        .unwrap_or_default();
    let welcome = FromTracker::decode(reply.message)?.kind;
    assert!(
        matches!(welcome, Some(from_tracker::Kind::Welcome(_))),
        "{welcome:?}"
    );

    let mut viewer = tracker.viewer().await?;
    viewer.say(join(1)).await?;
    match viewer.next().await?.kind {
        Some(from_tracker::Kind::Welcome(welcome)) => assert_eq!(welcome.seeders, [77]),
        other => anyhow::bail!("not welcome: {other:?}"),
    }
    let picture = StatsRequest {
        channel_name: "demo".into(),
    };
    let picture = tracker.grpc.clone().swarm(picture).await?.into_inner().json;
    assert!(picture.contains("\"seeder\""), "{picture}");

    said.send(request(announce_request::Kind::Message(
        vec![0xff; 9].into(),
    )))
    .await?;
    let ended = async {
        loop {
            match replies.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status.code()),
            }
        }
    };
    assert_eq!(
        timeout(PATIENCE, ended).await?,
        Some(tonic::Code::InvalidArgument)
    );
    Ok(())
}

#[tokio::test]
async fn a_shutdown_closes_sessions_with_a_word() -> anyhow::Result<()> {
    let tracker = Tracker::start(Limits::default()).await?;
    let mut viewer = tracker.joined(1).await?;
    tracker.shutdown.cancel();
    assert_eq!(viewer.last_word().await?, "the tracker is going away");
    Ok(())
}

#[tokio::test]
async fn an_empty_swarm_is_forgotten_and_begun_anew() -> anyhow::Result<()> {
    let limits = Limits {
        swarm_empty: Duration::from_millis(100),
        ..Limits::default()
    };
    let tracker = Tracker::start(limits).await?;
    for peer in 1..=3 {
        drop(tracker.joined(peer).await?);
        tracker.until_viewers(0).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}
