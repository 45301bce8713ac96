//! Viewers vanish in the middle of a broadcast, and the others are looked at a minute later.

use std::time::Duration;

use anyhow::Result;

use crate::stage::{Aftermath, Cast, Stage};

/// What happens.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers, of 5 Mbit/s each; the seeder has three stream rates.
    pub viewers: usize,
    /// So many of them vanish.
    pub vanish: usize,
    /// Only such as have at least three children in a stripe.
    pub relays: bool,
    /// `KILL`, which closes their sockets, or `STOP`, which tells nobody anything.
    pub signal: &'static str,
    /// How long the others are looked at.
    pub after: Duration,
}

/// Runs it.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(plan: Plan) -> Result<Aftermath> {
    let mut stage = Stage::set(Cast {
        viewers: plan.viewers,
        ..Cast::dozen(plan.after)
    })
    .await?;
    stage.story_begins().await?;
    stage.vanish(plan.vanish, plan.relays, plan.signal).await?;
    stage.until(plan.after).await;
    stage.ends().await
}
