//! Who is logged in, in the database. Called by `entrance`. The one rule: of what a browser
//! holds only the hash is here.

use sqlx::{Row, any::AnyRow};

use super::{Store, members::account, now};
use crate::{Account, AccountId, Error, secret::Secret};

/// A browser that does not come for so long is logged out: a fortnight...
pub(crate) const IDLE_S: i64 = 14 * 24 * 3600;
/// ...and whoever comes always has to type the password again after so long: three months.
pub(crate) const LOGIN_MAX_S: i64 = 90 * 24 * 3600;
/// More browsers than anybody has; the one unseen for longest makes room.
const LOGINS_PER_ACCOUNT: i64 = 50;
/// "Seen" is for people and for the idle: some minutes' precision spares a write per page.
const SEEN_PRECISION_S: i64 = 300;

/// A browser that is logged in.
#[derive(Clone, Debug)]
pub struct Login {
    /// What revoking names.
    pub id: i64,
    /// "Firefox on Linux".
    pub agent: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to some minutes.
    pub seen_at: i64,
}

/// Who comes in, and by which log-in.
pub(crate) struct Entrance {
    pub(crate) account: Account,
    pub(crate) login: i64,
}

impl Store {
    pub(crate) async fn add_login(
        &self,
        id: AccountId,
        secret: &Secret,
        agent: &str,
    ) -> Result<(), Error> {
        let mut session = self.transaction().await?;
        let query = sqlx::query("DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE account_id = $1 ORDER BY seen_at DESC, id DESC LIMIT 1000 OFFSET $2)")
            .bind(id.0.as_slice())
            .bind(LOGINS_PER_ACCOUNT - 1);
        session.execute(query).await?;
        let query = sqlx::query("INSERT INTO logins (hash, account_id, agent, created_at, seen_at) VALUES ($1, $2, $3, $4, $4)")
            .bind(secret.hash().as_bytes().as_slice())
            .bind(id.0.as_slice())
            .bind(agent)
            .bind(now());
        session.execute(query).await?;
        session.commit().await?;
        Ok(())
    }

    /// Whose browser it is, if it is logged in.
    pub(crate) async fn entrance(&self, hash: &blake3::Hash) -> Result<Option<Entrance>, Error> {
        let mut session = self.session().await?;
        let query = sqlx::query("SELECT a.id, a.email, a.administrator, a.confirmed_at_ms, a.approved_at, l.id AS login_id, l.seen_at FROM logins l JOIN accounts a ON a.id = l.account_id WHERE l.hash = $1 AND l.seen_at > $2 AND l.created_at > $3")
            .bind(hash.as_bytes().as_slice())
            .bind(now() - IDLE_S)
            .bind(now() - LOGIN_MAX_S);
        let Some(row) = session.row(query).await? else {
            return Ok(None);
        };
        let login: i64 = row.try_get("login_id")?;
        if row.try_get::<i64, _>("seen_at")? < now() - SEEN_PRECISION_S {
            let query = sqlx::query("UPDATE logins SET seen_at = $1 WHERE id = $2")
                .bind(now())
                .bind(login);
            session.execute(query).await?;
        }
        Ok(Some(Entrance {
            account: account(&row)?,
            login,
        }))
    }

    /// The account's, the latest seen first.
    pub(crate) async fn logins(&self, id: AccountId) -> Result<Vec<Login>, Error> {
        let query = sqlx::query("SELECT id, agent, created_at, seen_at FROM logins WHERE account_id = $1 ORDER BY seen_at DESC, id DESC LIMIT $2")
            .bind(id.0.as_slice())
            .bind(LOGINS_PER_ACCOUNT);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(login).collect::<Result<_, _>>()?)
    }

    /// Ends one of the account's. Ending twice is once.
    pub(crate) async fn end_login(&self, id: AccountId, login: i64) -> Result<(), Error> {
        let query = sqlx::query("DELETE FROM logins WHERE id = $1 AND account_id = $2")
            .bind(login)
            .bind(id.0.as_slice());
        self.session().await?.execute(query).await?;
        Ok(())
    }
}

fn login(row: &AnyRow) -> Result<Login, sqlx::Error> {
    Ok(Login {
        id: row.try_get("id")?,
        agent: row.try_get("agent")?,
        created_at: row.try_get("created_at")?,
        seen_at: row.try_get("seen_at")?,
    })
}
