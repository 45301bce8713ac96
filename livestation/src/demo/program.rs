//! A program that the demo runs: started in a process group of its own, so that Ctrl-C
//! reaches the demo alone, kept running, and ended with the demo even when that is killed.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::{self, Instant},
};

/// Who ends sooner than this after its start did not get going.
const SOON: Duration = Duration::from_secs(3);
/// So many times in a row, and it never will.
const MAX_SOON_ENDS: u32 = 5;
/// How much of a log an error shows.
const LOG_LINES: usize = 6;

/// How a program is started.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    /// Takes its stderr.
    pub(super) log: PathBuf,
}

/// A program that runs.
pub(super) struct Program {
    recipe: Recipe,
    child: Child,
    started: Instant,
    restarts: u32,
    soon_ends: u32,
}

impl Recipe {
    pub(super) fn new(program: impl Into<PathBuf>, log: PathBuf) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            log,
        }
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args.extend(args);
        self
    }

    fn start(&self) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        self.command()
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn command(&self) -> Command {
        if !dies_with_us() {
            return Command::new(&self.program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.program);
        command
    }

    /// The end of what it said.
    fn last_lines(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ")
    }
}

/// Linux ends a program with the thread that started it when util-linux's setpriv asks for
/// it; the demo starts all from its main thread. Elsewhere who kills the demo with SIGKILL
/// has to end the rest too.
fn dies_with_us() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        std::process::Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

impl Program {
    pub(super) fn start(recipe: Recipe) -> anyhow::Result<Self> {
        let child = recipe.start()?;
        Ok(Self {
            recipe,
            child,
            started: Instant::now(),
            restarts: 0,
            soon_ends: 0,
        })
    }

    /// Starts it again if it ended; called at every tick. Fails when it never gets going.
    pub(super) fn keep(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            return Ok(());
        }
        if self.started.elapsed() > SOON {
            self.soon_ends = 0;
        }
        self.soon_ends += 1;
        if self.soon_ends >= MAX_SOON_ENDS {
            bail!("{}", self.obituary("ends at once, again and again"));
        }
        self.child = self.recipe.start()?;
        self.started = Instant::now();
        self.restarts += 1;
        Ok(())
    }

    /// Fails if it ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{}", self.obituary(&format!("ended: {status}"))),
        }
    }

    /// How often it had to be started again.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// SIGTERM.
    pub(super) fn ask_to_end(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // One that has ended by itself needs no asking.
            let _ = kill_process_group(pid, Signal::TERM);
        }
    }

    /// Waits for its end, and kills it at the deadline.
    pub(super) async fn end_by(&mut self, deadline: Instant) {
        if time::timeout_at(deadline, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    fn obituary(&self, what: &str) -> String {
        let name = Path::new(&self.recipe.program).file_name();
        let name = name.unwrap_or_default().to_string_lossy();
        format!("{name} {what}\n  {}", self.recipe.last_lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(folder: &Path, script: &str) -> Recipe {
        Recipe::new("sh", folder.join("log")).args(["-c", script])
    }

    #[tokio::test]
    async fn one_that_never_gets_going_is_given_up_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(recipe(folder.path(), "echo no such codec >&2")).unwrap();
        let error = loop {
            time::sleep(Duration::from_millis(20)).await;
            if let Err(error) = program.keep() {
                break error.to_string();
            }
        };
        assert!(error.contains("again and again") && error.contains("no such codec"));
        assert_eq!(program.restarts(), MAX_SOON_ENDS - 1);
    }

    #[tokio::test]
    async fn one_that_will_not_end_is_killed_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let deaf = "trap '' TERM; while :; do sleep 0.05; done";
        let mut program = Program::start(recipe(folder.path(), deaf)).unwrap();
        time::sleep(Duration::from_millis(200)).await;
        program.ask_to_end();
        let asked = Instant::now();
        program.end_by(asked + Duration::from_millis(300)).await;
        assert!((300..1000).contains(&asked.elapsed().as_millis()));
        assert!(program.check().is_err());
    }
}
