//! Invitations in the database. Called by `beta`. The one rule: the code itself is not here.

use sqlx::{Row, any::AnyRow};

use super::{Store, now};
use crate::{Error, secret::Secret};

/// What an operator has out at once.
const INVITATIONS_MAX: i64 = 1000;

/// An invitation without its code.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// What it was called when it was made.
    pub note: String,
    /// How many it lets in.
    pub uses: i64,
    /// How many it did.
    pub used: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

impl Store {
    pub(crate) async fn add_invitation(
        &self,
        code: &Secret,
        invitation: &Invitation,
    ) -> Result<(), Error> {
        let query = sqlx::query("INSERT INTO invitations (hash, note, uses, used, created_at, expires_at) SELECT $1, $2, $3, 0, $4, $5 WHERE (SELECT count(*) FROM invitations WHERE expires_at > $4 AND used < uses) < $6")
            .bind(code.hash().as_bytes().as_slice())
            .bind(invitation.note.as_str())
            .bind(invitation.uses)
            .bind(now())
            .bind(invitation.expires_at)
            .bind(INVITATIONS_MAX);
        match self.session().await?.execute(query).await? {
            0 => Err(Error::Invalid(
                "there are too many invitations: let some expire",
            )),
            _ => Ok(()),
        }
    }

    /// Which invitation it is that still lets somebody in.
    pub(crate) async fn invitation(&self, code: &blake3::Hash) -> Result<Option<i64>, Error> {
        let query = sqlx::query(
            "SELECT id FROM invitations WHERE hash = $1 AND used < uses AND expires_at > $2",
        )
        .bind(code.as_bytes().as_slice())
        .bind(now());
        let row = self.session().await?.row(query).await?;
        Ok(row.map(|row| row.try_get("id")).transpose()?)
    }

    /// Those that still let somebody in, the newest first; at most 200.
    pub(crate) async fn invitations(&self) -> Result<Vec<Invitation>, Error> {
        let query = sqlx::query("SELECT note, uses, used, expires_at FROM invitations WHERE used < uses AND expires_at > $1 ORDER BY id DESC LIMIT 200")
            .bind(now());
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(invitation).collect::<Result<_, _>>()?)
    }
}

fn invitation(row: &AnyRow) -> Result<Invitation, sqlx::Error> {
    Ok(Invitation {
        note: row.try_get("note")?,
        uses: row.try_get("uses")?,
        used: row.try_get("used")?,
        expires_at: row.try_get("expires_at")?,
    })
}
