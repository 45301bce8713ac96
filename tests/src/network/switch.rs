//! The program `weather` at work where a network's cables end.
//!
//! The one rule: it is gone when this is.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    process,
    weather::{Counters, Weather},
};

/// It answers within this.
const ANSWERS: Duration = Duration::from_secs(5);

/// Running.
pub(super) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
}

impl Running {
    /// In that namespace.
    pub(super) fn start(space: &str, weather: Weather) -> Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", space])
            .arg(process::built("weather")?)
            .args(weather.args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("it says nothing")?;
        // It says one line for each that it is told.
        let (to, said) = sync_channel(1);
        thread::spawn(move || listen(output, &to));
        Ok(Self { child, input, said })
    }

    /// One more cable ends there.
    pub(super) fn plug(&mut self, port: &str) -> Result<()> {
        let input = self.input.as_mut().context("it has ended")?;
        writeln!(input, "{port}")?;
        let said = self.said.recv_timeout(ANSWERS).context("the switch")?;
        ensure!(said == port, "the switch says {said:?} to {port}");
        Ok(())
    }

    /// Ends it and answers what became of frames.
    pub(super) fn ends(mut self) -> Result<Counters> {
        drop(self.input.take());
        let said = self.said.recv_timeout(ANSWERS).context("the switch")?;
        Ok(serde_json::from_str(&said)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is nothing left to be done about one that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until it ends, or nobody wants to hear it any more.
fn listen(output: ChildStdout, to: &SyncSender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}
