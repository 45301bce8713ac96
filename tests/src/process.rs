//! A child process: its log in a file, its costs from `/proc`, killed when forgotten.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

const POLL: Duration = Duration::from_millis(20);
/// The clock ticks of `/proc/PID/stat`; 100 a second wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// What a process has used up so far, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss: u64,
    /// Open files and sockets.
    pub descriptors: usize,
}

impl Process {
    /// Starts the program under test with these arguments; `name` names the log, and the
    /// program in errors.
    ///
    /// # Errors
    /// When it is not built, or cannot be started.
    pub fn livestation<S: AsRef<OsStr>>(folder: &Path, name: &str, args: &[S]) -> Result<Self> {
        Self::start(folder, name, Command::new(program()?).args(args))
    }

    /// Starts a command with nothing to read, what it says going to `folder/name.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(folder: &Path, name: &str, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let name = name.to_owned();
        Ok(Self { child, name, log })
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid()?.to_string();
        let told = Command::new("kill").args(["-s", signal, &pid]).output();
        if told.await?.status.success() {
            return Ok(());
        }
        bail!("{} is not there to be told {signal}", self.name)
    }

    /// Waits for its end and answers its exit code.
    ///
    /// # Errors
    /// When it does not end in time, or a signal ended it.
    pub async fn wait(&mut self, within: Duration) -> Result<i32> {
        let status = timeout(within, self.child.wait())
            .await
            .with_context(|| format!("{} still runs after {within:?}", self.name))??;
        status
            .code()
            .with_context(|| format!("{}: {status}", self.name))
    }

    /// Asks it to end and answers how long that took.
    ///
    /// # Errors
    /// When it does not end in time, or not with exit code 0.
    pub async fn stop(&mut self, within: Duration) -> Result<Duration> {
        let told = Instant::now();
        self.signal("TERM").await?;
        match self.wait(within).await? {
            0 => Ok(told.elapsed()),
            code => bail!("{} ended with {code}:\n{}", self.name, self.said()),
        }
    }

    /// Waits for a JSON file that satisfies the condition, while the process runs.
    ///
    /// # Errors
    /// When the process ends first, or the time is up.
    pub async fn json<T: DeserializeOwned>(
        &mut self,
        file: &Path,
        within: Duration,
        condition: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Ok(bytes) = fs::read(file) {
                let value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not whole", file.display()))?;
                if condition(&value) {
                    return Ok(value);
                }
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended: {status}\n{}", self.name, self.said());
            }
            if began.elapsed() > within {
                bail!(
                    "{}: {} did not become so within {within:?}\n{}",
                    self.name,
                    file.display(),
                    self.said()
                );
            }
            sleep(POLL).await;
        }
    }

    /// What it costs.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn usage(&self) -> Result<Usage> {
        let pid = self.pid()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command's name, in parentheses, may hold spaces.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |at: usize| -> Result<u32> { Ok(fields.get(at).context("stat")?.parse()?) };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .context("no VmRSS")?;
        Ok(Usage {
            cpu: TICK * (ticks(11)? + ticks(12)?),
            rss: rss.trim().parse::<u64>()? << 10,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }

    fn pid(&self) -> Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{} has ended", self.name))
    }
}

/// The program: `LIVESTATION_BIN`, or what Cargo built beside this one.
///
/// # Errors
/// When it is not built.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LIVESTATION_BIN") {
        return Ok(path.into());
    }
    built("livestation").context("cargo build -p livestation")
}

/// A program that Cargo built beside this one.
///
/// # Errors
/// When it is not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let built = own
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    built.with_context(|| format!("{name} is not built"))
}
