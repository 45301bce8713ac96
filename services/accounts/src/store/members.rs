//! Accounts in the database: made from a letter, let in, changed, deleted. Called by `beta` and
//! `entrance`. The one rule: a mailbox has one account, whoever comes first.

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Store, array, now, now_ms};
use crate::{Account, AccountId, Error, email::Email, secret::random};

const ACCOUNT: &str =
    "SELECT id, email, administrator, confirmed_at_ms, approved_at, password_hash FROM accounts";

/// What an administrator sees at once.
const LISTED: i64 = 200;

impl Store {
    /// With the hash of its password.
    pub(crate) async fn account_by_email(
        &self,
        email: &Email,
    ) -> Result<Option<(Account, String)>, Error> {
        let text = format!("{ACCOUNT} WHERE email_key = $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(email.key());
        let row = self.session().await?.row(query).await?;
        Ok(row.as_ref().map(with_hash).transpose()?)
    }

    /// The same by its id.
    pub(crate) async fn account(&self, id: AccountId) -> Result<(Account, String), Error> {
        let text = format!("{ACCOUNT} WHERE id = $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(id.0.as_slice());
        let row = self.session().await?.row(query).await?;
        Ok(with_hash(&row.ok_or(Error::NoSuchAccount)?)?)
    }

    /// Makes the account that a letter promised, with the letter's link used up; let in at once
    /// if its invitation still counts. `None` when the link is no good any more.
    pub(crate) async fn confirm(&self, link: &blake3::Hash) -> Result<Option<AccountId>, Error> {
        let id = AccountId(random()?);
        let mut session = self.transaction().await?;
        let query = sqlx::query("UPDATE letters SET used_at = $1 WHERE used_at IS NULL AND purpose = 'confirm' AND id = (SELECT letter_id FROM letter_tokens WHERE hash = $2 AND expires_at > $1) RETURNING email, email_key, password_hash, invitation_id")
            .bind(now())
            .bind(link.as_bytes().as_slice());
        let Some(letter) = session.row(query).await? else {
            session.rollback().await?;
            return Ok(None);
        };
        let query = sqlx::query("UPDATE invitations SET used = used + 1 WHERE id = $1 AND used < uses AND expires_at > $2")
            .bind(letter.try_get::<Option<i64>, _>("invitation_id")?)
            .bind(now());
        let invited = session.execute(query).await? == 1;
        let query = sqlx::query("INSERT INTO accounts (id, email, email_key, password_hash, administrator, confirmed_at_ms, approved_at) VALUES ($1, $2, $3, $4, 0, $5, $6) ON CONFLICT (email_key) DO NOTHING")
            .bind(id.0.as_slice())
            .bind(letter.try_get::<&str, _>("email")?)
            .bind(letter.try_get::<&str, _>("email_key")?)
            .bind(letter.try_get::<&str, _>("password_hash")?)
            .bind(now_ms())
            .bind(invited.then(now));
        if session.execute(query).await? == 0 {
            session.rollback().await?;
            return Ok(None);
        }
        session.commit().await?;
        Ok(Some(id))
    }

    /// Its place on the waiting list, from 1.
    pub(crate) async fn position(&self, account: &Account) -> Result<i64, Error> {
        let query = sqlx::query("SELECT count(*) AS place FROM accounts WHERE approved_at IS NULL AND (confirmed_at_ms < $1 OR (confirmed_at_ms = $1 AND id <= $2))")
            .bind(account.confirmed_at_ms)
            .bind(account.id.0.as_slice());
        let row = self.session().await?.row(query).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?.try_get("place")?)
    }

    /// Those who wait, who has waited longest first; at most 200.
    pub(crate) async fn waiting(&self) -> Result<Vec<Account>, Error> {
        let text =
            format!("{ACCOUNT} WHERE approved_at IS NULL ORDER BY confirmed_at_ms, id LIMIT $1");
        let query = sqlx::query(AssertSqlSafe(text)).bind(LISTED);
        accounts(&self.session().await?.rows(query).await?)
    }

    /// Those who are in, the latest first; at most 200.
    pub(crate) async fn approved(&self) -> Result<Vec<Account>, Error> {
        let text = format!(
            "{ACCOUNT} WHERE approved_at IS NOT NULL ORDER BY approved_at DESC, id LIMIT $1"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(LISTED);
        accounts(&self.session().await?.rows(query).await?)
    }

    /// How many wait, and how many are in.
    pub(crate) async fn members(&self) -> Result<(i64, i64), Error> {
        let query = sqlx::query(
            "SELECT count(*) AS all_of_them, count(approved_at) AS approved FROM accounts",
        );
        let row = self.session().await?.row(query).await?;
        let row = row.ok_or(sqlx::Error::RowNotFound)?;
        let approved: i64 = row.try_get("approved")?;
        Ok((row.try_get::<i64, _>("all_of_them")? - approved, approved))
    }

    /// Lets it in and writes it a letter about it; whether it still waited.
    pub(crate) async fn approve(&self, id: AccountId) -> Result<bool, Error> {
        let mut session = self.transaction().await?;
        let query = sqlx::query(
            "UPDATE accounts SET approved_at = $1 WHERE id = $2 AND approved_at IS NULL",
        )
        .bind(now())
        .bind(id.0.as_slice());
        let waited = session.execute(query).await? == 1;
        if waited {
            let query = sqlx::query("INSERT INTO letters (purpose, email, email_key, account_id, created_at, attempts, next_try_at) SELECT 'approved', email, email_key, id, $1, 0, $1 FROM accounts WHERE id = $2")
                .bind(now())
                .bind(id.0.as_slice());
            session.execute(query).await?;
        }
        session.commit().await?;
        Ok(waited)
    }

    /// Makes it an administrator, who is in besides.
    pub(crate) async fn promote(&self, id: AccountId) -> Result<(), Error> {
        let query = sqlx::query("UPDATE accounts SET administrator = 1, approved_at = coalesce(approved_at, $1) WHERE id = $2")
            .bind(now())
            .bind(id.0.as_slice());
        match self.session().await?.execute(query).await? {
            0 => Err(Error::NoSuchAccount),
            _ => Ok(()),
        }
    }

    /// A new password; whoever is logged in, but `kept`, is no more.
    pub(crate) async fn set_password(
        &self,
        id: AccountId,
        hash: &str,
        kept: Option<i64>,
    ) -> Result<(), Error> {
        let mut session = self.transaction().await?;
        let query = sqlx::query("UPDATE accounts SET password_hash = $1 WHERE id = $2")
            .bind(hash)
            .bind(id.0.as_slice());
        session.execute(query).await?;
        let query =
            sqlx::query("DELETE FROM logins WHERE account_id = $1 AND id <> coalesce($2, -1)")
                .bind(id.0.as_slice())
                .bind(kept);
        session.execute(query).await?;
        session.commit().await?;
        Ok(())
    }

    /// The account with its channels, keys, tokens, letters and log-ins.
    pub(crate) async fn delete_account(&self, account: &Account) -> Result<(), Error> {
        let mut session = self.transaction().await?;
        let query =
            sqlx::query("DELETE FROM letters WHERE email_key = $1").bind(account.email.key());
        session.execute(query).await?;
        let query =
            sqlx::query("DELETE FROM mailboxes WHERE email_key = $1").bind(account.email.key());
        session.execute(query).await?;
        let query = sqlx::query("DELETE FROM accounts WHERE id = $1").bind(account.id.0.as_slice());
        session.execute(query).await?;
        session.commit().await?;
        Ok(())
    }
}

fn accounts(rows: &[AnyRow]) -> Result<Vec<Account>, Error> {
    Ok(rows.iter().map(account).collect::<Result<_, _>>()?)
}

pub(super) fn account(row: &AnyRow) -> Result<Account, sqlx::Error> {
    let broken = |_| sqlx::Error::Decode("an account breaks its own rules".into());
    Ok(Account {
        id: AccountId(array(row, "id")?),
        email: Email::parse(row.try_get("email")?).map_err(broken)?,
        administrator: row.try_get::<i64, _>("administrator")? == 1,
        confirmed_at_ms: row.try_get("confirmed_at_ms")?,
        approved_at: row.try_get("approved_at")?,
    })
}

fn with_hash(row: &AnyRow) -> Result<(Account, String), sqlx::Error> {
    Ok((account(row)?, row.try_get("password_hash")?))
}
