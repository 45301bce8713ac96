//! `livestation sim`: swarms on a virtual clock, by the simulator that drives the peers' and
//! the tracker's own code. A run depends on its scenario and its seed alone.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use ::sim::{Fault, How, Report, Scenario, What, Who};
use anyhow::Context;
use boot::files::write_json_atomically;
use serde::Serialize;

use crate::exit;

/// What is shipped.
const SHIPPED: [Shipped; 2] = [
    Shipped {
        name: "steady",
        about: "viewers come over 20 s and stay, 4 Mbit/s, the usual mix of uplinks",
        scenario: Scenario::default,
    },
    Shipped {
        name: "killed-half",
        about: "as steady, and half of the viewers vanish at once at 40 s",
        scenario: killed_half,
    },
];

struct Shipped {
    name: &'static str,
    about: &'static str,
    scenario: fn() -> Scenario,
}

/// Simulate swarms on a virtual clock, with the same code that peers run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Run(RunArgs),
    /// Name the scenarios there are
    List,
}

/// Run a scenario
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  livestation sim run steady --peers 200 --seed 7 --json steady.json")]
struct RunArgs {
    /// One of those that `sim list` names
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// So many viewers instead of the scenario's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    peers: Option<u32>,
    /// The same seed gives the same run, to the last event
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Write what came of it here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The file; scripts rely on its fields.
#[derive(Serialize)]
struct Outcome<'a> {
    scenario: &'a str,
    overlay: &'static str,
    peers: usize,
    seeds: usize,
    events: u64,
    wall_s: f64,
    trace_hash: &'a str,
    metrics: &'a Report,
    runs: [SeededRun<'a>; 1],
}

#[derive(Serialize)]
struct SeededRun<'a> {
    seed: u64,
    #[serde(flatten)]
    metrics: &'a Report,
}

/// Simulates, or names what can be simulated.
///
/// # Errors
/// A file that cannot be written.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => {
            say(&list());
            Ok(exit::DONE.into())
        }
        Command::Run(args) => simulate(args).await,
    }
}

async fn simulate(args: RunArgs) -> anyhow::Result<ExitCode> {
    let Some(shipped) = SHIPPED.iter().find(|found| found.name == args.scenario) else {
        eprintln!(
            "livestation: there is no scenario {:?}; there are:\n{}",
            args.scenario,
            list()
        );
        return Ok(exit::USAGE.into());
    };
    let mut scenario = (shipped.scenario)();
    if let Some(peers) = args.peers {
        scenario.peers = peers as usize;
    }
    let began = Instant::now();
    let seed = args.seed;
    let peers = scenario.peers;
    let report = tokio::task::spawn_blocking(move || ::sim::run(&scenario, seed))
        .await
        .context("the simulation broke")?;
    let outcome = Outcome {
        scenario: shipped.name,
        overlay: "livestation",
        peers,
        seeds: 1,
        events: report.events,
        wall_s: began.elapsed().as_secs_f64(),
        trace_hash: &report.trace_hash,
        metrics: &report,
        runs: [SeededRun {
            seed,
            metrics: &report,
        }],
    };
    if let Some(path) = &args.json {
        write_json_atomically(path, &outcome)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    say(&summary(&outcome));
    Ok(exit::DONE.into())
}

fn killed_half() -> Scenario {
    Scenario {
        faults: vec![Fault {
            at: Duration::from_secs(40),
            what: What::Vanish(Who::Share(0.5), How::Killed),
        }],
        ..Scenario::default()
    }
}

fn list() -> String {
    let mut text = String::new();
    for Shipped { name, about, .. } in SHIPPED {
        let _ = writeln!(text, "  {name:<12} {about}");
    }
    text
}

fn summary(outcome: &Outcome<'_>) -> String {
    let report = outcome.metrics;
    format!(
        "{} with {} viewers: {} of {} playing at the end, {} stalls, saved {:.2} %, \
         lag p95 {:.0} ms, start-up p50 {:.0} ms\n{} events in {:.1} s, trace {}\n",
        outcome.scenario,
        outcome.peers,
        report.playing,
        report.viewers,
        report.stalls,
        100.0 * report.saved_ratio,
        report.lag_p95_ms,
        report.startup_p50_ms,
        outcome.events,
        outcome.wall_s,
        outcome.trace_hash
    )
}

fn say(text: &str) {
    // A closed stdout is no reason to fail: the file is what scripts read.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
