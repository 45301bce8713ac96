//! Channels in the database. Called by `Accounts`. The one rule: a row that breaks a channel's
//! rules is an error, never a channel.

use boot::ticket::Share;
use ed25519_dalek::SigningKey;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Store, array};
use crate::{AccountId, Channel, ChannelName, Error};

/// The front page and the API list no more than this.
const CHANNELS_LISTED: i64 = 500;
/// Of one account.
const CHANNELS_PER_ACCOUNT: i64 = 10;

const CHANNEL: &str = "SELECT id, name, secret_key, play_out_delay_ms, share, created_at, owner_id, title, description, upload_max_bps FROM channels";

impl Store {
    pub(crate) async fn add_channel(&self, channel: &Channel) -> Result<(), Error> {
        let query = sqlx::query("INSERT INTO channels (id, name, secret_key, play_out_delay_ms, share, created_at, owner_id, title, description, upload_max_bps) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE $7 IS NULL OR (SELECT count(*) FROM channels WHERE owner_id = $7) < $11")
            .bind(channel.id.as_slice())
            .bind(channel.name.as_str())
            .bind(channel.key.to_bytes().as_slice())
            .bind(i64::from(channel.play_out_delay_ms))
            .bind(share_text(channel.share))
            .bind(channel.created_at as i64)
            .bind(channel.owner.as_ref().map(|owner| owner.0.as_slice()))
            .bind(channel.title.as_str())
            .bind(channel.description.as_str())
            .bind(stored(channel.upload_max_bps))
            .bind(CHANNELS_PER_ACCOUNT);
        let added = self.session().await?.execute(query).await;
        let added = added.map_err(|error| match error.as_database_error() {
            Some(reason) if reason.is_unique_violation() => Error::NameTaken,
            _ => error.into(),
        })?;
        match added {
            0 => Err(Error::Invalid("an account has at most 10 channels")),
            _ => Ok(()),
        }
    }

    /// What its owner may change: words, sharing, play-out delay.
    pub(crate) async fn change_channel(&self, channel: &Channel) -> Result<(), Error> {
        let query = sqlx::query("UPDATE channels SET title = $1, description = $2, share = $3, play_out_delay_ms = $4, upload_max_bps = $5 WHERE id = $6")
            .bind(channel.title.as_str())
            .bind(channel.description.as_str())
            .bind(share_text(channel.share))
            .bind(i64::from(channel.play_out_delay_ms))
            .bind(stored(channel.upload_max_bps))
            .bind(channel.id.as_slice());
        match self.session().await?.execute(query).await? {
            0 => Err(Error::NoSuchChannel),
            _ => Ok(()),
        }
    }

    /// With its keys.
    pub(crate) async fn delete_channel(&self, channel: &Channel) -> Result<(), Error> {
        let query = sqlx::query("DELETE FROM channels WHERE id = $1").bind(channel.id.as_slice());
        self.session().await?.execute(query).await?;
        Ok(())
    }

    pub(crate) async fn channels_of(&self, owner: AccountId) -> Result<Vec<Channel>, Error> {
        let text = format!("{CHANNEL} WHERE owner_id = $1 ORDER BY name LIMIT $2");
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(owner.0.as_slice())
            .bind(CHANNELS_LISTED);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(channel).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, Error> {
        let text = format!("{CHANNEL} ORDER BY name LIMIT $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(CHANNELS_LISTED);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(channel).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn channel_by_name(&self, name: &str) -> Result<Channel, Error> {
        let text = format!("{CHANNEL} WHERE name = $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(name);
        let row = self.session().await?.row(query).await?;
        Ok(channel(&row.ok_or(Error::NoSuchChannel)?)?)
    }

    pub(crate) async fn channel_by_id(&self, id: &[u8]) -> Result<Channel, Error> {
        let text = format!("{CHANNEL} WHERE id = $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(id);
        let row = self.session().await?.row(query).await?;
        Ok(channel(&row.ok_or(Error::NoSuchChannel)?)?)
    }
}

pub(super) fn channel(row: &AnyRow) -> Result<Channel, sqlx::Error> {
    let broken = || sqlx::Error::Decode("a channel breaks its own rules".into());
    let upload: Option<i64> = row.try_get("upload_max_bps")?;
    let delay: i64 = row.try_get("play_out_delay_ms")?;
    let owner = match row.try_get::<Option<&[u8]>, _>("owner_id")? {
        Some(_) => Some(AccountId(array(row, "owner_id")?)),
        None => None,
    };
    Ok(Channel {
        owner,
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        id: array(row, "id")?,
        name: ChannelName::parse(row.try_get("name")?).map_err(|_| broken())?,
        play_out_delay_ms: delay.try_into().map_err(|_| broken())?,
        share: share(row.try_get("share")?).ok_or_else(broken)?,
        upload_max_bps: upload.map(i64::unsigned_abs),
        created_at: row.try_get::<i64, _>("created_at")?.unsigned_abs(),
        key: SigningKey::from_bytes(&array(row, "secret_key")?),
    })
}

/// Within its range, which is far from the type's.
fn stored(upload_max_bps: Option<u64>) -> Option<i64> {
    upload_max_bps.map(|bps| bps as i64)
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
