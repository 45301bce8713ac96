//! The program as people run it, started and watched.

#![allow(dead_code, reason = "tests share it, and each uses a part")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

pub(crate) const START: Duration = Duration::from_secs(20);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A program that is killed when the test is over.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it and waits for its ready file.
    pub(crate) async fn start(folder: &Path, name: &str, args: &[String]) -> Result<(Self, Value)> {
        Self::start_in(folder, name, args, &[]).await
    }

    /// As [`Program::start`], with these variables in its environment.
    pub(crate) async fn start_in(
        folder: &Path,
        name: &str,
        args: &[String],
        env: &[(&str, String)],
    ) -> Result<(Self, Value)> {
        let ready = folder.join(format!("{name}.json"));
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = program()
            .args(args)
            .envs(env.iter().cloned())
            .arg("--ready-json")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut program = Self(child);
        let began = Instant::now();
        while !ready.exists() {
            if let Some(status) = program.0.try_wait()? {
                let log = fs::read_to_string(folder.join(format!("{name}.log")))?;
                bail!("{name} ended before it was ready: {status}: {log}");
            }
            ensure!(began.elapsed() < START, "{name} is not ready in time");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok((program, serde_json::from_slice(&fs::read(&ready)?)?))
    }
}

impl Program {
    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Tells it to end, as an operator does.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status()?;
        ensure!(told.success(), "it is gone");
        Ok(())
    }

    /// Waits for its end; how long that took.
    pub(crate) async fn ends(&mut self, within: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.code() == Some(0), "{status}");
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < within, "still running");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_livestation"))
}

/// Runs the program to its end, which comes within [`START`].
async fn ends(command: &mut Command) -> Result<Output> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > START {
            child.kill()?;
            child.wait()?;
            bail!("still running");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(child.wait_with_output()?)
}

/// Its exit code and what it says of why.
pub(crate) async fn fails(args: &[&str], env: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = ends(program().args(args).envs(env.iter().copied())).await?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

pub(crate) async fn init(folder: &Path, more: &[&str]) -> Result<String> {
    let output = ends(program().args(["pki", "init"]).arg(folder).args(more)).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn tls(pki: &Path, holder: &str) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    [
        "--tls-ca".to_owned(),
        file("ca.pem"),
        "--tls-cert".to_owned(),
        file(&format!("{holder}.pem")),
        "--tls-key".to_owned(),
        file(&format!("{holder}.key")),
    ]
    .to_vec()
}

pub(crate) fn args(words: &str, more: Vec<String>) -> Vec<String> {
    words
        .split_whitespace()
        .map(str::to_owned)
        .chain(more)
        .collect()
}

/// Addresses that are free, all at once.
pub(crate) fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let all: Vec<_> = held
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    all.try_into().map_err(|_| anyhow::anyhow!("too few"))
}
