//! The database, the only place with SQL. Called by `Accounts`. The rule: what a function
//! reports as done is on disk.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use boot::ticket::Share;
use ed25519_dalek::SigningKey;
use sqlx::{
    Row, SqlitePool,
    migrate::Migrator,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use crate::{
    Channel, ChannelName, Error,
    secret::{Kind, Secret, hash_of_typed, random},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// SQLite has one writer; more connections only let readers pass it.
const CONNECTIONS: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(3);
/// The front page and the API list no more than this.
const CHANNELS_LISTED: i64 = 500;
/// A channel's broadcaster needs few; the bound keeps a stolen token from filling the disk.
const KEYS_PER_CHANNEL: i64 = 100;
/// "Last used" is for people: a minute's precision spares a write per use.
const USE_PRECISION_S: i64 = 60;

const CHANNEL: &str =
    "SELECT id, name, secret_key, play_out_delay_ms, share, created_at FROM channels";

/// A connection pool on a migrated database.
#[derive(Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

/// A stream key without its secret.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StreamKey {
    /// What revoking names.
    pub id: i64,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to the minute.
    pub last_used_at: Option<i64>,
    /// Unix seconds.
    pub revoked_at: Option<i64>,
}

impl Store {
    /// Opens or creates the file and brings it to this version.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        create(path);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What we acknowledged must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(DEADLINE);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(DEADLINE)
            .connect_with(options)
            .await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { pool })
    }

    /// The secret of a purpose, made at the first call.
    pub(crate) async fn signing_key(&self, purpose: &str) -> Result<[u8; 32], Error> {
        sqlx::query("INSERT INTO signing_keys (purpose, secret, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(purpose)
            .bind(random::<32>()?.as_slice())
            .bind(now())
            .execute(&self.pool)
            .await?;
        let row = sqlx::query("SELECT secret FROM signing_keys WHERE purpose = ?")
            .bind(purpose)
            .fetch_one(&self.pool)
            .await?;
        Ok(array(&row, "secret")?)
    }

    pub(crate) async fn add_channel(&self, channel: &Channel) -> Result<(), Error> {
        sqlx::query("INSERT INTO channels (id, name, secret_key, play_out_delay_ms, share, created_at) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(channel.id.as_slice())
            .bind(channel.name.as_str())
            .bind(channel.key.to_bytes().to_vec())
            .bind(channel.play_out_delay_ms)
            .bind(share_text(channel.share))
            .bind(channel.created_at as i64)
            .execute(&self.pool)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(reason) if reason.is_unique_violation() => Error::NameTaken,
                _ => error.into(),
            })?;
        Ok(())
    }

    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, Error> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{CHANNEL} ORDER BY name LIMIT ?"
        )))
        .bind(CHANNELS_LISTED)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(channel).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn channel_by_name(&self, name: &str) -> Result<Channel, Error> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CHANNEL} WHERE name = ?")))
            .bind(name)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NoSuchChannel)?;
        Ok(channel(&row)?)
    }

    pub(crate) async fn channel_by_id(&self, id: &[u8]) -> Result<Channel, Error> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CHANNEL} WHERE id = ?")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NoSuchChannel)?;
        Ok(channel(&row)?)
    }

    pub(crate) async fn add_stream_key(
        &self,
        channel: &Channel,
        secret: &Secret,
    ) -> Result<i64, Error> {
        let good = sqlx::query(
            "SELECT count(*) AS good FROM stream_keys WHERE channel_id = ? AND revoked_at IS NULL",
        )
        .bind(channel.id.as_slice())
        .fetch_one(&self.pool)
        .await?;
        if good.try_get::<i64, _>("good")? >= KEYS_PER_CHANNEL {
            return Err(Error::Invalid(
                "the channel has too many stream keys: revoke some",
            ));
        }
        let added =
            sqlx::query("INSERT INTO stream_keys (channel_id, hash, created_at) VALUES (?, ?, ?)")
                .bind(channel.id.as_slice())
                .bind(secret.hash().as_bytes().as_slice())
                .bind(now())
                .execute(&self.pool)
                .await?;
        Ok(added.last_insert_rowid())
    }

    pub(crate) async fn stream_keys(&self, channel: &Channel) -> Result<Vec<StreamKey>, Error> {
        let rows = sqlx::query("SELECT id, created_at, last_used_at, revoked_at FROM stream_keys WHERE channel_id = ? ORDER BY id DESC LIMIT 500")
            .bind(channel.id.as_slice())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(stream_key).collect::<Result<_, _>>()?)
    }

    /// Whose good key this is.
    pub(crate) async fn channel_by_stream_key(&self, typed: &str) -> Result<Channel, Error> {
        let hash = hash_of_typed(Kind::StreamKey, typed).ok_or(Error::WrongKey)?;
        let row = sqlx::query("SELECT c.id, c.name, c.secret_key, c.play_out_delay_ms, c.share, c.created_at, k.hash, k.id AS key_id FROM stream_keys k JOIN channels c ON c.id = k.channel_id WHERE k.hash = ? AND k.revoked_at IS NULL")
            .bind(hash.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::WrongKey)?;
        // The database found it by comparing; this comparison takes the same time for all.
        if blake3::Hash::from_bytes(array(&row, "hash")?) != hash {
            return Err(Error::WrongKey);
        }
        sqlx::query("UPDATE stream_keys SET last_used_at = ?1 WHERE id = ?2 AND coalesce(last_used_at, 0) < ?1 - ?3")
            .bind(now())
            .bind(row.try_get::<i64, _>("key_id")?)
            .bind(USE_PRECISION_S)
            .execute(&self.pool)
            .await?;
        Ok(channel(&row)?)
    }

    pub(crate) async fn revoke_stream_key(&self, channel: &Channel, id: i64) -> Result<(), Error> {
        let revoked = sqlx::query("UPDATE stream_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND channel_id = ?")
            .bind(now())
            .bind(id)
            .bind(channel.id.as_slice())
            .execute(&self.pool)
            .await?;
        match revoked.rows_affected() {
            0 => Err(Error::NoSuchKey),
            _ => Ok(()),
        }
    }

    pub(crate) async fn add_api_token(&self, secret: &Secret) -> Result<(), Error> {
        sqlx::query("INSERT INTO api_tokens (hash, created_at) VALUES (?, ?)")
            .bind(secret.hash().as_bytes().as_slice())
            .bind(now())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether this is a good API token.
    pub(crate) async fn is_api_token(&self, typed: &str) -> Result<bool, Error> {
        let Some(hash) = hash_of_typed(Kind::ApiToken, typed) else {
            return Ok(false);
        };
        let row =
            sqlx::query("SELECT id, hash FROM api_tokens WHERE hash = ? AND revoked_at IS NULL")
                .bind(hash.as_bytes().as_slice())
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(false) };
        sqlx::query("UPDATE api_tokens SET last_used_at = ?1 WHERE id = ?2 AND coalesce(last_used_at, 0) < ?1 - ?3")
            .bind(now())
            .bind(row.try_get::<i64, _>("id")?)
            .bind(USE_PRECISION_S)
            .execute(&self.pool)
            .await?;
        Ok(blake3::Hash::from_bytes(array(&row, "hash")?) == hash)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes the file if there is none, for its owner alone: it holds the channels' keys. What
/// SQLite puts beside it has the same mode. If it cannot be made, SQLite says why.
fn create(path: &Path) {
    let mut file = OpenOptions::new();
    let _ = file.write(true).create_new(true).mode(0o600).open(path);
}

fn channel(row: &SqliteRow) -> Result<Channel, sqlx::Error> {
    let broken = || sqlx::Error::Decode("a channel breaks its own rules".into());
    Ok(Channel {
        id: array(row, "id")?,
        name: ChannelName::parse(row.try_get("name")?).map_err(|_| broken())?,
        play_out_delay_ms: row.try_get("play_out_delay_ms")?,
        share: share(row.try_get("share")?).ok_or_else(broken)?,
        created_at: row.try_get::<i64, _>("created_at")?.unsigned_abs(),
        key: SigningKey::from_bytes(&array(row, "secret_key")?),
    })
}

fn stream_key(row: &SqliteRow) -> Result<StreamKey, sqlx::Error> {
    Ok(StreamKey {
        id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn array<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn share_text(share: Share) -> &'static str {
    match share {
        Share::Required => "required",
        Share::Allowed => "allowed",
        Share::Off => "off",
    }
}

fn share(text: &str) -> Option<Share> {
    match text {
        "required" => Some(Share::Required),
        "allowed" => Some(Share::Allowed),
        "off" => Some(Share::Off),
        _ => None,
    }
}

fn now() -> i64 {
    boot::ticket::now() as i64
}
