//! A Redis of a test's own, on a port of its own, which dies with the test. Tests of other
//! crates take this file too.
#![allow(dead_code, reason = "not every test does all of it")]

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

const START_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Server {
    /// `None`, and a word on why, where it is not installed.
    pub(crate) fn start() -> Result<Option<Self>> {
        let installed = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if installed.is_err() {
            eprintln!("left out: Redis is not installed (Debian: apt install redis-server)");
            return Ok(None);
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let child = spawn(&folder, port)?;
        let mut server = Self {
            folder,
            port,
            child,
        };
        server.wait()?;
        Ok(Some(server))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Without a goodbye (SIGKILL).
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// At the same place, with nothing in it.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.folder, self.port)?;
        self.wait()
    }

    /// All that is in it.
    pub(crate) fn forget(&self) -> Result<()> {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string(), "flushall"]);
        ensure!(client.stdout(Stdio::null()).status()?.success(), "flushall");
        Ok(())
    }

    /// `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        ensure!(kill.status()?.success(), "kill -{name}");
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "redis-server: {ended:?}");
            ensure!(began.elapsed() < START_DEADLINE, "redis-server is not up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn spawn(folder: &tempfile::TempDir, port: u16) -> Result<Child> {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn();
    child.context("redis-server")
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was killed is not there to be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
