//! The measurements behind `bench/RESULTS.md`: `bench/run [exact] [carried] [swarm] [cost]
//! [kill3] [stop3] [kill6] [tracker] [seeder] [seeders] [pollute] [ride]`, all without a name; `soak`, which
//! takes half an hour; and `loss2 loss5 loss20`, with everyone on a machine of their own in a
//! network with weather, as root. It prints tables, and writes `bench/out/NAME.json` and `NAME.md`.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;
use tests::{
    scenario::{Row, apart, carried, cost, exact, ill, load, lossy, soak, vanish},
    stage::Ill,
};

const ALL: [&str; 12] = [
    "exact", "carried", "swarm", "cost", "kill3", "stop3", "kill6", "tracker", "seeder", "seeders",
    "pollute", "ride",
];
/// After a fault the viewers are watched for so long.
const AFTER: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names = ALL.map(str::to_owned).to_vec();
    }
    let mut failed = Vec::new();
    let mut missed = Vec::new();
    for name in &names {
        match measure(name).await {
            Ok(true) => {}
            Ok(false) => missed.push(name.as_str()),
            Err(error) => {
                say(&format!("## {name}\n\nfailed: {error:#}\n"))?;
                failed.push(name.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("did not run to the end: {}", failed.join(", "));
    }
    if !missed.is_empty() {
        bail!("a limit was not held: {}", missed.join(", "));
    }
    Ok(())
}

/// Runs and shows it; whether every limit was held.
async fn measure(name: &str) -> Result<bool> {
    match name {
        "exact" => {
            let report = exact::run(30).await?;
            show(name, &exact_rows(&report), &report)
        }
        "carried" => {
            let report = carried::run(carried::Plan {
                viewers: 12,
                // Not a divisor of the 2 s GOP, so that viewers come in every phase of it.
                spacing: Duration::from_millis(1700),
                steady: Duration::from_secs(60),
                decode: true,
            })
            .await?;
            show(name, &report.rows(), &report)
        }
        "swarm" => {
            let report = load::run(load::Plan {
                peers: 50,
                over: Duration::from_secs(5),
                settle: Duration::from_secs(10),
                window: Duration::from_secs(62),
            })
            .await?;
            show(name, &report.rows(), &report)
        }
        "cost" => {
            let report = cost::run(Duration::from_secs(30)).await?;
            show(name, &report.rows(), &report)
        }
        "kill3" | "stop3" | "kill6" => {
            let (vanish, relays) = if name == "kill6" {
                (6, false)
            } else {
                (3, true)
            };
            let signal = if name == "stop3" { "STOP" } else { "KILL" };
            let report = vanish::run(vanish::Plan {
                viewers: 12,
                vanish,
                relays,
                signal,
                after: AFTER,
            })
            .await?;
            let mut rows = report.rows(None);
            // Of those who are stopped some are children, who read nothing from then on.
            if signal == "STOP" {
                rows.push(report.memory_row());
            }
            show(name, &rows, &report)
        }
        "tracker" => {
            let report = apart::tracker(Duration::from_secs(60), AFTER).await?;
            show(name, &tracker_rows(&report), &report)
        }
        "seeder" => {
            let back = Some(Duration::from_millis(1500));
            let report = apart::seeder(1, back, AFTER).await?;
            show(name, &report.rows(Some(2000)), &report)
        }
        "seeders" => {
            let report = apart::seeder(2, None, AFTER).await?;
            show(name, &report.rows(None), &report)
        }
        "pollute" => {
            let report = ill::run(4, Ill::Forges, AFTER).await?;
            show(name, &report.rows_among_ill(0.95), &report)
        }
        "ride" => {
            let report = ill::run(6, Ill::Rides, AFTER).await?;
            show(name, &report.rows_among_ill(0.99), &report)
        }
        "soak" => {
            let seconds = std::env::var("LIVESTATION_SECONDS").ok();
            let lasts = Duration::from_secs(seconds.map_or(Ok(1800), |text| text.parse())?);
            // Caches fill in the first quarter.
            let report = soak::run(lasts / 4, lasts - lasts / 4).await?;
            show(name, &report.rows(), &report)
        }
        "loss2" => lost(name, lossy::Plan::minute(0.02, 0, 0), None).await,
        "loss5" => lost(name, lossy::Plan::minute(0.05, 50, 30), None).await,
        "loss20" => lost(name, lossy::Plan::minute(0.2, 0, 0), Some(4000)).await,
        _ => bail!("there is {}, soak, loss2, loss5, loss20", ALL.join(", ")),
    }
}

async fn lost(name: &str, plan: lossy::Plan, stall_ms: Option<u64>) -> Result<bool> {
    let report = lossy::run(plan).await?;
    show(name, &report.rows(stall_ms), &report)
}

fn tracker_rows(report: &apart::TrackerReport) -> Vec<Row> {
    let ms = |span: Option<u64>| span.map(|ms| ms as f64);
    let mut rows = report.aftermath.rows(None);
    rows.push(Row::at_most(
        "a newcomer is told",
        ms(report.told_ms),
        2000.0,
        "ms",
    ));
    rows.push(Row::at_most(
        "everyone registered after the return",
        ms(report.registered_ms),
        10_000.0,
        "ms",
    ));
    rows.push(Row::only(
        "the newcomer plays after the return",
        ms(report.newcomer_plays_ms),
        "ms",
    ));
    rows
}

/// A run that was not exact has no report.
fn exact_rows(report: &exact::Report) -> Vec<Row> {
    let mut rows = vec![Row::only("pictures", Some(report.pictures as f64), "")];
    for viewer in &report.viewers {
        let of = |what: &str| format!("{}: {what}", viewer.name);
        let came = report.pictures - viewer.first_picture;
        rows.push(Row::only(&of("pictures, all exact"), Some(came as f64), ""));
        rows.push(Row::at_most(
            &of("stalls"),
            Some(viewer.stalls as f64),
            0.0,
            "",
        ));
        let part = Some(viewer.from_peers * 100.0);
        rows.push(Row::only(&of("media from other viewers"), part, "%"));
    }
    rows
}

fn show(name: &str, rows: &[Row], report: &impl Serialize) -> Result<bool> {
    let mut table = format!("## {name}\n\n| measured | figure | limit | |\n|---|---|---|---|\n");
    for row in rows {
        let held = match row.held {
            Some(true) => "held",
            Some(false) => "**not held**",
            None if !row.limit.is_empty() => "**not measured**",
            None => "",
        };
        writeln!(
            table,
            "| {} | {} | {} | {held} |",
            row.what, row.figure, row.limit
        )?;
    }
    say(&table)?;
    let folder = out()?;
    std::fs::write(folder.join(format!("{name}.md")), &table)?;
    let json = serde_json::to_vec_pretty(&json!({"rows": rows, "report": report}))?;
    std::fs::write(folder.join(format!("{name}.json")), json)?;
    let held = |row: &Row| row.limit.is_empty() || row.held == Some(true);
    Ok(rows.iter().all(held))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn out() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let folder = root.context("the workspace")?.join("bench/out");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
