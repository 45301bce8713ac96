//! What stands in letters' links, in the database. Called by `beta`, `entrance` and `post`. The
//! one rule: a link does what it does once, however many follow it at once.

use sqlx::Row;

use super::{Store, array, now};
use crate::{AccountId, Error, letter::Purpose, secret::Secret};

/// How long a link is good from when its letter was sent.
pub(crate) const LINK_TTL_S: i64 = 3600;

impl Store {
    /// One more link to what the letter promised.
    pub(crate) async fn add_link(&self, letter: i64, link: &Secret) -> Result<(), Error> {
        let query = sqlx::query(
            "INSERT INTO letter_tokens (hash, letter_id, expires_at) VALUES ($1, $2, $3)",
        )
        .bind(link.hash().as_bytes().as_slice())
        .bind(letter)
        .bind(now() + LINK_TTL_S);
        self.session().await?.execute(query).await?;
        Ok(())
    }

    /// Whether the link would still do this.
    pub(crate) async fn link_is_good(
        &self,
        link: &blake3::Hash,
        purpose: Purpose,
    ) -> Result<bool, Error> {
        let query = sqlx::query("SELECT 1 AS there FROM letter_tokens t JOIN letters l ON l.id = t.letter_id WHERE t.hash = $1 AND t.expires_at > $2 AND l.used_at IS NULL AND l.purpose = $3")
            .bind(link.as_bytes().as_slice())
            .bind(now())
            .bind(purpose.as_str());
        Ok(self.session().await?.row(query).await?.is_some())
    }

    /// The password that a sign-up's account will have.
    pub(crate) async fn promised_password(
        &self,
        link: &blake3::Hash,
    ) -> Result<Option<String>, Error> {
        let query = sqlx::query("SELECT l.password_hash FROM letter_tokens t JOIN letters l ON l.id = t.letter_id WHERE t.hash = $1 AND t.expires_at > $2 AND l.used_at IS NULL AND l.purpose = 'confirm'")
            .bind(link.as_bytes().as_slice())
            .bind(now());
        let row = self.session().await?.row(query).await?;
        Ok(row.map(|row| row.try_get("password_hash")).transpose()?)
    }

    /// Uses a link to a new password up; whose password it is, if it was good. The account's
    /// other such links end with it, and whoever is logged in is no more.
    pub(crate) async fn reset_password(
        &self,
        link: &blake3::Hash,
        hash: &str,
    ) -> Result<Option<AccountId>, Error> {
        let mut session = self.transaction().await?;
        let query = sqlx::query("UPDATE letters SET used_at = $1 WHERE used_at IS NULL AND purpose = 'reset' AND id = (SELECT letter_id FROM letter_tokens WHERE hash = $2 AND expires_at > $1) RETURNING account_id")
            .bind(now())
            .bind(link.as_bytes().as_slice());
        let Some(letter) = session.row(query).await? else {
            session.rollback().await?;
            return Ok(None);
        };
        let id = AccountId(array(&letter, "account_id")?);
        let statements = [
            "UPDATE letters SET used_at = $2 WHERE account_id = $1 AND purpose = 'reset' AND used_at IS NULL",
            "DELETE FROM logins WHERE account_id = $1 AND created_at <= $2",
        ];
        for text in statements {
            let query = sqlx::query(text).bind(id.0.as_slice()).bind(now());
            session.execute(query).await?;
        }
        let query = sqlx::query("UPDATE accounts SET password_hash = $1 WHERE id = $2")
            .bind(hash)
            .bind(id.0.as_slice());
        session.execute(query).await?;
        session.commit().await?;
        Ok(Some(id))
    }
}
