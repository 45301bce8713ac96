//! Ingest, encoder and the stand-ins, started on loopback; ffmpeg to push with.

mod accounts;
pub(crate) mod caller;
pub(crate) mod raw;
pub(crate) mod relay;

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ed25519_dalek::SigningKey;
use proto::{
    accounts::accounts_server::AccountsServer,
    encoder::{
        EncodeReply, EncodeRequest, Opened, encode_reply,
        encoder_server::{Encoder, EncoderServer},
    },
    seeder::{
        SeedReply, SeedRequest, seed_request,
        seeder_server::{Seeder, SeederServer},
    },
};
use stripe::{Body, ChannelId, EpochCertificate, EpochKey, Flags, Meta, SignedHeader};
use tokio::{
    net::{TcpListener, UdpSocket},
    process,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use accounts::AccountsDouble;
pub(crate) use accounts::KeyState;

pub(crate) const KEY: &str = "the-right-key";
pub(crate) const CHANNEL: ChannelId = ChannelId([3; 16]);
const CHANNEL_SECRET: [u8; 32] = [5; 32];
const PLAY_OUT_DELAY_MS: u32 = 1800;

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) rtmp: SocketAddr,
    /// Where SRT is taken, if it is.
    pub(crate) srt: SocketAddr,
    seeder: Received,
    pub(crate) authorizations: Arc<Mutex<u32>>,
    key: Arc<Mutex<KeyState>>,
    stopping: CancellationToken,
    running: DropGuard,
}

/// What the stand-in seeder was given, checked and decoded.
type Received = Arc<Mutex<Vec<Generation>>>;

#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) epoch: u64,
    pub(crate) meta: Meta,
    pub(crate) body: Body,
}

impl Generation {
    pub(crate) fn has(&self, flags: Flags) -> bool {
        self.meta.flags.has(flags)
    }
}

impl Stage {
    pub(crate) async fn new(return_window: Duration) -> Result<Self> {
        Self::with_limits(return_window, ingest::Limits::default()).await
    }

    pub(crate) async fn with_limits(
        return_window: Duration,
        limits: ingest::Limits,
    ) -> Result<Self> {
        let (stage, accounts, encoder) = Self::without_ingest(return_window).await?;
        let (listener, rtmp) = listen().await?;
        let mut config = ingest::Config::new(accounts, encoder);
        config.limits = limits;
        tokio::spawn(ingest::serve(config, listener, stage.stopping.clone()));
        Ok(Self { rtmp, ..stage })
    }

    /// With a listener for SRT too.
    pub(crate) async fn with_srt(
        return_window: Duration,
        limits: ingest::Limits,
        options: ingest::srt::Options,
    ) -> Result<Self> {
        let (stage, accounts, encoder) = Self::without_ingest(return_window).await?;
        let (listener, rtmp) = listen().await?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let srt = socket.local_addr()?;
        let mut config = ingest::Config::new(accounts, encoder);
        config.limits = limits;
        config.srt = options;
        let sockets = ingest::Sockets {
            rtmp: listener,
            srt: Some(socket),
        };
        tokio::spawn(ingest::serve(config, sockets, stage.stopping.clone()));
        Ok(Self { rtmp, srt, ..stage })
    }

    /// Ingest alone on a thread, which is named as `/proc` names it.
    pub(crate) async fn with_ingest_on_a_thread() -> Result<(Self, String)> {
        let (stage, accounts, encoder) = Self::without_ingest(Duration::from_secs(60)).await?;
        let (listener, rtmp) = listen().await?;
        let listener = listener.into_std()?;
        let config = ingest::Config::new(accounts, encoder);
        let stopping = stage.stopping.clone();
        let (name, named) = oneshot::channel();
        std::thread::spawn(move || -> Result<()> {
            let thread = std::fs::read_link("/proc/thread-self")?;
            let _ = name.send(thread.display().to_string());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                Ok(ingest::serve(config, listener, stopping).await?)
            })
        });
        Ok((Self { rtmp, ..stage }, named.await?))
    }

    /// Everything else, and where accounts and encoder are.
    async fn without_ingest(return_window: Duration) -> Result<(Self, String, String)> {
        let stopping = CancellationToken::new();
        let double = AccountsDouble::default();
        let stage = Self {
            rtmp: ([127, 0, 0, 1], 0).into(),
            srt: ([127, 0, 0, 1], 0).into(),
            seeder: Received::default(),
            authorizations: double.authorizations.clone(),
            key: double.key.clone(),
            stopping: stopping.clone(),
            running: stopping.clone().drop_guard(),
        };
        let accounts = serve(AccountsServer::new(double)).await?;
        let seeder = serve(SeederServer::new(SeederDouble(stage.seeder.clone()))).await?;
        let (listener, encoder) = listen().await?;
        let mut config = encoder::Config::new(accounts.clone(), vec![seeder]);
        config.return_window = return_window;
        tokio::spawn(encoder::serve(config, listener, stopping));
        Ok((stage, accounts, url(encoder)))
    }

    /// Stops ingest and encoder.
    pub(crate) fn stop(self) {
        drop(self.running);
    }

    /// What accounts says of the key from now on, of broadcasts that run.
    pub(crate) fn key_is(&self, state: KeyState) {
        *self.key.lock().expect("as the test made it") = state;
    }

    pub(crate) fn publish_url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.rtmp)
    }

    pub(crate) fn generations(&self) -> Vec<Generation> {
        self.seeder.lock().expect("as the test made it").clone()
    }

    /// Waits until the generations that have come satisfy the condition.
    pub(crate) async fn until(
        &self,
        what: &str,
        condition: impl Fn(&[Generation]) -> bool,
    ) -> Result<Vec<Generation>> {
        let deadline = Instant::now() + Duration::from_secs(12);
        while Instant::now() < deadline {
            let generations = self.generations();
            if condition(&generations) {
                return Ok(generations);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!(
            "never came: {what}; {} generations",
            self.generations().len()
        )
    }
}

/// A test picture and tone for so long, encoded as `codecs` says, to `output`.
pub(crate) fn ffmpeg(seconds: f32, codecs: &[&str], output: &[&str]) -> process::Command {
    let mut command = process::Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", TONE])
        .args(["-t", &seconds.to_string()])
        .args(codecs)
        .args(output)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// As [`ffmpeg`], at the pace of the clock.
pub(crate) fn in_real_time(seconds: f32, codecs: &[&str], output: &[&str]) -> process::Command {
    let mut command = process::Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-re", "-f", "lavfi", "-i", PICTURE])
        .args(["-re", "-f", "lavfi", "-i", TONE])
        .args(["-t", &seconds.to_string()])
        .args(codecs)
        .args(output)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

const PICTURE: &str = "testsrc2=size=1280x720:rate=30";
const TONE: &str = "sine=frequency=440:sample_rate=44100";

/// H.264 with B-frames and AAC.
pub(crate) const USUAL: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-pix_fmt",
    "yuv420p",
    "-bf",
    "2",
    "-g",
    "60",
    "-b:v",
    "3M",
    "-c:a",
    "aac",
    "-ac",
    "2",
    "-flags",
    "+global_header",
];

/// The generations as a player would get them.
pub(crate) fn write_out(generations: &[Generation], path: &Path) -> Result<()> {
    let mut out = Vec::new();
    let mut init = None;
    for body in generations.iter().map(|generation| &generation.body) {
        if body.init.is_some() && body.init != init {
            init = body.init.clone();
            out.extend_from_slice(init.as_deref().unwrap_or_default());
        }
        if init.is_some() {
            out.extend_from_slice(&body.media);
        }
    }
    Ok(std::fs::write(path, out)?)
}

/// Fails on whatever ffmpeg warns of when it decodes all of a file.
pub(crate) async fn assert_decodes(path: &Path) -> Result<()> {
    let output = process::Command::new("ffmpeg")
        .args(["-v", "warning", "-nostdin", "-xerror", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "ffmpeg: {said}");
    Ok(())
}

/// An ingest whose accounts and encoder do not answer.
pub(crate) async fn ingest_alone() -> Result<(SocketAddr, DropGuard)> {
    let running = CancellationToken::new();
    let (closed, nowhere) = listen().await?;
    drop(closed);
    let (listener, rtmp) = listen().await?;
    let config = ingest::Config::new(url(nowhere), url(nowhere));
    tokio::spawn(ingest::serve(config, listener, running.clone()));
    Ok((rtmp, running.drop_guard()))
}

/// As [`ingest_alone`], by SRT.
pub(crate) async fn ingest_alone_with_srt() -> Result<(SocketAddr, DropGuard)> {
    let running = CancellationToken::new();
    let (closed, nowhere) = listen().await?;
    drop(closed);
    let (rtmp, _) = listen().await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let config = ingest::Config::new(url(nowhere), url(nowhere));
    let srt = Some(socket);
    let sockets = ingest::Sockets { rtmp, srt };
    tokio::spawn(ingest::serve(config, sockets, running.clone()));
    Ok((address, running.drop_guard()))
}

/// An ingest whose encoder opens sessions and then reads nothing.
pub(crate) async fn ingest_with_a_stuck_encoder() -> Result<(SocketAddr, DropGuard)> {
    let running = CancellationToken::new();
    let accounts = serve(AccountsServer::new(AccountsDouble::default())).await?;
    let encoder = serve(EncoderServer::new(StuckEncoder)).await?;
    let (listener, rtmp) = listen().await?;
    let config = ingest::Config::new(accounts, encoder);
    tokio::spawn(ingest::serve(config, listener, running.clone()));
    Ok((rtmp, running.drop_guard()))
}

struct StuckEncoder;

#[tonic::async_trait]
impl Encoder for StuckEncoder {
    type EncodeStream = ReceiverStream<Result<EncodeReply, Status>>;

    async fn encode(
        &self,
        request: Request<Streaming<EncodeRequest>>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        let (replies, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let opened = encode_reply::Kind::Opened(Opened {
                base_time_us: 0,
                epoch: 1,
            });
            let opened = EncodeReply { kind: Some(opened) };
            let _ = replies.send(Ok(opened)).await;
            std::future::pending::<()>().await;
            drop(request);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct SeederDouble(Received);

#[tonic::async_trait]
impl Seeder for SeederDouble {
    async fn seed(
        &self,
        request: Request<Streaming<SeedRequest>>,
    ) -> Result<Response<SeedReply>, Status> {
        let mut requests = request.into_inner();
        let mut key = None;
        while let Some(request) = requests.message().await? {
            match request.kind.expect("as the test made it") {
                seed_request::Kind::Open(open) => key = Some(epoch_key(&open.epoch_certificate)),
                seed_request::Kind::Generation(generation) => {
                    let key = key.as_ref().expect("open comes first");
                    let checked = check(key, &generation).expect("a true generation");
                    self.0.lock().expect("as the test made it").push(checked);
                }
            }
        }
        Ok(Response::new(SeedReply {}))
    }
}

fn epoch_key(certificate: &[u8]) -> EpochKey {
    let channel_key = SigningKey::from_bytes(&CHANNEL_SECRET).verifying_key();
    EpochCertificate::from_bytes(certificate)
        .and_then(|certificate| certificate.verify(CHANNEL, channel_key.as_bytes()))
        .expect("a certificate of the channel's key")
}

/// Verifies signature and hashes, and decodes from the last k pieces.
fn check(key: &EpochKey, generation: &proto::seeder::Generation) -> Result<Generation> {
    let signed = SignedHeader::from_bytes(&generation.header)?;
    signed.verify(key)?;
    let header = signed.header;
    ensure!(header.meta.delay_ms == PLAY_OUT_DELAY_MS);
    let mut pieces = Vec::new();
    for (stripe, piece) in generation.pieces.iter().enumerate() {
        ensure!(header.matches(stripe as u8, piece), "a false piece");
        pieces.push((stripe >= 4).then(|| piece.clone()));
    }
    let (bytes, _) = stripe::decode(header.shape, header.body_len as usize, &pieces)?;
    Ok(Generation {
        epoch: header.epoch,
        meta: header.meta,
        body: Body::from_bytes(&bytes)?,
    })
}

async fn serve<S>(service: S) -> Result<String>
where
    S: tonic::codegen::Service<
            tonic::codegen::http::Request<tonic::body::Body>,
            Response = tonic::codegen::http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let (listener, address) = listen().await?;
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(url(address))
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
