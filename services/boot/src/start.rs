//! The first and the last thing a process does. Called once, by `main`, before anything
//! that logs or speaks TLS.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::traces;

/// What a quiet process says: what happens in its life, and what is wrong.
const DEFAULT_FILTER: &str = "info";
/// They say much, and may name addresses: of them only what is wrong, unless who reads the
/// log names them.
const LIBRARIES: [&str; 15] = [
    "str0m",
    "is",
    "dimpl",
    "sctp_proto",
    "sqlx",
    "actix_server",
    "actix_http",
    "h2",
    "hyper",
    "tungstenite",
    "tokio_tungstenite",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "reqwest",
];
/// Even what is wrong names addresses here, or is said of every lost packet.
const SILENT: [&str; 5] = [
    "srt_protocol",
    "turn_client_proto",
    "turn_types",
    "stun_proto",
    "stun_types",
];

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter in the environment is not one.
    #[error("LIVESTATION_LOG is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Traces cannot be sent as the environment says.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(String),
    /// The operating system refused a signal handler.
    #[error("cannot listen for signals: {0}")]
    Signal(#[from] std::io::Error),
}

/// As [`start_as`], without a name of its own.
///
/// # Errors
/// [`Error`].
pub fn start() -> Result<(), Error> {
    start_as("livestation")
}

/// Sends logs to stderr and makes aws-lc-rs the process's TLS. `LIVESTATION_LOG` is the
/// filter (`debug`, `info,tracker=trace`), `LIVESTATION_LOG_FORMAT=json` one JSON object a
/// line. `OTEL_EXPORTER_OTLP_ENDPOINT` is where traces go, as those of `service`; then it must
/// not be called inside a runtime. Calling it again changes nothing.
///
/// # Errors
/// [`Error::Filter`], [`Error::Traces`].
pub fn start_as(service: &str) -> Result<(), Error> {
    // A second caller finds the provider in place, which is what it wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let wanted = std::env::var("LIVESTATION_LOG");
    let filter = EnvFilter::try_new(filter(wanted.as_deref().unwrap_or(DEFAULT_FILTER)))?;
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let json = std::env::var("LIVESTATION_LOG_FORMAT").is_ok_and(|format| format == "json");
    let logs = match json {
        true => logs.json().boxed(),
        false => logs.boxed(),
    };
    let all = tracing_subscriber::registry()
        .with(logs.with_filter(filter))
        .with(traces::layer(service)?);
    // Who was first stays.
    let _ = all.try_init();
    Ok(())
}

/// What is wanted, with the libraries held at warnings where it does not name them.
fn filter(wanted: &str) -> String {
    let directives = || wanted.split(',').map(str::trim);
    let all = directives().filter_map(|level| level.parse::<LevelFilter>().ok());
    // Who wants less than warnings gets less of the libraries too.
    if all.max().is_none_or(|level| level <= LevelFilter::WARN) {
        return wanted.to_owned();
    }
    let mut filter = wanted.to_owned();
    let quiet = LIBRARIES.map(|library| (library, "warn"));
    let silent = SILENT.map(|library| (library, "off"));
    for (library, level) in quiet.into_iter().chain(silent) {
        let target = |directive: &str| directive.split(['=', '[', ':']).next() == Some(library);
        if !directives().any(target) {
            filter.push_str(&format!(",{library}={level}"));
        }
    }
    filter
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        assert!(filter(DEFAULT_FILTER).starts_with("info,str0m=warn,is=warn,"));
        let named = filter("debug, str0m=debug,tracker=trace,h2[request]=info");
        assert!(named.starts_with("debug, str0m=debug,tracker=trace,h2[request]=info,is=warn"));
        assert!(!named.contains("str0m=warn") && !named.contains("h2=warn"));
        assert_eq!(filter("off"), "off");
        assert_eq!(filter("error,tracker=info"), "error,tracker=info");
        for wanted in [DEFAULT_FILTER, "trace", "debug,str0m::ice=trace", "warn"] {
            assert!(EnvFilter::try_new(filter(wanted)).is_ok(), "{wanted}");
        }
        assert!(EnvFilter::try_new(filter("info,=====")).is_err());
    }
}
