//! Stream keys and the keys that sign, in the database. Called by `Accounts`. The
//! one rule: of what people hold only the hash is here.

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Store, array, channels::channel, now};
use crate::{
    Channel, Error, Publisher,
    secret::{Kind, Secret, hash_of_typed, random},
};

/// A channel's broadcaster needs few; the bound keeps a stolen token from filling the disk.
const KEYS_PER_CHANNEL: i64 = 100;
/// "Last used" is for people: a minute's precision spares a write per use.
pub(super) const USE_PRECISION_S: i64 = 60;

/// A stream key without its secret.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct StreamKey {
    /// What revoking names.
    pub id: i64,
    /// What its owner calls it; empty unless it was said.
    pub name: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to the minute.
    pub last_used_at: Option<i64>,
    /// Unix seconds.
    pub revoked_at: Option<i64>,
}

impl Store {
    /// The secret of a purpose, made at the first call.
    pub(crate) async fn signing_key(&self, purpose: &'static str) -> Result<[u8; 32], Error> {
        let fresh = random::<32>()?;
        let mut session = self.session().await?;
        let query = sqlx::query("INSERT INTO signing_keys (purpose, secret, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(purpose)
            .bind(fresh.as_slice())
            .bind(now());
        session.execute(query).await?;
        let query = sqlx::query("SELECT secret FROM signing_keys WHERE purpose = $1").bind(purpose);
        let row = session.row(query).await?;
        Ok(array(&row.ok_or(sqlx::Error::RowNotFound)?, "secret")?)
    }

    pub(crate) async fn add_stream_key(
        &self,
        channel: &Channel,
        secret: &Secret,
        name: &str,
    ) -> Result<i64, Error> {
        let query = sqlx::query("INSERT INTO stream_keys (channel_id, hash, created_at, name) SELECT $1, $2, $3, $5 WHERE (SELECT count(*) FROM stream_keys WHERE channel_id = $1 AND revoked_at IS NULL) < $4 RETURNING id")
            .bind(channel.id.as_slice())
            .bind(secret.hash().as_bytes().as_slice())
            .bind(now())
            .bind(KEYS_PER_CHANNEL)
            .bind(name);
        let added = self.session().await?.row(query).await?;
        let full = Error::Invalid("the channel has too many stream keys: revoke some");
        Ok(added.ok_or(full)?.try_get("id")?)
    }

    pub(crate) async fn stream_keys(&self, channel: &Channel) -> Result<Vec<StreamKey>, Error> {
        let query = sqlx::query("SELECT id, name, created_at, last_used_at, revoked_at FROM stream_keys WHERE channel_id = $1 ORDER BY id DESC LIMIT 500")
            .bind(channel.id.as_slice());
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(stream_key).collect::<Result<_, _>>()?)
    }

    /// Whose good key this is.
    pub(crate) async fn publisher(&self, typed: &str) -> Result<Publisher, Error> {
        let hash = hash_of_typed(Kind::StreamKey, typed).ok_or(Error::WrongKey)?;
        let mut session = self.session().await?;
        let query = sqlx::query("SELECT c.id, c.name, c.secret_key, c.play_out_delay_ms, c.share, c.created_at, c.owner_id, c.title, c.description, c.upload_max_bps, k.hash, k.id AS key_id FROM stream_keys k JOIN channels c ON c.id = k.channel_id WHERE k.hash = $1 AND k.revoked_at IS NULL")
            .bind(hash.as_bytes().as_slice());
        let row = session.row(query).await?.ok_or(Error::WrongKey)?;
        // The database found it by comparing; this comparison takes the same time for all.
        if blake3::Hash::from_bytes(array(&row, "hash")?) != hash {
            return Err(Error::WrongKey);
        }
        let key_id: i64 = row.try_get("key_id")?;
        let query = sqlx::query("UPDATE stream_keys SET last_used_at = $1 WHERE id = $2 AND coalesce(last_used_at, 0) < $1 - $3")
            .bind(now())
            .bind(key_id)
            .bind(USE_PRECISION_S);
        session.execute(query).await?;
        let channel = channel(&row)?;
        Ok(Publisher { channel, key_id })
    }

    /// Of the keys with these ids, those that are good, each with its channel's id.
    pub(crate) async fn good_stream_keys(
        &self,
        ids: &[i64],
    ) -> Result<Vec<(i64, [u8; 16])>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<_> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let text = format!(
            "SELECT id, channel_id FROM stream_keys WHERE revoked_at IS NULL AND id IN ({})",
            places.join(", ")
        );
        // Each number of keys is another statement: none is worth keeping prepared.
        let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(ids_of).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn revoke_stream_key(&self, channel: &Channel, id: i64) -> Result<(), Error> {
        let query = sqlx::query("UPDATE stream_keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 AND channel_id = $3")
            .bind(now())
            .bind(id)
            .bind(channel.id.as_slice());
        match self.session().await?.execute(query).await? {
            0 => Err(Error::NoSuchKey),
            _ => Ok(()),
        }
    }
}

fn ids_of(row: &AnyRow) -> Result<(i64, [u8; 16]), sqlx::Error> {
    Ok((row.try_get("id")?, array(row, "channel_id")?))
}

fn stream_key(row: &AnyRow) -> Result<StreamKey, sqlx::Error> {
    Ok(StreamKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
