//! A viewer that means ill: `liar URL FILE [UPLOAD] [forge|ride]`. One that forges alters
//! every tenth piece it relays, and when somebody has cut it, it comes back under a new name;
//! one that rides takes children and sends them no pieces. What it did under each name, and
//! what came of it, it adds to FILE as a line of JSON. Ends on SIGTERM.
//!
//! The one rule: it is an ordinary viewer in everything but what its tap does.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use native::{
    host::Tap,
    ticket::Address,
    viewer::{self, Config},
};
use overlay_core::{PeerId, Signed, wire::Message};
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Enough to be everybody's parent.
const UPLOAD: &str = "60Mbps";
/// Every so many pieces, one is altered.
const EVERY: u64 = 10;
/// So long after the first cut it lies on, to those whom it has not lied to.
const LIES_ON: Duration = Duration::from_millis(500);
/// And so long after that it waits for them to notice.
const LINGERS: Duration = Duration::from_millis(1200);
/// Who has not cut it so long after its first lie never will.
const NEVER: Duration = Duration::from_secs(5);
/// A name under which nobody took anything is given up.
const IDLE: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (url, file) = args.next().zip(args.next()).context("liar URL FILE")?;
    let upload = args.next().unwrap_or_else(|| UPLOAD.to_owned());
    let upload_bps = boot::units::parse_rate(&upload)
        .map_err(anyhow::Error::msg)?
        .bps();
    let rides = args.next().is_some_and(|how| how == "ride");
    let plan = Plan {
        url,
        upload_bps,
        rides,
    };
    let mut told = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        told.recv().await;
        stopped.cancel();
    });
    let mut file = OpenOptions::new().create(true).append(true).open(&file)?;
    while !stop.is_cancelled() {
        writeln!(file, "{}", live(&plan, &stop).await?)?;
    }
    Ok(())
}

/// What it is to do.
struct Plan {
    url: String,
    upload_bps: u64,
    rides: bool,
}

/// What was done to one child.
struct Deed {
    first: Instant,
    altered: u64,
    cut: Option<Instant>,
}

#[derive(Default)]
struct Deeds {
    sent: u64,
    by_child: BTreeMap<PeerId, Deed>,
    first_cut: Option<Instant>,
}

struct Lie(Arc<Mutex<Deeds>>);

struct Ride;

impl Tap for Ride {
    fn on_send(&mut self, _: PeerId, message: &mut Message<Signed>) -> bool {
        !matches!(message, Message::Piece(_))
    }

    fn on_down(&mut self, _: PeerId) {}
}

impl Tap for Lie {
    fn on_send(&mut self, to: PeerId, message: &mut Message<Signed>) -> bool {
        let Message::Piece(piece) = message else {
            return true;
        };
        let mut deeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deeds.sent += 1;
        let lies = deeds.first_cut.is_none_or(|cut| cut.elapsed() < LIES_ON);
        if !lies || !deeds.sent.is_multiple_of(EVERY) {
            return true;
        }
        let mut bytes = piece.piece.to_vec();
        let at = deeds.sent as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        piece.piece = bytes.into();
        let deed = deeds.by_child.entry(to).or_insert_with(|| Deed {
            first: Instant::now(),
            altered: 0,
            cut: None,
        });
        deed.altered += 1;
        true
    }

    fn on_down(&mut self, peer: PeerId) {
        let mut deeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(deed) = deeds.by_child.get_mut(&peer) {
            deed.cut.get_or_insert(now);
            deeds.first_cut.get_or_insert(now);
        }
    }
}

/// One name, from joining to leaving.
async fn live(plan: &Plan, stop: &CancellationToken) -> Result<serde_json::Value> {
    let address = Address::parse(&plan.url)?;
    let ticket = address.ticket().await?;
    let config = Config {
        address,
        udp: None,
        upload_bps: plan.upload_bps,
        began: Instant::now(),
        line: None,
    };
    let (viewer, running) = viewer::open(config, ticket).await?;
    let deeds = Arc::new(Mutex::new(Deeds::default()));
    let leave = CancellationToken::new();
    let tap: Box<dyn Tap> = match plan.rides {
        true => Box::new(Ride),
        false => Box::new(Lie(deeds.clone())),
    };
    let running = running.tapped(tap).run(leave.clone());
    let began = Instant::now();
    let until_done = async {
        let is_over = || !plan.rides && is_over(&deeds, began);
        while !stop.is_cancelled() && !is_over() {
            sleep(Duration::from_millis(20)).await;
        }
        leave.cancel();
    };
    tokio::join!(running, until_done);
    Ok(account(viewer.peer, &deeds))
}

fn is_over(deeds: &Mutex<Deeds>, began: Instant) -> bool {
    let deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let first = deeds.by_child.values().map(|deed| deed.first).min();
    match (deeds.first_cut, first) {
        (Some(cut), _) => {
            let noticed = deeds.by_child.values().all(|deed| deed.cut.is_some());
            let enough = if noticed { LIES_ON } else { LIES_ON + LINGERS };
            cut.elapsed() >= enough
        }
        (None, Some(first)) => first.elapsed() >= NEVER,
        (None, None) => began.elapsed() >= IDLE,
    }
}

fn account(name: PeerId, deeds: &Mutex<Deeds>) -> serde_json::Value {
    let deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let told = deeds.by_child.iter();
    // Whoever was lied to a moment before the end had no time to answer.
    let answered = |deed: &Deed| deed.cut.is_some() || deed.first.elapsed() >= LINGERS;
    let children: Vec<_> = told
        .filter(|(_, deed)| answered(deed))
        .map(|(child, deed)| {
            let cut = deed.cut.map(|cut| cut.duration_since(deed.first));
            json!({
                "child": child.to_string(),
                "altered": deed.altered,
                "cut_ms": cut.map(|cut| cut.as_millis() as u64),
            })
        })
        .collect();
    json!({ "peer": name.to_string(), "sent": deeds.sent, "children": children })
}
