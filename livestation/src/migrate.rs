//! `livestation migrate`: brings the database of accounts to this program's version, or says
//! how far it is from it.
//!
//! The one rule: with `--check` nothing is changed.

use std::{io::Write, process::ExitCode};

use accounts::{Database, Migration};
use anyhow::Context;

use crate::exit;

/// Bring the database of accounts to this version.
///
/// Run it before accounts of a new version starts. It applies what is missing, each step whole
/// or not at all, and says what it did; several at once wait for each other. A database that a
/// newer version has migrated is left alone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  livestation migrate --database postgres://livestation:PASSWORD@db.example/livestation
  livestation migrate --check   # LIVESTATION_DATABASE says which; 1 when something is missing

A password on the command line is seen by everybody on the machine: better say it by the
environment. ?sslmode=verify-full&sslrootcert=FILE checks the server's certificate.")]
pub(crate) struct Args {
    /// postgres://user:password@host/name or sqlite:FILE
    #[arg(
        long,
        env = "LIVESTATION_DATABASE",
        hide_env_values = true,
        value_name = "URL"
    )]
    database: String,
    /// Change nothing: say what is missing, and exit with 1 if anything is
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database: Database = args.database.parse().context("--database")?;
    let (steps, done) = match args.check {
        true => (accounts::missing(&database).await, "missing"),
        false => (accounts::migrate(&database).await, "applied"),
    };
    let steps = steps.with_context(|| database.to_string())?;
    // A closed stdout is no reason to fail: the exit code says it too.
    let _ = std::io::stdout()
        .lock()
        .write_all(told(&database, done, &steps).as_bytes());
    match args.check && !steps.is_empty() {
        true => Ok(exit::FAILED.into()),
        false => Ok(exit::DONE.into()),
    }
}

fn told(database: &Database, done: &str, steps: &[Migration]) -> String {
    match steps {
        [] => format!("{database}: nothing is missing\n"),
        steps => steps
            .iter()
            .map(|step| format!("{database}: {done}: {} {}\n", step.version, step.name))
            .collect(),
    }
}
