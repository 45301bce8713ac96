//! What each UDP port of this machine sent over loopback, as the kernel counts it: a table
//! of nftables with a counter for each source port, sampled. Needs root.
//!
//! The one rule: bytes are UDP payload, as the contract counts them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, task::JoinHandle, time};

const EVERY: Duration = Duration::from_millis(500);
/// Headers of IPv4 and UDP, which nftables counts with each packet.
const HEADERS: u64 = 28;

static TABLES: AtomicU32 = AtomicU32::new(0);

/// A table that is counting; it goes when this does.
pub struct Meter {
    table: String,
    samples: Samples,
    sampling: JoinHandle<()>,
}

type Samples = Arc<Mutex<Vec<Sample>>>;

struct Sample {
    at: time::Instant,
    sent: HashMap<u16, u64>,
}

impl Meter {
    /// Begins to count, or says why that cannot be: no root, no nftables.
    ///
    /// # Errors
    /// When this machine does not let us.
    pub async fn start() -> Result<Self> {
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        let table = format!("livestation_{}_{number}", std::process::id());
        let rules = format!(
            "table inet {table} {{
                set sent {{ type inet_service; flags dynamic; size 65535; }}
                chain out {{
                    type filter hook output priority 0; policy accept;
                    oifname lo meta l4proto udp update @sent {{ udp sport counter }}
                }}
            }}"
        );
        nft(&["-f", "-"], &rules).await?;
        let samples = Samples::default();
        let sampling = tokio::spawn(sample(table.clone(), samples.clone()));
        Ok(Self {
            table,
            samples,
            sampling,
        })
    }

    /// What a port has sent since the start, in bytes.
    ///
    /// # Errors
    /// When nftables does not answer.
    pub async fn sent(&self, port: u16) -> Result<u64> {
        let sent = counters(&self.table).await?;
        Ok(sent.get(&port).copied().unwrap_or_default())
    }

    /// The highest rate of a port over any such span that was sampled, in bits a second.
    #[must_use]
    pub fn peak_bps(&self, port: u16, span: Duration) -> f64 {
        let samples = lock(&self.samples);
        let at = |sample: &Sample| sample.sent.get(&port).copied().unwrap_or_default() as f64;
        let mut peak: f64 = 0.0;
        let mut first = 0;
        for last in 0..samples.len() {
            let long = |first: usize| samples[last].at - samples[first].at >= span;
            while first + 1 < last && long(first + 1) {
                first += 1;
            }
            if long(first) {
                let seconds = (samples[last].at - samples[first].at).as_secs_f64();
                peak = peak.max((at(&samples[last]) - at(&samples[first])) * 8.0 / seconds);
            }
        }
        peak
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.sampling.abort();
        // Nothing is left to be done about a table that does not go.
        let _ = std::process::Command::new("nft")
            .args(["delete", "table", "inet", &self.table])
            .output();
    }
}

async fn sample(table: String, samples: Samples) {
    let mut ticks = time::interval(EVERY);
    loop {
        ticks.tick().await;
        if let Ok(sent) = counters(&table).await {
            let at = time::Instant::now();
            lock(&samples).push(Sample { at, sent });
        }
    }
}

async fn counters(table: &str) -> Result<HashMap<u16, u64>> {
    let listed = nft(&["-j", "list", "set", "inet", table, "sent"], "").await?;
    let listed: Value = serde_json::from_slice(&listed)?;
    let elements = listed["nftables"]
        .as_array()
        .and_then(|parts| parts.iter().find_map(|part| part["set"]["elem"].as_array()));
    elements
        .into_iter()
        .flatten()
        .map(|element| counter(&element["elem"]).context("nft lists an element without a counter"))
        .collect()
}

fn counter(element: &Value) -> Option<(u16, u64)> {
    let port = u16::try_from(element["val"].as_u64()?).ok()?;
    let (bytes, packets) = (&element["counter"]["bytes"], &element["counter"]["packets"]);
    let headers = packets.as_u64()? * HEADERS;
    Some((port, bytes.as_u64()?.saturating_sub(headers)))
}

async fn nft(args: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("nftables is not installed")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let done = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "nft: {said}");
    Ok(done.stdout)
}

fn lock(samples: &Samples) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn it_counts_the_payload_of_each_port() -> Result<()> {
        let meter = match Meter::start().await {
            Ok(meter) => meter,
            Err(error) => {
                eprintln!("SKIPPED, the kernel does not count for us: {error}");
                return Ok(());
            }
        };
        let [from, to] = [
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        ];
        for _ in 0..40 {
            from.send_to(&[0; 1000], to.local_addr()?)?;
            time::sleep(Duration::from_millis(50)).await;
        }
        let port = from.local_addr()?.port();
        assert_eq!(meter.sent(port).await?, 40_000);
        assert_eq!(meter.sent(to.local_addr()?.port()).await?, 0);
        let peak = meter.peak_bps(port, Duration::from_secs(1));
        assert!((120e3..=180e3).contains(&peak), "{peak}");
        Ok(())
    }
}
