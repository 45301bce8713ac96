//! The flags that name the operator's TURN servers.

use std::{fs, path::PathBuf};

use accounts::Turn;
use anyhow::{Context, ensure};
use native::ticket::read_turn_url;

/// A secret is a line, not a book.
const MAX_SECRET: usize = 1024;

/// For viewers that find no other way to each other.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct Args {
    /// A TURN server for viewers that find no other way, such as
    /// turn:turn.example:3478?transport=tcp; may repeat. It carries those viewers' bytes twice
    #[arg(
        long = "turn",
        env = "LIVESTATION_TURN",
        value_name = "URL",
        value_delimiter = ',',
        requires = "turn_secret_file",
        value_parser = parse_turn_url
    )]
    turn: Vec<String>,
    /// Holds the secret that TURN servers share with the station: coturn's static-auth-secret
    #[arg(
        long,
        env = "LIVESTATION_TURN_SECRET_FILE",
        value_name = "FILE",
        requires = "turn"
    )]
    turn_secret_file: Option<PathBuf>,
}

impl Args {
    /// Reads the secret.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Turn>> {
        let Some(path) = &self.turn_secret_file else {
            return Ok(None);
        };
        let named = || format!("--turn-secret-file {}", path.display());
        let text = fs::read_to_string(path).with_context(named)?;
        let secret = text.trim().to_owned();
        let fits = (1..=MAX_SECRET).contains(&secret.len()) && !secret.contains('\n');
        ensure!(fits, "{} holds no secret of one line", named());
        let urls = self.turn.clone();
        Ok(Some(Turn { urls, secret }))
    }
}

/// What viewers can read; links have an encryption of their own, so that there is no `turns`.
fn parse_turn_url(text: &str) -> Result<String, &'static str> {
    let sound = |(host, _): (String, _)| !host.starts_with(':') && !host.contains('/');
    match read_turn_url(text).is_some_and(sound) {
        true => Ok(text.to_owned()),
        false => Err("it looks like turn:turn.example:3478?transport=udp, or tcp"),
    }
}
