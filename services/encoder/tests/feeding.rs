//! The encoder alone, between an ingest and seeders that misbehave.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use proto::{
    accounts::{
        AuthorizeReply, AuthorizeRequest, CertifyEpochReply, CertifyEpochRequest, Channel,
        RevokedReply, RevokedRequest, TicketKeyReply, TicketKeyRequest,
        accounts_server::{Accounts, AccountsServer},
    },
    encoder::{
        Close, EncodeReply, EncodeRequest, Fragment, Open, encode_reply, encode_request::Kind,
        encoder_client::EncoderClient,
    },
    seeder::{
        SeedReply, SeedRequest, seed_request,
        seeder_server::{Seeder, SeederServer},
    },
};
use stripe::{ChannelId, EpochCertificate, Flags, SignedHeader};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

const CHANNEL: ChannelId = ChannelId([9; 16]);

/// Sequence numbers and flags as they came, one list per call.
type Calls = Arc<Mutex<Vec<Vec<(u64, Flags)>>>>;

/// Reads until it is killed, unless it is stuck from the start.
#[derive(Clone, Default)]
struct SeederDouble {
    calls: Calls,
    stuck: bool,
    killed: CancellationToken,
}

#[tonic::async_trait]
impl Seeder for SeederDouble {
    async fn seed(
        &self,
        request: Request<Streaming<SeedRequest>>,
    ) -> Result<Response<SeedReply>, Status> {
        let mut requests = request.into_inner();
        let call = {
            let mut calls = self.calls.lock().expect("no panic");
            calls.push(Vec::new());
            calls.len() - 1
        };
        if self.stuck {
            std::future::pending::<()>().await;
        }
        loop {
            let request = tokio::select! {
                request = requests.message() => request?,
                () = self.killed.cancelled() => return Err(Status::unavailable("killed")),
            };
            let Some(request) = request else {
                return Ok(Response::new(SeedReply {}));
            };
            if let Some(seed_request::Kind::Generation(generation)) = request.kind {
                let meta = SignedHeader::from_bytes(&generation.header)
                    .expect("a header")
                    .header
                    .meta;
                let mut calls = self.calls.lock().expect("no panic");
                calls[call].push((meta.sequence, meta.flags));
            }
        }
    }
}

struct AccountsDouble;

#[tonic::async_trait]
impl Accounts for AccountsDouble {
    async fn authorize(
        &self,
        _: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeReply>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn revoked(&self, _: Request<RevokedRequest>) -> Result<Response<RevokedReply>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn ticket_key(
        &self,
        _: Request<TicketKeyRequest>,
    ) -> Result<Response<TicketKeyReply>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn certify_epoch(
        &self,
        request: Request<CertifyEpochRequest>,
    ) -> Result<Response<CertifyEpochReply>, Status> {
        let request = request.into_inner();
        let key = request.epoch_public_key.as_ref().try_into();
        let key = key.map_err(|_| Status::invalid_argument("no key"))?;
        let signed = EpochCertificate::signed_bytes(CHANNEL, request.epoch, key);
        let signature = SigningKey::from_bytes(&[5; 32]).sign(&signed);
        Ok(Response::new(CertifyEpochReply {
            signature: Bytes::copy_from_slice(&signature.to_bytes()),
        }))
    }
}

/// A publish session, as ingest opens one.
struct Session {
    requests: mpsc::Sender<EncodeRequest>,
    replies: Streaming<EncodeReply>,
    next: u64,
}

impl Session {
    async fn open(encoder: &str) -> Result<Self, Status> {
        let mut client = EncoderClient::connect(encoder.to_owned())
            .await
            .expect("the encoder listens");
        let (requests, stream) = mpsc::channel(4);
        let channel = Channel {
            id: Bytes::copy_from_slice(&CHANNEL.0),
            ..Channel::default()
        };
        let open = Kind::Open(Open {
            channel: Some(channel),
            after_epoch: 0,
        });
        let open = EncodeRequest { kind: Some(open) };
        requests.send(open).await.expect("there is room");
        let call = client.encode(ReceiverStream::new(stream)).await?;
        let mut session = Self {
            requests,
            replies: call.into_inner(),
            next: 0,
        };
        match session.reply().await? {
            encode_reply::Kind::Opened(opened) => session.next = opened.base_time_us / 100_000,
            other => panic!("{other:?}"),
        }
        Ok(session)
    }

    /// Half a generation of so many bytes; every tenth is a keyframe.
    async fn fragment(&mut self, len: usize) -> Result<()> {
        let keyframe = self.next.is_multiple_of(10);
        let fragment = Fragment {
            init: Bytes::from_static(if keyframe { b"init" } else { b"" }),
            media: vec![self.next as u8; len].into(),
            keyframe,
            media_time_us: self.next * 100_000,
            duration_us: 100_000,
            ingest_stamp_us: 1,
        };
        self.next += 1;
        self.send(Kind::Fragment(fragment)).await
    }

    async fn send(&mut self, kind: Kind) -> Result<()> {
        let request = EncodeRequest { kind: Some(kind) };
        let sent = self.requests.send(request);
        tokio::time::timeout(Duration::from_secs(5), sent).await??;
        Ok(())
    }

    async fn reply(&mut self) -> Result<encode_reply::Kind, Status> {
        let reply = tokio::time::timeout(Duration::from_secs(5), self.replies.message());
        let reply = reply.await.map_err(|_| Status::cancelled("no reply"))??;
        reply
            .and_then(|reply| reply.kind)
            .ok_or_else(|| Status::cancelled("no more replies"))
    }
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn seeder(listener: TcpListener, double: &SeederDouble) {
    let server = Server::builder()
        .add_service(SeederServer::new(double.clone()))
        .serve_with_incoming(TcpIncoming::from(listener));
    let killed = double.killed.clone();
    tokio::spawn(async move { killed.run_until_cancelled(server).await });
}

async fn encoder(seeders: &[SocketAddr], window: Duration) -> Result<(String, CancellationToken)> {
    let (listener, accounts) = listen().await?;
    let accounts_server = Server::builder().add_service(AccountsServer::new(AccountsDouble));
    tokio::spawn(accounts_server.serve_with_incoming(TcpIncoming::from(listener)));
    let (listener, address) = listen().await?;
    let seeders = seeders.iter().map(|seeder| format!("http://{seeder}"));
    let mut config = encoder::Config::new(format!("http://{accounts}"), seeders.collect());
    config.return_window = window;
    let shutdown = CancellationToken::new();
    tokio::spawn(encoder::serve(config, listener, shutdown.clone()));
    Ok((format!("http://{address}"), shutdown))
}

async fn until(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        anyhow::ensure!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn last(double: &SeederDouble) -> Option<(u64, Flags)> {
    let calls = double.calls.lock().expect("no panic");
    calls.last().and_then(|call| call.last().copied())
}

#[tokio::test]
async fn a_stuck_seeder_costs_the_others_nothing() -> Result<()> {
    let (good, stuck) = (
        SeederDouble::default(),
        SeederDouble {
            stuck: true,
            ..SeederDouble::default()
        },
    );
    let (listener, good_at) = listen().await?;
    seeder(listener, &good);
    let (listener, stuck_at) = listen().await?;
    seeder(listener, &stuck);
    let (encoder, _shutdown) = encoder(&[stuck_at, good_at], Duration::from_secs(60)).await?;
    let mut session = Session::open(&encoder).await?;
    for index in 0..200 {
        session.fragment(100_000).await?;
        if index % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    until("the hundredth", || {
        last(&good).is_some_and(|(sequence, _)| sequence == 99)
    })
    .await?;
    let calls = good.calls.lock().expect("no panic").clone();
    assert_eq!(calls.len(), 1);
    let sequences: Vec<u64> = calls[0].iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (0..100).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_seeder_that_restarts_is_opened_again_and_goes_on() -> Result<()> {
    let before = SeederDouble::default();
    let (listener, address) = listen().await?;
    seeder(listener, &before);
    let (encoder, _shutdown) = encoder(&[address], Duration::from_secs(60)).await?;
    let mut session = Session::open(&encoder).await?;
    for _ in 0..10 {
        session.fragment(1000).await?;
    }
    until("the fifth", || {
        last(&before).is_some_and(|(sequence, _)| sequence == 4)
    })
    .await?;
    before.killed.cancel();
    let after = SeederDouble::default();
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    for _ in 0..10 {
        session.fragment(1000).await?;
    }
    seeder(listener, &after);
    for _ in 0..10 {
        session.fragment(1000).await?;
    }
    until("the fifteenth", || {
        last(&after).is_some_and(|(sequence, _)| sequence == 14)
    })
    .await?;
    let calls = after.calls.lock().expect("no panic").clone();
    let call = calls.last().context("no call")?;
    assert!(call.is_sorted_by(|a, b| a.0 < b.0), "{call:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_session_is_refused_until_the_first_is_gone() -> Result<()> {
    let double = SeederDouble::default();
    let (listener, address) = listen().await?;
    seeder(listener, &double);
    let (encoder, _shutdown) = encoder(&[address], Duration::from_secs(60)).await?;
    let mut first = Session::open(&encoder).await?;
    first.fragment(10).await?;
    let refused = Session::open(&encoder)
        .await
        .map(|_| ())
        .expect_err("refused");
    assert_eq!(refused.code(), Code::AlreadyExists);
    first.send(Kind::Close(Close {})).await?;
    let closed = first.reply().await?;
    let encode_reply::Kind::Closed(closed) = closed else {
        panic!("{closed:?}");
    };
    assert_eq!(closed.generations, 1);
    let second = Session::open(&encoder).await?;
    assert_eq!(second.next, 1);
    Ok(())
}

#[tokio::test]
async fn a_session_that_sends_nothing_leaves_nothing_behind() -> Result<()> {
    let double = SeederDouble::default();
    let (listener, address) = listen().await?;
    seeder(listener, &double);
    let (encoder, _shutdown) = encoder(&[address], Duration::from_secs(1)).await?;
    drop(Session::open(&encoder).await?);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(double.calls.lock().expect("no panic").is_empty());
    Ok(())
}

#[tokio::test]
async fn an_untrue_fragment_ends_the_session() -> Result<()> {
    let (encoder, _shutdown) = encoder(&[], Duration::from_secs(60)).await?;
    let mut session = Session::open(&encoder).await?;
    session.fragment(2 * 1024 * 1024).await?;
    let refused = session.reply().await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn stopping_pauses_the_broadcast_and_delivers_it() -> Result<()> {
    let double = SeederDouble::default();
    let (listener, address) = listen().await?;
    seeder(listener, &double);
    let (encoder, shutdown) = encoder(&[address], Duration::from_secs(60)).await?;
    let mut session = Session::open(&encoder).await?;
    for _ in 0..3 {
        session.fragment(10).await?;
    }
    until("the first", || last(&double).is_some()).await?;
    shutdown.cancel();
    until("the pause", || {
        last(&double).is_some_and(|(_, flags)| flags.has(Flags::PAUSE))
    })
    .await?;
    assert!(session.reply().await.is_err());
    Ok(())
}
