//! One plain request to a station, without a client's machinery.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 1 << 20;

/// Asks `http://host:port/path` with GET or POST and reads the answer's JSON.
///
/// # Errors
/// When there is no answer of status 200 in time, or it is not JSON.
pub async fn json(method: &str, url: &str) -> Result<Value> {
    timeout(DEADLINE, ask(method, url))
        .await
        .context("no answer")?
}

async fn ask(method: &str, url: &str) -> Result<Value> {
    let rest = url.strip_prefix("http://").context("not an address")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).await?;
    // HTTP/1.0 has no chunks: the body ends with the connection.
    let request = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{url}: {status} {body}");
    Ok(serde_json::from_str(body)?)
}
