//! The program: one binary, a subcommand per role. Each subcommand is a file here with its
//! `Args` and a `run` that answers with the exit code; everything they host lives in the
//! libraries.

mod accounts;
mod admin;
mod apart;
mod demo;
mod encoder;
mod exit;
mod heap;
mod ingest;
mod mail;
mod migrate;
mod pki;
mod seeder;
mod sim;
mod standalone;
mod swarm;
mod tls;
mod tracker;
mod watch;
mod web;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

/// Live video that its viewers carry.
#[derive(Parser)]
#[command(
    name = "livestation",
    version,
    arg_required_else_help = true,
    after_help = "\
Try it:
  livestation demo                                      a station, a broadcast and six viewers
  livestation standalone                                a station of your own
  livestation watch http://127.0.0.1:8080/demo --out -  a viewer, into a player's pipe

RATE is 3Mbps or 500kbps, DURATION 250ms, 16s or 5m, ADDR ip:port (port 0: any free one).
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such channel, 4 ticket refused,
5 the broadcast never came within --wait.
LIVESTATION_LOG sets the log filter (debug, info,tracker=trace), LIVESTATION_LOG_FORMAT=json
one JSON object a line."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Standalone(Box<standalone::Args>),
    Accounts(Box<accounts::Args>),
    Admin(admin::Args),
    Migrate(migrate::Args),
    Ingest(ingest::Args),
    Encoder(encoder::Args),
    Tracker(tracker::Args),
    Seeder(seeder::Args),
    Watch(watch::Args),
    Swarm(swarm::Args),
    Sim(sim::Args),
    Demo(demo::Args),
    Pki(pki::Args),
}

fn main() -> ExitCode {
    heap::keep_small();
    let cli = Cli::parse();
    let ended = start(cli);
    boot::traces::end();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("livestation: {error:#}");
            exit::FAILED.into()
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    boot::start_as(service(&cli.command))?;
    let runtime = threads(&cli.command)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(run(cli.command));
    // What still runs has had its deadline: a thread in a blocking call must not hold the exit.
    runtime.shutdown_background();
    code
}

/// A viewer's work is one task's; on more threads, each with a heap of its own to the
/// allocator, it grew by 1.7 % an hour while others came and went.
fn threads(command: &Command) -> Builder {
    match command {
        Command::Watch(_) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    }
}

/// As traces call it.
fn service(command: &Command) -> &'static str {
    match command {
        Command::Accounts(_) => "livestation-accounts",
        Command::Ingest(_) => "livestation-ingest",
        Command::Encoder(_) => "livestation-encoder",
        Command::Tracker(_) => "livestation-tracker",
        Command::Seeder(_) => "livestation-seeder",
        _ => "livestation",
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Standalone(args) => standalone::run(*args).await,
        Command::Accounts(args) => accounts::run(*args).await,
        Command::Admin(args) => admin::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Ingest(args) => ingest::run(args).await,
        Command::Encoder(args) => encoder::run(args).await,
        Command::Tracker(args) => tracker::run(args).await,
        Command::Seeder(args) => seeder::run(args).await,
        Command::Watch(args) => watch::run(args).await,
        Command::Swarm(args) => swarm::run(args).await,
        Command::Sim(args) => sim::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Pki(args) => pki::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// What the environment says is shown by `--help` unless it is hidden.
    #[test]
    fn help_does_not_show_passwords() {
        for (name, flag) in [
            ("accounts", "database"),
            ("accounts", "smtp_url"),
            ("admin", "database"),
            ("migrate", "database"),
            ("standalone", "smtp_url"),
        ] {
            let mut cli = Cli::command();
            let command = cli.find_subcommand_mut(name).expect("a subcommand");
            let hidden = |arg: &&clap::Arg| arg.is_hide_env_values_set();
            let found = command.get_arguments().find(|arg| arg.get_id() == flag);
            assert!(found.as_ref().is_some_and(hidden), "{name} {flag}");
        }
    }
}
