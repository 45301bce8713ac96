//! Not in upstream. What is lost, told by time as RACK does it (RFC 8985): a chunk is lost
//! when one that was sent later by more than packets overtake each other has arrived. Upstream
//! takes three reports for a loss, which packets that overtake each other make as well, sends
//! each lost chunk again once, and then waits a second or more.
//!
//! And how much loss makes the window smaller. A window of NewReno comes down to a few
//! packets at the one or two in a hundred that wireless lines lose (Mathis et al. 1997:
//! 1.2 packets / sqrt(p) a round trip). Here the owner bounds what is sent, so that the window
//! gives way only to losses that a full queue makes.

use std::time::{Duration, Instant};

use crate::{chunk::chunk_payload_data::ChunkPayloadData, util::sna32lt};

/// The window is never smaller, in packets: 2.3 Mbit/s at a round trip of 100 ms.
pub(super) const FLOOR: u32 = 24;
/// A window that gives way keeps so many tenths (CUBIC, RFC 9438).
pub(super) const KEPT_TENTHS: u32 = 7;
/// Of what was sent, what may be lost before it does, judged once in a round trip at most and
/// by a hundred packets at least: of fewer, that much is lost by chance where one in twenty is.
const TOLERATED: f64 = 0.12;
const ROUND_MIN: Duration = Duration::from_millis(50);
const JUDGED_BYTES: usize = 100 * 1200;
/// Packets overtake each other by half a round trip, within these bounds.
const OVERTAKE_MIN_MS: u64 = 10;
const OVERTAKE_MAX_MS: u64 = 200;

/// How a chunk was sent last.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) tsn: u32,
    pub(super) since: Option<Instant>,
    /// So many times.
    pub(super) nsent: u32,
}

impl Sent {
    pub(super) fn of(chunk: &ChunkPayloadData) -> Self {
        Self {
            tsn: chunk.tsn,
            since: chunk.since,
            nsent: chunk.nsent,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Losses {
    /// When the latest sent of what has arrived was sent.
    newest: Option<Instant>,
    /// The highest that has arrived.
    highest: Option<u32>,
    round: Option<Instant>,
    lost: usize,
    acked: usize,
}

impl Losses {
    /// A chunk has arrived that was sent then, for the `nsent`-th time.
    pub(super) fn on_delivered(
        &mut self,
        now: Instant,
        chunk: Sent,
        srtt_ms: u64,
    ) {
        let Sent { tsn, since, nsent } = chunk;
        if self.highest.is_none_or(|highest| sna32lt(highest, tsn)) {
            self.highest = Some(tsn);
        }
        let Some(since) = since else {
            return;
        };
        // So soon after it was sent again it is the one before that has arrived.
        let soon = Duration::from_millis(srtt_ms / 2);
        if nsent > 1 && now.saturating_duration_since(since) < soon {
            return;
        }
        self.newest = self.newest.max(Some(since));
    }

    /// When a chunk that has not arrived is lost. None while nothing says so: what was sent
    /// last may only be acknowledged late.
    pub(super) fn lost_at(&self, chunk: Sent, srtt_ms: u64) -> Option<Instant> {
        let since = chunk.since?;
        let overtake = (srtt_ms / 2).clamp(OVERTAKE_MIN_MS, OVERTAKE_MAX_MS);
        let overtake = Duration::from_millis(overtake);
        let newest = self.newest?;
        if since + overtake < newest {
            return Some(since);
        }
        let above = chunk.nsent == 1 && self.highest.is_some_and(|at| sna32lt(chunk.tsn, at));
        let later = above || since < newest;
        later.then(|| since + Duration::from_millis(srtt_ms) + overtake)
    }

    /// So many bytes were found lost and so many arrived. Whether the window is to give way.
    pub(super) fn on_round(
        &mut self,
        now: Instant,
        srtt_ms: u64,
        lost: usize,
        acked: usize,
    ) -> bool {
        self.lost += lost;
        self.acked += acked;
        let began = *self.round.get_or_insert(now);
        let round = Duration::from_millis(srtt_ms).max(ROUND_MIN);
        let all = self.lost + self.acked;
        if now.saturating_duration_since(began) < round || all < JUDGED_BYTES {
            return false;
        }
        let all = all as f64;
        let gives_way = self.lost as f64 > all * TOLERATED;
        (self.round, self.lost, self.acked) = (Some(now), 0, 0);
        gives_way
    }
}
