//! The flags that name the operator's TURN servers.

use std::{fs, path::PathBuf};

use accounts::Turn;
use anyhow::{Context, ensure};

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
    pub(super) fn open(&self) -> anyhow::Result<Option<Turn>> {
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

/// RFC 7065, without TLS, which links have of their own.
fn parse_turn_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("turn:").map(|rest| {
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let known = ["", "transport=udp", "transport=tcp"].contains(&query);
        (host, known)
    });
    match host {
        Some((host, true)) if !host.is_empty() && !host.contains('/') => Ok(text.to_owned()),
        _ => Err("it looks like turn:turn.example:3478?transport=udp, or tcp".into()),
    }
}
