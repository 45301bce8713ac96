//! The services, each a process with a certificate of its own role.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    collector::Collector,
    programs::{LOOK_AGAIN, Program, args, fails, free, init, tls},
    server::Postgres,
};

const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Station {
    folder: tempfile::TempDir,
    postgres: Option<Postgres>,
    database: String,
    /// `host:port` of accounts' gRPC and HTTP, which stay.
    accounts: [String; 2],
    running: BTreeMap<String, (Program, Value)>,
    starts: u32,
    pub(crate) collector: Collector,
    /// Where people go.
    pub(crate) http: String,
    /// The stream key of the channel `demo`.
    pub(crate) key: String,
}

impl Station {
    /// All of them, with a channel; on Postgres, or where there is none, on SQLite.
    pub(crate) async fn start() -> Result<Self> {
        boot::start()?;
        let folder = tempfile::tempdir()?;
        init(&folder.path().join("pki"), &[]).await?;
        let postgres = Postgres::start()?;
        let database = match &postgres {
            Some(postgres) => postgres.url(),
            None => format!("sqlite:{}/accounts.sqlite", folder.path().display()),
        };
        let (code, said) = fails(&["migrate"], &[("LIVESTATION_DATABASE", &database)]).await?;
        ensure!(code == Some(0), "{said}");
        let accounts = free::<2>()?.map(|address| address.to_string());
        let mut station = Self {
            folder,
            postgres,
            database,
            http: format!("http://{}", accounts[1]),
            accounts,
            running: BTreeMap::new(),
            starts: 0,
            collector: Collector::start()?,
            key: String::new(),
        };
        // In an order in which each misses somebody at first.
        for role in ["accounts", "ingest", "encoder", "seeder", "tracker"] {
            station.run(role).await?;
        }
        station.key = station.stream_key().await?;
        station.settles().await;
        Ok(station)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a service: a role, or a role and a number.
    pub(crate) async fn run(&mut self, name: &str) -> Result<()> {
        let role = name.split('-').next().unwrap_or(name);
        let [grpc, http] = &self.accounts;
        let folder = self.folder.path().display();
        let own = match role {
            "accounts" => format!(
                "--database {} --grpc {grpc} --http {http} --api-token-file {folder}/token",
                self.database
            ),
            "ingest" => "--rtmp 127.0.0.1:0 --srt 127.0.0.1:0".to_owned(),
            "encoder" => "--grpc 127.0.0.1:0".to_owned(),
            "seeder" => "--grpc 127.0.0.1:0 --http 127.0.0.1:0 --udp 127.0.0.1:0".to_owned(),
            // Viewers are sent where it says that it is, and nobody names that to accounts.
            _ => {
                let [http] = free()?;
                format!("--grpc 127.0.0.1:0 --http {http} --public-url http://{http}")
            }
        };
        let known = match role {
            "accounts" => String::new(),
            _ => format!("--accounts https://{grpc}"),
        };
        let words = format!("{role} {own} {known} --metrics 127.0.0.1:0");
        let words = args(&words, tls(&self.folder.path().join("pki"), role));
        let log = format!("{name}-{}", self.starts);
        self.starts += 1;
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.collector.url.clone()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ];
        let started = Program::start_in(self.folder.path(), &log, &words, &env).await?;
        self.running.insert(name.to_owned(), started);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// SIGTERM; that it is not ready is heard before it has ended.
    pub(crate) async fn tell(&mut self, name: &str) -> Result<Program> {
        let url = format!("{}/readyz", self.address(name, "metrics"));
        ensure!(reqwest::get(&url).await?.status().is_success(), "not ready");
        let (program, _) = self.running.remove(name).context("it does not run")?;
        program.terminate()?;
        let began = Instant::now();
        while reqwest::get(&url).await?.status().as_u16() != 503 {
            ensure!(began.elapsed() < Duration::from_secs(1), "still ready");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(program)
    }

    pub(crate) fn database_dies(&mut self) -> Result<()> {
        self.postgres.as_mut().map_or(Ok(()), Postgres::kill)
    }

    pub(crate) fn database_returns(&mut self) -> Result<()> {
        self.postgres.as_mut().map_or(Ok(()), Postgres::restart)
    }

    /// Everybody has heard of everybody.
    pub(crate) async fn settles(&self) {
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }

    /// What a service's ready file says.
    pub(crate) fn address(&self, name: &str, field: &str) -> String {
        let ready = self.running.get(name).map(|(_, ready)| &ready[field]);
        ready.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Waits until a service's figures have this line.
    pub(crate) async fn counts(&self, name: &str, line: &str) -> Result<()> {
        let url = format!("{}/metrics", self.address(name, "metrics"));
        let began = Instant::now();
        loop {
            let figures = reqwest::get(&url).await?.text().await?;
            if figures.lines().any(|one| one == line) {
                return Ok(());
            }
            ensure!(began.elapsed() < SOON, "{line} is not in {figures}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Where viewers come it is told whether one may, and nothing else.
    pub(crate) async fn tells_viewers_no_figures(&self) -> Result<()> {
        for name in ["accounts", "tracker", "seeder"] {
            let http = self.address(name, "http");
            for (path, status) in [("healthz", 200), ("readyz", 200), ("metrics", 404)] {
                let answer = reqwest::get(format!("{http}/{path}")).await?;
                let got = answer.status().as_u16();
                ensure!(got == status, "{name}: {path}: {got}");
            }
        }
        Ok(())
    }

    /// No log has the stream key, the API token or the database's password in it.
    pub(crate) fn kept_its_secrets(&self) -> Result<()> {
        let token = self.token()?;
        let mut looked = 0;
        for file in fs::read_dir(self.folder.path())? {
            let path = file?.path();
            if path.extension().is_none_or(|kind| kind != "log") {
                continue;
            }
            let log = fs::read_to_string(&path)?;
            for secret in [&self.key, &token, crate::server::PASSWORD] {
                ensure!(!log.contains(secret), "{}: a secret: {log}", path.display());
            }
            for wrong in ["panicked", "a call is refused"] {
                ensure!(!log.contains(wrong), "{}: {log}", path.display());
            }
            looked += 1;
        }
        ensure!(looked >= 6, "only {looked} logs");
        Ok(())
    }

    fn token(&self) -> Result<String> {
        let token = fs::read_to_string(self.folder.path().join("token"))?;
        Ok(token.trim().to_owned())
    }

    async fn stream_key(&self) -> Result<String> {
        let channels = format!("{}/api/v1/channels", self.http);
        self.post(&channels, json!({"name": "demo"})).await?;
        let made = self
            .post(&format!("{channels}/demo/keys"), Value::Null)
            .await?;
        let key = made["stream_key"].as_str();
        Ok(key.context("no key")?.to_owned())
    }

    async fn post(&self, url: &str, body: Value) -> Result<Value> {
        let client = reqwest::Client::new();
        let request = client.post(url).bearer_auth(self.token()?).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}
