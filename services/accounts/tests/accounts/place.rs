//! Where a test's accounts keeps its data.

use accounts::{Accounts, Config, Database, Push};
use anyhow::Result;
use presence::Presence;

use crate::server::Postgres;

pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) postgres: Option<Postgres>,
}

impl Place {
    pub(crate) fn sqlite() -> Result<Self> {
        boot::start()?;
        Ok(Self {
            folder: tempfile::tempdir()?,
            postgres: None,
        })
    }

    /// `None` where there is no Postgres.
    pub(crate) fn postgres() -> Result<Option<Self>> {
        Self::on(Postgres::start()?)
    }

    pub(crate) fn on(server: Option<Postgres>) -> Result<Option<Self>> {
        let Some(server) = server else {
            return Ok(None);
        };
        Ok(Some(Self {
            postgres: Some(server),
            ..Self::sqlite()?
        }))
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        match &self.postgres {
            Some(server) => server.url(),
            None => format!("sqlite:{}/accounts.sqlite", self.folder.path().display()),
        }
    }

    pub(crate) fn database(&self) -> Result<Database> {
        Ok(self.url().parse()?)
    }

    /// Opens a database that is of this version.
    pub(crate) async fn open(&self, public_url: Option<&str>) -> Result<Accounts> {
        let database = self.database()?;
        accounts::migrate(&database).await?;
        Ok(open(database, public_url).await?)
    }
}

/// Opens a database as it is.
pub(crate) async fn open(
    database: Database,
    public_url: Option<&str>,
) -> Result<Accounts, accounts::Error> {
    Accounts::open(config(database, public_url)).await
}

/// Without mail.
pub(crate) fn config(database: Database, public_url: Option<&str>) -> Config {
    Config {
        database,
        // Nobody listens on the discard port: the tracker is away.
        tracker: Some("http://127.0.0.1:9".into()),
        tls: Default::default(),
        public_url: public_url.map(Into::into),
        tracker_public: None,
        turn: None,
        site: "http://station.example".into(),
        mail: None,
        push: Push {
            rtmp: "rtmp://live.example/live".into(),
            srt: String::new(),
        },
        attempts_per_address: 60,
        presence: Presence::in_process(),
    }
}
