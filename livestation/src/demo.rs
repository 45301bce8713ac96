//! `livestation demo`: a station, a broadcast by ffmpeg and six viewers, to look at.

use std::process::ExitCode;

/// Run a station, a sample broadcast and six viewers, and show how the viewers carry it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build has no demo")
}
