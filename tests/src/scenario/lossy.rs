//! Everyone is on a machine of their own, and every way between two of them loses, delays and
//! reorders what passes it. Nothing else happens.
//!
//! The one rule: the weather is on from the first packet, so that who comes has it too.

use std::time::Duration;

use anyhow::Result;

use crate::{
    stage::{Aftermath, Cast, Stage},
    weather::Weather,
};

/// What the weather is like, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers, of 5 Mbit/s each; the seeder has three stream rates.
    pub viewers: usize,
    /// On each way.
    pub weather: Weather,
    /// How long they are looked at.
    pub lasts: Duration,
}

impl Plan {
    /// Twelve viewers for a minute, with this part lost, this long one way and so much more.
    #[must_use]
    pub fn minute(loss: f64, delay_ms: u64, jitter_ms: u64) -> Self {
        Self {
            viewers: 12,
            weather: Weather {
                loss,
                delay: Duration::from_millis(delay_ms),
                jitter: Duration::from_millis(jitter_ms),
                seed: 1,
            },
            lasts: Duration::from_secs(60),
        }
    }
}

/// Runs it.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(plan: Plan) -> Result<Aftermath> {
    let mut stage = Stage::set(Cast {
        viewers: plan.viewers,
        weather: Some(plan.weather),
        ..Cast::dozen(plan.lasts)
    })
    .await?;
    stage.story_begins().await?;
    stage.until(plan.lasts).await;
    stage.ends().await
}
