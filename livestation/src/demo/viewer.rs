//! One of the demo's viewers: `livestation watch`, read by the files that it writes.

use std::path::{Path, PathBuf};

use boot::units::Rate;
use serde::Deserialize;

use super::{
    figures::Viewing,
    file,
    program::{Program, Recipe},
    screen::Row,
    this_program,
};

/// How it is started.
pub(super) struct Options<'a> {
    pub(super) number: usize,
    pub(super) url: &'a str,
    /// Nothing: it does not share.
    pub(super) upload_max: Option<Rate>,
    pub(super) folder: &'a Path,
}

/// It, running.
pub(super) struct Viewer {
    pub(super) program: Program,
    number: usize,
    shares: bool,
    stats_file: PathBuf,
    ready_file: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    http: String,
}

impl Viewer {
    pub(super) fn start(options: &Options<'_>) -> anyhow::Result<Self> {
        let named = |what: &str| file(options.folder, &format!("viewer-{}{what}", options.number));
        let (stats_file, ready_file) = (named(".json"), named("-ready.json"));
        let recipe = Recipe::new(this_program()?, named(".log"))
            .args(["watch", options.url, "--http", "127.0.0.1:0"])
            .args(["--udp", "127.0.0.1:0", "--stats-json"])
            .args([&stats_file])
            .args(["--ready-json"])
            .args([&ready_file]);
        let recipe = match options.upload_max {
            Some(rate) => recipe.args(["--upload-max", &rate.to_string()]),
            None => recipe.args(["--no-share"]),
        };
        Ok(Self {
            program: Program::start(recipe)?,
            number: options.number,
            shares: options.upload_max.is_some(),
            stats_file,
            ready_file,
        })
    }

    /// What it says of itself now; a file that is not there yet says nothing.
    pub(super) async fn row(&self) -> Row {
        Row {
            number: self.number,
            shares: self.shares,
            viewing: read::<Viewing>(&self.stats_file).await,
            page: read::<Ready>(&self.ready_file)
                .await
                .map(|ready| ready.http),
        }
    }
}

async fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let text = tokio::fs::read(path).await.ok()?;
    serde_json::from_slice(&text).ok()
}
