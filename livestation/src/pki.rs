//! `livestation pki`: certificates with which the services know each other.

use std::{fmt::Write as _, io::Write as _, path::PathBuf, process::ExitCode};

use boot::pki::{Authority, Holder, parse_holder, parse_host};

use crate::exit;

/// Hosts that a certificate names at most.
const HOSTS_MAX: usize = 32;

/// Make the certificates with which services on several machines know each other.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Init(InitArgs),
}

/// Make a CA in DIR, and a certificate and key for every role
///
/// A role is a service's identity: a certificate names it (seeder.livestation.internal), and
/// a service refuses calls of roles that have no business with it. station.pem names all
/// roles, for `livestation standalone`. Each machine needs ca.pem, and the .pem and .key of
/// what runs there. ca.key signs them all and stays here. Keys are readable by their owner
/// alone.
///
/// The CA is good for ten years, a certificate for one. Run again, it makes what is missing
/// and leaves the rest as it is. Running services take a renewed certificate by themselves.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  livestation pki init pki                 once
  livestation pki init pki --renew station --renew seeder
                                           every year, then copy seeder.pem and seeder.key

A station here and a seeder on another machine, which has ca.pem, seeder.pem and seeder.key:
  livestation standalone --accounts-grpc 192.0.2.1:7700 --tracker-grpc 192.0.2.1:7701 \\
    --seeder https://192.0.2.2:7702 \\
    --tls-ca pki/ca.pem --tls-cert pki/station.pem --tls-key pki/station.key
  livestation seeder --accounts https://192.0.2.1:7700 --tracker https://192.0.2.1:7701 \\
    --grpc 192.0.2.2:7702 --udp 0.0.0.0:4433 --http 0.0.0.0:8082 \\
    --tls-ca ca.pem --tls-cert seeder.pem --tls-key seeder.key")]
struct InitArgs {
    /// Holds ca.pem, ca.key, and ROLE.pem and ROLE.key of every role; made when it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A name or address of the machines, for tools that look at those; our services go by
    /// roles. May repeat [default: localhost and 127.0.0.1, or those of the renewed]
    #[arg(long = "name", value_name = "NAME", value_parser = parse_host)]
    names: Vec<String>,
    /// Make a new certificate and key for this role: accounts, ingest, encoder, tracker, seeder
    /// or station. May repeat
    #[arg(long, value_name = "ROLE", value_parser = parse_holder)]
    renew: Vec<Holder>,
}

/// Makes what is missing and what is to be renewed.
///
/// # Errors
/// A folder that cannot be written, or whose CA is broken or has ended.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Init(args) = args.command;
    anyhow::ensure!(
        args.names.len() <= HOSTS_MAX,
        "--name may repeat {HOSTS_MAX} times"
    );
    let authority = Authority::open(&args.folder)?;
    let mut said = format!(
        "{}  {}, until {}\n",
        authority.ca().display(),
        if authority.is_new() {
            "made"
        } else {
            "there already"
        },
        authority.until()
    );
    for holder in Holder::all() {
        let path = authority.certificate(holder);
        let there = authority.has(holder);
        if there && !args.renew.contains(&holder) {
            let _ = writeln!(said, "{}  there already", path.display());
            continue;
        }
        let until = authority.issue(holder, &names(&args, &authority, holder)?)?;
        let what = if there { "renewed" } else { "made" };
        let _ = writeln!(said, "{}  {what}, until {until}", path.display());
    }
    // A closed stdout is no reason to fail: the files are there.
    let _ = std::io::stdout().lock().write_all(said.as_bytes());
    Ok(exit::DONE.into())
}

/// The hosts that a certificate is to name.
fn names(args: &InitArgs, authority: &Authority, holder: Holder) -> anyhow::Result<Vec<String>> {
    if !args.names.is_empty() {
        return Ok(args.names.clone());
    }
    match authority.has(holder) {
        true => Ok(authority.hosts(holder)?),
        false => Ok(["localhost", "127.0.0.1"].map(str::to_owned).to_vec()),
    }
}
