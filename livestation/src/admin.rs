//! `livestation admin`: lets people in, invites, looks, while the station runs or while it does
//! not. It speaks to the database alone.

use std::{fmt::Write as _, io::Write as _, path::PathBuf, process::ExitCode};

use accounts::{Account, Database, Operator};
use anyhow::Context;
use clap::{Subcommand, value_parser};

use crate::exit;

/// As `accounts` bounds it.
const AT_ONCE_MAX: u16 = 200;

/// Let people into the beta, invite them, see who waits.
///
/// It may be run while the station runs, on the machine that has the database. Letters that come
/// of it are sent by the station.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  livestation admin list
  livestation admin approve --next 10
  livestation admin approve ann@mail.example
  livestation admin invite --uses 20 --note 'readers of the newsletter'
  livestation admin promote you@live.example    # may do all this at /admin")]
pub(crate) struct Args {
    /// postgres://user:password@host/name or sqlite:FILE; else the one of --data-dir
    #[arg(
        long,
        global = true,
        env = "LIVESTATION_DATABASE",
        hide_env_values = true,
        value_name = "URL"
    )]
    database: Option<String>,
    /// Of a station that runs by `standalone`
    #[arg(
        long,
        global = true,
        env = "LIVESTATION_DATA_DIR",
        value_name = "DIR",
        default_value = "livestation-data"
    )]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Who waits, who is in, how the mail gets away
    List,
    /// Let in those named, or those who have waited longest
    Approve {
        /// Accounts on the waiting list
        #[arg(value_name = "EMAIL", required_unless_present = "next")]
        emails: Vec<String>,
        /// So many, in the order of the list
        #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=i64::from(AT_ONCE_MAX)))]
        next: Option<u16>,
    },
    /// Make a code that lets in without waiting; it is shown once
    Invite {
        /// How many accounts it lets in
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(i64).range(1..=10_000))]
        uses: i64,
        /// How long it is good
        #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = value_parser!(i64).range(1..=365))]
        days: i64,
        /// For whom, to know it again by
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Make an account an administrator
    Promote {
        /// The account
        #[arg(value_name = "EMAIL")]
        email: String,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database = database(&args)?;
    let operator = Operator::open(&database).await;
    let operator = operator.with_context(|| database.to_string())?;
    let said = obey(&operator, args.command).await;
    operator.close().await;
    // A closed stdout is no reason to fail: it is done.
    let _ = std::io::stdout().lock().write_all(said?.as_bytes());
    Ok(exit::DONE.into())
}

/// A file that is not there is nobody's station: a slip must not make one.
fn database(args: &Args) -> anyhow::Result<Database> {
    if let Some(url) = &args.database {
        return url.parse().context("--database");
    }
    let file = args.data_dir.join("accounts.sqlite");
    anyhow::ensure!(
        file.exists(),
        "there is no station in --data-dir {}; --database names another database",
        args.data_dir.display()
    );
    Ok(Database::sqlite(&file)?)
}

async fn obey(operator: &Operator, command: Command) -> anyhow::Result<String> {
    match command {
        Command::List => list(operator).await,
        Command::Approve { emails, next } => approve(operator, &emails, next).await,
        Command::Invite { uses, days, note } => {
            let code = operator.invite(&note, uses, days).await;
            let code = code.context("--note has at most 200 characters in one line")?;
            Ok(format!("{}\n", code.reveal()))
        }
        Command::Promote { email } => {
            let account = named(operator, &email).await?;
            operator.promote(account.id).await?;
            Ok(format!("{email} is an administrator\n"))
        }
    }
}

async fn list(operator: &Operator) -> anyhow::Result<String> {
    let beta = operator.beta().await?;
    let mail = beta.mail;
    let mut said = format!(
        "{} wait, {} are in; letters: {} to be sent ({} tried in vain, the oldest {} s old), {} given up\n",
        beta.waiting, beta.approved, mail.waiting, mail.failing, mail.oldest_s, mail.given_up
    );
    for (place, account) in operator.waiting_list().await?.iter().enumerate() {
        writeln!(said, "{:>5}  {}", place + 1, account.email.as_str())?;
    }
    for account in operator.approved().await? {
        let role = if account.administrator { "admin" } else { "in" };
        writeln!(said, "{role:>5}  {}", account.email.as_str())?;
    }
    Ok(said)
}

async fn approve(
    operator: &Operator,
    emails: &[String],
    next: Option<u16>,
) -> anyhow::Result<String> {
    let mut said = String::new();
    for email in emails {
        let account = named(operator, email).await?;
        let now = match operator.approve(account.id).await? {
            true => "is in",
            false => "was in already",
        };
        writeln!(said, "{email} {now}")?;
    }
    if let Some(next) = next {
        let approved = operator.approve_next(usize::from(next)).await?;
        writeln!(said, "{approved} more are in")?;
    }
    Ok(said)
}

async fn named(operator: &Operator, email: &str) -> anyhow::Result<Account> {
    let found = operator.account_of(email).await;
    found.with_context(|| format!("{email} has no account, or has not followed the link yet"))
}
