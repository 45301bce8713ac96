//! The first and the last thing a process does. Called once, by `main`, before anything
//! that logs or speaks TLS.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What a quiet process says: what happens in its life, and what is wrong.
const DEFAULT_FILTER: &str = "info,str0m=warn,sqlx=warn,actix_server=warn,h2=warn,hyper=warn";

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter in the environment is not one.
    #[error("LIVESTATION_LOG is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The operating system refused a signal handler.
    #[error("cannot listen for signals: {0}")]
    Signal(#[from] std::io::Error),
}

/// Sends logs to stderr and makes aws-lc-rs the process's TLS. `LIVESTATION_LOG` is the
/// filter (`debug`, `info,tracker=trace`), `LIVESTATION_LOG_FORMAT=json` one JSON object a
/// line. Calling it again changes nothing.
///
/// # Errors
/// [`Error::Filter`].
pub fn start() -> Result<(), Error> {
    // A second caller finds the provider in place, which is what it wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = match std::env::var("LIVESTATION_LOG") {
        Ok(filter) => EnvFilter::try_new(filter)?,
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let json = std::env::var("LIVESTATION_LOG_FORMAT").is_ok_and(|format| format == "json");
    let _ = if json {
        logs.json().try_init()
    } else {
        logs.try_init()
    };
    Ok(())
}

/// A token that SIGTERM or SIGINT cancels. A second signal changes nothing: what drains
/// has deadlines of its own. Needs a tokio runtime.
///
/// # Errors
/// [`Error::Signal`].
pub fn shutdown_token() -> Result<CancellationToken, Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = cancelled.cancelled() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}
