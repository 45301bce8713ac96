//! Some of the viewers mean ill; the others are looked at for a while.

use std::time::Duration;

use anyhow::Result;

use crate::stage::{Aftermath, Cast, Ill, Stage};

/// Runs a dozen viewers of 8 Mbit/s each, so many of whom mean ill.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(count: usize, how: Ill, lasts: Duration) -> Result<Aftermath> {
    let mut stage = Stage::set(Cast {
        upload: "8Mbps",
        ill: Some((count, how)),
        ..Cast::dozen(lasts)
    })
    .await?;
    stage.story_begins().await?;
    stage.until(lasts).await;
    stage.ends().await
}
