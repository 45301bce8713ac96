//! `livestation sim`: swarms on a virtual clock, by the simulator that drives the peers' and
//! the tracker's own code. A run depends on its scenario and its seed alone.

mod compare;
mod file;
mod outcome;
mod report;
mod shipped;

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use ::sim::{Overlay, Scenario};
use anyhow::Context;
use boot::files::write_json_atomically;
use outcome::{Outcome, SeededRun};
use tokio::task::JoinSet;

use crate::exit;

/// Simulate swarms on a virtual clock, with the same code that peers run.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Run(RunArgs),
    Compare(CompareArgs),
    Report(ReportArgs),
    /// Name the scenarios there are
    List,
}

/// Run a scenario, once or with many seeds
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  livestation sim run steady --peers 500
  livestation sim run kill-50 --seeds 20 --json kill-50.json
  livestation sim run scarce --set resource_index=0.8
  livestation sim run churn --overlay segments --set rival.segment=4s
  livestation sim run kill-50 --overlay all --report kill-50.html
  livestation sim run my-swarm.toml

A scenario is a TOML file; those that `sim list` names are in overlay/sim/scenarios, each of
them a good beginning for one of your own. Times in it count from the end of its warm-up.")]
struct RunArgs {
    /// One of those that `sim list` names, or a file
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// So many viewers instead of the scenario's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peers: Option<u32>,
    /// The same seed gives the same run, to the last event
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// So many runs with one seed after the other; figures are their medians
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    seeds: u32,
    /// Another value for one of the scenario's keys; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Who carries the broadcast: ours, client-server, single-tree, splitstream, pull-mesh or
    /// segments; all: one after the other
    #[arg(long, value_name = "NAME", default_value = "ours", value_parser = overlays)]
    overlay: Overlays,
    /// Write what came of it here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it: a page of its own, for a browser or to print
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// One, or all there are.
#[derive(Clone, Copy, Debug)]
enum Overlays {
    One(Overlay),
    All,
}

impl Overlays {
    fn each(self) -> Vec<Overlay> {
        match self {
            Self::One(overlay) => vec![overlay],
            Self::All => Overlay::ALL.to_vec(),
        }
    }
}

fn overlays(name: &str) -> Result<Overlays, String> {
    let found = Overlay::ALL
        .into_iter()
        .find(|overlay| overlay.name() == name);
    match found {
        Some(overlay) => Ok(Overlays::One(overlay)),
        None if name == "all" => Ok(Overlays::All),
        None => {
            let names: Vec<&str> = Overlay::ALL.iter().map(|overlay| overlay.name()).collect();
            Err(format!("there are {} and all", names.join(", ")))
        }
    }
}

/// Put two results beside each other
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  livestation sim run churn --seeds 8 --json before.json   # and after a change: after.json
  livestation sim compare before.json after.json

Marked with * is what differs by more than both spread over their seeds, of which there must be
four at least.")]
struct CompareArgs {
    /// What `sim run --json` wrote
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// Likewise
    #[arg(value_name = "B.json")]
    after: PathBuf,
}

/// Draw results side by side
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  livestation sim run churn --overlay all --json all.json
  livestation sim run churn --peers 10000 --json large.json
  livestation sim report all.json large.json --html churn.html")]
struct ReportArgs {
    /// What `sim run --json` wrote
    #[arg(value_name = "FILE.json", required = true)]
    results: Vec<PathBuf>,
    /// Write the page here
    #[arg(long, value_name = "FILE.html")]
    html: PathBuf,
}

/// What a viewer takes up here: measured, 200 and 1,000 of them in their steady state.
const BYTES_PER_VIEWER: u64 = 400 * 1024;

/// Simulates, compares, or names what can be simulated.
///
/// # Errors
/// A file that cannot be written or is not what it should be.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => {
            say(&shipped::list());
            Ok(exit::DONE.into())
        }
        Command::Compare(args) => {
            say(&compare::table(&args.before, &args.after)?);
            Ok(exit::DONE.into())
        }
        Command::Report(args) => {
            let mut outcomes = Vec::new();
            for path in &args.results {
                outcomes.extend(outcome::read(path)?);
            }
            draw(&args.html, &outcomes)?;
            Ok(exit::DONE.into())
        }
        Command::Run(args) => simulate(args).await,
    }
}

async fn simulate(args: RunArgs) -> anyhow::Result<ExitCode> {
    let (name, scenario) = match scenario(&args) {
        Ok(found) => found,
        Err(wrong) => {
            eprintln!("livestation: {}", wrong.trim_end());
            return Ok(exit::USAGE.into());
        }
    };
    let mut outcomes = Vec::new();
    for overlay in args.overlay.each() {
        let scenario = Scenario {
            overlay,
            ..scenario.clone()
        };
        let began = Instant::now();
        let mut runs = all_seeds(&scenario, args.seed, args.seeds).await?;
        runs.sort_by_key(|run| run.seed);
        let outcome = Outcome::new(&name, &scenario, began.elapsed(), runs);
        say(&outcome.summary());
        outcomes.push(outcome);
    }
    if let Some(path) = &args.json {
        let wrote = match &outcomes[..] {
            [one] => write_json_atomically(path, one),
            all => write_json_atomically(path, &all),
        };
        wrote.with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.report {
        draw(path, &outcomes)?;
    }
    Ok(exit::DONE.into())
}

fn draw(path: &Path, outcomes: &[Outcome]) -> anyhow::Result<()> {
    std::fs::write(path, report::page(outcomes))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// What is to be simulated, and its name.
fn scenario(args: &RunArgs) -> Result<(String, Scenario), String> {
    let mut set = args.set.clone();
    if let Some(peers) = args.peers {
        set.push(format!("swarm.peers={peers}"));
    }
    let (name, text) = match shipped::text(&args.scenario) {
        Some(text) => (args.scenario.clone(), text.to_owned()),
        None => from_file(Path::new(&args.scenario))?,
    };
    let (_, scenario) = file::read(&text, &set).map_err(|wrong| format!("{name}: {wrong}"))?;
    let there = scenario.peers as f64 * (1.0 + scenario.attack.sybils);
    let wants = there as u64 * BYTES_PER_VIEWER * u64::from(at_once(args.seeds));
    match available_memory() {
        Some(there) if wants > there => Err(format!(
            "{name}: {} viewers want some {} MiB, and {} are free; fewer --peers or --seeds",
            scenario.peers,
            wants >> 20,
            there >> 20
        )),
        _ => Ok((name, scenario)),
    }
}

fn from_file(path: &Path) -> Result<(String, String), String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        let there = shipped::list();
        format!("{path} is no file that can be read ({error}), nor one of these:\n{there}")
    })?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((stem.into_owned(), text))
}

/// What the system would give us, in bytes, where it says so.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Runs that go on side by side.
fn at_once(seeds: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    seeds.min(u32::try_from(cores).unwrap_or(1))
}

/// One thread a seed, as many at once as there are cores; who looks on is told.
async fn all_seeds(scenario: &Scenario, first: u64, count: u32) -> anyhow::Result<Vec<SeededRun>> {
    let mut waiting = (0..u64::from(count)).map(|at| first.wrapping_add(at));
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    let looks_on = count > 1 && std::io::stderr().is_terminal();
    loop {
        while running.len() < at_once(count) as usize
            && let Some(seed) = waiting.next()
        {
            let scenario = scenario.clone();
            running.spawn_blocking(move || {
                let began = Instant::now();
                let report = ::sim::run(&scenario, seed);
                (SeededRun::new(seed, &report), began.elapsed())
            });
        }
        let Some(ended) = running.join_next().await else {
            return Ok(done);
        };
        let (run, took): (SeededRun, Duration) = ended.context("the simulation broke")?;
        if looks_on {
            let (at, took) = (done.len() + 1, took.as_secs_f64());
            eprintln!(
                "{at} of {count}: seed {} took {took:.1} s: {}",
                run.seed,
                run.line()
            );
        }
        done.push(run);
    }
}

fn say(text: &str) {
    // A closed stdout is no reason to fail: the file is what scripts read.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
