//! An accepted broadcast: tags in, stamped fragments to the encoder.
//!
//! The one rule: nothing is dropped between the socket and the encoder. When the encoder's
//! queue is full, [`Publication::video`] and the others wait, and the socket with them. Only
//! what an encoder that dies had not passed on is lost, and what follows up to the next keyframe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::{
    cmaf::{self, Fragmenter},
    flv,
    part::Part,
    rtmp::Tag,
};
use proto::{
    accounts::Channel,
    encoder::{Close, Fragment, encode_reply, encode_request::Kind},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    encoders::{Encoders, Session},
    keys::Key,
    metrics,
    refusal::Refusal,
};

/// One publish session.
pub(crate) struct Publication {
    channel: Channel,
    key: Key,
    encoders: Encoders,
    session: Session,
    fragmenter: Fragmenter,
    /// What the next encoder's fragmenter has to know, since broadcasters say it once.
    headers: [Option<Part>; 2],
    /// Where the fragments that were sent end.
    end_us: u64,
    /// Of the fragmenters before.
    counts: cmaf::Counts,
    /// Tags that could not be read.
    broken: u64,
    losses: Losses,
    /// Ends with the first fragment.
    beginning: Option<Span>,
    _on_air: boot::metrics::Level,
}

/// Encoders that were lost.
#[derive(Default)]
struct Losses {
    count: u32,
    since: Option<Instant>,
}

/// A fragment that breaks an encoder must not break all of them.
const LOSSES_PER_MINUTE: u32 = 4;
const MINUTE: Duration = Duration::from_secs(60);
const WHY_DEADLINE: Duration = Duration::from_millis(200);
/// The encoder answers a close with what it has sealed.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

impl Publication {
    /// Opens a session with an encoder.
    pub(crate) async fn open(
        encoders: Encoders,
        channel: Channel,
        key: Key,
        protocol: &'static str,
    ) -> Result<Self, Refusal> {
        let session = encoders.open(&channel).await?;
        Ok(Self {
            channel,
            key,
            encoders,
            fragmenter: Fragmenter::new(session.base_us),
            end_us: session.base_us,
            session,
            headers: [None, None],
            counts: cmaf::Counts::default(),
            broken: 0,
            losses: Losses::default(),
            beginning: None,
            _on_air: metrics::on_air(protocol),
        })
    }

    /// What its trace's first span is, until a fragment is on its way.
    pub(crate) fn begins_with(&mut self, span: Span) {
        self.beginning = Some(span);
    }

    /// The slug of the channel.
    pub(crate) fn channel(&self) -> &str {
        &self.channel.name
    }

    /// Cancelled when its stream key is good no more.
    pub(crate) fn revoked(&self) -> CancellationToken {
        self.key.revoked()
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
        match &part {
            Part::VideoHeader(_) => self.headers[0] = Some(part.clone()),
            Part::AudioHeader(_) => self.headers[1] = Some(part.clone()),
            Part::Picture(_) | Part::Sound(_) => {}
        }
        self.fragmenter.put(stamp_ms, part)?;
        self.send_ready().await
    }

    /// Nothing came for a while, or will come: what is held back goes.
    pub(crate) async fn flush(&mut self) -> Result<(), Refusal> {
        self.fragmenter.flush();
        self.send_ready().await
    }

    /// Resolves when the encoder has ended the session: then [`Publication::inherit`]. Safe to
    /// be dropped and called again.
    ///
    /// # Errors
    /// When no other encoder would help.
    pub(crate) async fn orphaned(&mut self) -> Result<(), Refusal> {
        self.session.ended().await
    }

    /// Goes on with another encoder from the next keyframe on; the broadcaster notices nothing.
    /// Its media wait meanwhile.
    ///
    /// # Errors
    /// When there is none in time, or too many were lost already.
    pub(crate) async fn inherit(&mut self) -> Result<(), Refusal> {
        tracing::warn!("the encoder is lost: looking for another");
        if !self.losses.may_go_on(Instant::now()) {
            return Err(Refusal::Away("the encoder"));
        }
        let after = self.session.epoch;
        let session = self.encoders.inherit(&self.channel, after).await?;
        self.counts = self.all_counts();
        // The timeline goes on, whatever the new encoder knows of it.
        let base_us = session.base_us.max(self.end_us);
        self.fragmenter = Fragmenter::new(base_us);
        self.session = session;
        for header in self.headers.iter().flatten() {
            self.fragmenter.put(0, header.clone())?;
        }
        metrics::encoder_changed();
        tracing::info!(base_us, "another encoder has taken over");
        Ok(())
    }

    /// The broadcaster unpublished. Waits until the encoder has it all.
    pub(crate) async fn close(mut self) -> Result<(), Refusal> {
        self.flush().await?;
        self.session.send(Kind::Close(Close {})).await?;
        let generations = match timeout(CLOSE_DEADLINE, self.session.reply()).await {
            Ok(Some(encode_reply::Kind::Closed(closed))) => Some(closed.generations),
            _ => None,
        };
        tracing::info!(generations, "closed");
        Ok(())
    }

    /// What went wrong with the broadcaster's stream.
    pub(crate) fn log_counts(&self) {
        let counts = self.all_counts();
        metrics::irregular(&counts, self.broken);
        let cmaf::Counts {
            jumps,
            gaps,
            anchors,
            dropped,
        } = counts;
        let broken = self.broken;
        tracing::info!(jumps, gaps, anchors, dropped, broken, "broadcaster gone");
    }

    fn all_counts(&self) -> cmaf::Counts {
        let (before, now) = (self.counts, self.fragmenter.counts());
        cmaf::Counts {
            jumps: before.jumps + now.jumps,
            gaps: before.gaps + now.gaps,
            anchors: before.anchors + now.anchors,
            dropped: before.dropped + now.dropped,
        }
    }

    async fn send_ready(&mut self) -> Result<(), Refusal> {
        while let Some(fragment) = self.fragmenter.poll() {
            let end_us = fragment.media_time_us + fragment.duration_us;
            let fragment = Fragment {
                init: fragment.init.unwrap_or_default(),
                media: fragment.media,
                keyframe: fragment.keyframe,
                media_time_us: fragment.media_time_us,
                duration_us: fragment.duration_us,
                ingest_stamp_us: unix_us(),
            };
            metrics::fragment(fragment.media.len());
            if self.session.send(Kind::Fragment(fragment)).await.is_err() {
                // Why may come a moment later; from one that is stuck nothing comes.
                if let Ok(ended) = timeout(WHY_DEADLINE, self.session.ended()).await {
                    ended?;
                }
                return self.inherit().await;
            }
            self.end_us = self.end_us.max(end_us);
            self.beginning = None;
        }
        Ok(())
    }
}

impl Losses {
    /// Counts one more; `false` when there were too many in a minute.
    fn may_go_on(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now - since > MINUTE) {
            *self = Self {
                count: 0,
                since: Some(now),
            };
        }
        self.count += 1;
        self.count <= LOSSES_PER_MINUTE
    }
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_that_breaks_encoders_is_given_up() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        let may = |_| losses.may_go_on(now);
        assert_eq!((0..5).map(may).filter(|may| *may).count(), 4);
        assert!(losses.may_go_on(now + MINUTE * 2));
    }
}
