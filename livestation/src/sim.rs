//! `livestation sim`: swarms on a virtual clock.

use std::process::ExitCode;

/// Simulate swarms on a virtual clock, with the same code that peers run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot simulate")
}
