//! Where the database is: a URL, `postgres://…` or `sqlite:FILE`, read and checked before
//! anything connects.
//!
//! The one rule: the password stays in here; no error, no `Debug` and no `Display` holds it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::{ConnectOptions as _, any::AnyConnectOptions, postgres::PgConnectOptions};

use crate::Error;

/// What may follow `?` in a Postgres URL. The driver logs what it does not know, with its
/// value: a slip such as `pasword=` must end here.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

const LOOKS_LIKE: &str = "a database looks like postgres://user:password@host/name or sqlite:FILE";

/// A database that accounts can use. TLS to Postgres is as its `sslmode` says:
/// `verify-full` with `sslrootcert=FILE` checks whom it speaks to.
#[derive(Clone)]
pub struct Database {
    pub(crate) options: AnyConnectOptions,
    pub(crate) backend: Backend,
}

/// Whose SQL it speaks.
#[derive(Clone)]
pub(crate) enum Backend {
    Postgres,
    Sqlite(PathBuf),
}

impl Database {
    /// The SQLite file at this path, whatever characters it has; its folder exists.
    ///
    /// # Errors
    /// [`Error::DatabaseUrl`] when the path is not UTF-8 or is empty.
    pub fn sqlite(file: &Path) -> Result<Self, Error> {
        let path = file.to_str().filter(|path| !path.is_empty());
        let path = path.ok_or(Error::DatabaseUrl("a SQLite file needs a name in UTF-8"))?;
        Ok(Self {
            options: options(&format!("sqlite:{}", encoded(path)))?,
            backend: Backend::Sqlite(file.to_owned()),
        })
    }

    /// Whether accounts may bring it to its version by itself: a file is its own alone, a
    /// server's database may serve others at the same time.
    #[must_use]
    pub fn migrates_itself(&self) -> bool {
        matches!(self.backend, Backend::Sqlite(_))
    }

    /// Whether it is a file that nobody has made yet.
    pub(crate) fn file_is_absent(&self) -> bool {
        matches!(&self.backend, Backend::Sqlite(file) if !file.exists())
    }
}

impl FromStr for Database {
    type Err = Error;

    /// # Errors
    /// [`Error::DatabaseUrl`], which does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            if file.contains(['?', '#']) || file == ":memory:" {
                return Err(Error::DatabaseUrl("sqlite: takes a file and nothing else"));
            }
            return Self::sqlite(Path::new(file));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Error::DatabaseUrl(LOOKS_LIKE));
        }
        let options = options(text)?;
        let mut pairs = options.database_url.query_pairs();
        if !pairs.all(|(name, _)| PARAMETERS.contains(&&*name)) {
            return Err(Error::DatabaseUrl(
                "the database's URL has a parameter that is not known",
            ));
        }
        // The driver reads it for each connection: what it cannot read is told now.
        PgConnectOptions::from_url(&options.database_url).map_err(|_| {
            Error::DatabaseUrl("the database's URL has a parameter that cannot be read")
        })?;
        Ok(Self {
            options,
            backend: Backend::Postgres,
        })
    }
}

/// Without user and password, fit for logs.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Backend::Postgres => {
                let url = &self.options.database_url;
                write!(f, "postgres://{}", url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

/// What the URL's reader says does not repeat it, but may quote a part; so we say it.
fn options(url: &str) -> Result<AnyConnectOptions, Error> {
    url.parse().map_err(|_| Error::DatabaseUrl(LOOKS_LIKE))
}

/// What the driver decodes again. Plain characters stay, so that logs can be read.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    path.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hush";

    #[test]
    fn a_url_is_shown_without_its_password() -> Result<(), Error> {
        for (url, shown) in [
            (
                "postgres://station:hush@db.example:5433/live?sslmode=verify-full",
                "postgres://db.example:5433/live",
            ),
            (
                "postgresql:///live?host=/run/postgresql&user=station&password=hush",
                "postgres:///live",
            ),
            ("sqlite:data/a b.sqlite", "sqlite:data/a b.sqlite"),
            ("sqlite:///var/lib/a.sqlite", "sqlite:/var/lib/a.sqlite"),
        ] {
            let database: Database = url.parse()?;
            assert_eq!(database.to_string(), shown);
            assert_eq!(format!("{database:?}"), format!("Database({shown})"));
        }
        Ok(())
    }

    #[test]
    fn what_is_no_database_is_refused_without_repeating_it() {
        for bad in [
            "",
            "hush",
            "mysql://station:hush@host/live",
            "postgres://station:hush@host:99999999/live",
            "postgres://station:hush@ho st/live",
            "postgres://station@host/live?pasword=hush",
            "postgres://station:hush@host/live?sslmode=perhaps",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file?mode=hush",
        ] {
            let refused = bad.parse::<Database>().map_err(|error| {
                assert!(matches!(error, Error::DatabaseUrl(_)), "{bad}");
                format!("{error} {error:?}")
            });
            let said = refused.err().unwrap_or_else(|| panic!("{bad} was taken"));
            assert!(!said.contains(SECRET), "{said}");
        }
    }
}
