//! An accepted broadcast: tags in, stamped fragments to the encoder.
//!
//! The one rule: nothing is dropped between the socket and the encoder. When the encoder's
//! queue is full, [`Publication::video`] and the others wait, and the socket with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::{
    cmaf::{self, Fragmenter},
    flv,
    part::Part,
    rtmp::Tag,
};
use proto::{
    accounts::Channel,
    encoder::{
        Close, EncodeReply, EncodeRequest, Fragment, Open, encode_reply, encode_request::Kind,
        encoder_client::EncoderClient,
    },
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport};

use crate::refusal::Refusal;

/// One publish session.
pub(crate) struct Publication {
    channel: String,
    fragmenter: Fragmenter,
    fragments: mpsc::Sender<EncodeRequest>,
    replies: Streaming<EncodeReply>,
    /// Tags that could not be read.
    broken: u64,
}

/// Fragments that wait for the encoder: 0.8 s.
const QUEUE: usize = 8;
/// The encoder certifies the epoch within 2 s.
const OPEN_DEADLINE: Duration = Duration::from_secs(4);
/// A fragment that the encoder does not take within this long will never be.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// The encoder answers a close with what it has sealed.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

impl Publication {
    /// Opens a session with the encoder.
    pub(crate) async fn open(
        encoder: transport::Channel,
        channel: Channel,
    ) -> Result<Self, Refusal> {
        timeout(OPEN_DEADLINE, Self::try_open(encoder, channel))
            .await
            .map_err(|_| Refusal::Away("the encoder"))?
    }

    async fn try_open(encoder: transport::Channel, channel: Channel) -> Result<Self, Refusal> {
        let mut client = EncoderClient::new(encoder)
            .max_encoding_message_size(boot::grpc::MESSAGE_MAX)
            .max_decoding_message_size(boot::grpc::MESSAGE_MAX);
        let (fragments, requests) = mpsc::channel(QUEUE);
        let name = channel.name.clone();
        let open = Kind::Open(Open {
            channel: Some(channel),
        });
        // The queue is new: there is room.
        let _ = fragments.try_send(EncodeRequest { kind: Some(open) });
        let refused = |status: tonic::Status| Refusal::from_encoder(&status);
        let call = client.encode(ReceiverStream::new(requests)).await;
        let mut replies = call.map_err(refused)?.into_inner();
        let reply = replies.message().await.map_err(refused)?;
        let Some(encode_reply::Kind::Opened(opened)) = reply.and_then(|reply| reply.kind) else {
            return Err(Refusal::Away("the encoder"));
        };
        Ok(Self {
            channel: name,
            fragmenter: Fragmenter::new(opened.base_time_us),
            fragments,
            replies,
            broken: 0,
        })
    }

    /// The slug of the channel.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// A video tag came.
    pub(crate) async fn video(&mut self, tag: Tag) -> Result<(), Refusal> {
        self.tag(tag.timestamp, flv::video(tag.body)).await
    }

    /// An audio tag came.
    pub(crate) async fn audio(&mut self, tag: Tag) -> Result<(), Refusal> {
        self.tag(tag.timestamp, flv::audio(tag.body)).await
    }

    async fn tag(
        &mut self,
        stamp_ms: u32,
        read: Result<Option<Part>, flv::Error>,
    ) -> Result<(), Refusal> {
        match read {
            Ok(Some(part)) => self.put(stamp_ms, part).await,
            Ok(None) => Ok(()),
            Err(flv::Error::Short) => {
                self.broken += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A header or a frame came.
    pub(crate) async fn put(&mut self, stamp_ms: u32, part: Part) -> Result<(), Refusal> {
        self.fragmenter.put(stamp_ms, part)?;
        self.send_ready().await
    }

    /// Nothing came for a while, or will come: what is held back goes.
    pub(crate) async fn flush(&mut self) -> Result<(), Refusal> {
        self.fragmenter.flush();
        self.send_ready().await
    }

    /// Resolves when the encoder has ended the session.
    pub(crate) async fn ended(&mut self) -> Refusal {
        loop {
            match self.replies.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Refusal::Away("the encoder"),
                Err(status) => {
                    tracing::warn!(code = ?status.code(), "encoder ended the session");
                    return Refusal::Away("the encoder");
                }
            }
        }
    }

    /// The broadcaster unpublished. Waits until the encoder has it all.
    pub(crate) async fn close(mut self) -> Result<(), Refusal> {
        self.flush().await?;
        self.send(Kind::Close(Close {})).await?;
        let closed = timeout(CLOSE_DEADLINE, self.replies.message()).await;
        let generations = match closed {
            Ok(Ok(Some(EncodeReply {
                kind: Some(encode_reply::Kind::Closed(closed)),
            }))) => Some(closed.generations),
            _ => None,
        };
        tracing::info!(generations, "closed");
        Ok(())
    }

    /// What went wrong with the broadcaster's stream.
    pub(crate) fn log_counts(&self) {
        let cmaf::Counts {
            jumps,
            gaps,
            anchors,
            dropped,
        } = self.fragmenter.counts();
        let broken = self.broken;
        tracing::info!(jumps, gaps, anchors, dropped, broken, "broadcaster gone");
    }

    async fn send_ready(&mut self) -> Result<(), Refusal> {
        while let Some(fragment) = self.fragmenter.poll() {
            let fragment = Fragment {
                init: fragment.init.unwrap_or_default(),
                media: fragment.media,
                keyframe: fragment.keyframe,
                media_time_us: fragment.media_time_us,
                duration_us: fragment.duration_us,
                ingest_stamp_us: unix_us(),
            };
            self.send(Kind::Fragment(fragment)).await?;
        }
        Ok(())
    }

    async fn send(&self, kind: Kind) -> Result<(), Refusal> {
        let request = EncodeRequest { kind: Some(kind) };
        match timeout(SEND_DEADLINE, self.fragments.send(request)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Refusal::Away("the encoder")),
        }
    }
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
