//! Letters in the database: written with what they are about, sent later. Called by `beta` and
//! `post`. The one rule: strangers cannot have more than three an hour written to a mailbox,
//! and what they are answered does not depend on it.

use sqlx::{Row, any::AnyRow};

use super::{Store, now, session::Session};
use crate::{Error, email::Email, letter::Purpose};

/// Three letters to a mailbox within this, whoever asks for them.
const MAILBOX_WINDOW_S: i64 = 3600;
/// A letter and what it promised are forgotten so long after it was written.
const KEEP_S: i64 = 3 * 24 * 3600;
/// A sender that took a letter has it for itself; one that died meanwhile is taken for it then.
const HOLD_S: i64 = 60;
/// So many letters are taken at once.
const BATCH: i64 = 16;

/// What a stranger asked for.
pub(crate) enum NewLetter {
    /// An account with this password, and perhaps by invitation.
    Confirm {
        password_hash: String,
        invitation: Option<i64>,
    },
    /// A new password.
    Reset,
}

/// A letter to be sent now.
pub(crate) struct Due {
    pub(crate) id: i64,
    pub(crate) purpose: Purpose,
    pub(crate) email: Email,
    pub(crate) attempts: i64,
    pub(crate) age_s: i64,
}

/// How the mail gets away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Queue {
    /// To be sent, or sent again.
    pub waiting: i64,
    /// Of those, how long the oldest has waited, in seconds.
    pub oldest_s: i64,
    /// Of those, how many failed at least once.
    pub failing: i64,
    /// Will not be sent: the mail server refused them for good, or they became too old.
    pub given_up: i64,
}

impl Store {
    /// Writes a letter, if the mailbox has not had too many. What is asked of the database is
    /// the same for all mailboxes.
    pub(crate) async fn write_letter(
        &self,
        email: &Email,
        letter: &NewLetter,
    ) -> Result<(), Error> {
        let mut session = self.transaction().await?;
        let query = sqlx::query("INSERT INTO mailboxes (email_key, last_1, last_2, last_3) VALUES ($1, $2, 0, 0) ON CONFLICT (email_key) DO UPDATE SET last_3 = mailboxes.last_2, last_2 = mailboxes.last_1, last_1 = excluded.last_1 WHERE mailboxes.last_3 <= excluded.last_1 - $3")
            .bind(email.key())
            .bind(now())
            .bind(MAILBOX_WINDOW_S);
        if session.execute(query).await? == 0 {
            session.rollback().await?;
            return Ok(());
        }
        match letter {
            NewLetter::Confirm {
                password_hash,
                invitation,
            } => {
                let query = sqlx::query("INSERT INTO letters (purpose, email, email_key, password_hash, invitation_id, created_at, attempts, next_try_at) SELECT CASE WHEN EXISTS (SELECT 1 FROM accounts WHERE email_key = $2) THEN 'known' ELSE 'confirm' END, $1, $2, $3, $4, $5, 0, $5")
                    .bind(email.as_str())
                    .bind(email.key())
                    .bind(password_hash.as_str())
                    .bind(*invitation)
                    .bind(now());
                session.execute(query).await?;
            }
            NewLetter::Reset => {
                let query = sqlx::query("INSERT INTO letters (purpose, email, email_key, account_id, created_at, attempts, next_try_at) SELECT 'reset', email, email_key, id, $2, 0, $2 FROM accounts WHERE email_key = $1")
                    .bind(email.key())
                    .bind(now());
                session.execute(query).await?;
            }
        }
        session.commit().await?;
        Ok(())
    }

    /// Takes letters that are due, each for this caller alone.
    pub(crate) async fn take_letters(&self) -> Result<Vec<Due>, Error> {
        let query = sqlx::query("UPDATE letters SET attempts = attempts + 1, next_try_at = $1 + $2 WHERE id IN (SELECT id FROM letters WHERE sent_at IS NULL AND gave_up_at IS NULL AND next_try_at <= $1 ORDER BY next_try_at LIMIT $3) AND sent_at IS NULL AND next_try_at <= $1 RETURNING id, purpose, email, attempts, created_at")
            .bind(now())
            .bind(HOLD_S)
            .bind(BATCH);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(due).collect::<Result<_, _>>()?)
    }

    /// A mail server has it.
    pub(crate) async fn letter_sent(&self, id: i64) -> Result<(), Error> {
        let query = sqlx::query("UPDATE letters SET sent_at = $1 WHERE id = $2")
            .bind(now())
            .bind(id);
        self.session().await?.execute(query).await?;
        Ok(())
    }

    /// To be tried again so much later; without, never.
    pub(crate) async fn letter_failed(
        &self,
        id: i64,
        again_in_s: Option<i64>,
    ) -> Result<(), Error> {
        let query = match again_in_s {
            Some(seconds) => sqlx::query("UPDATE letters SET next_try_at = $1 WHERE id = $2")
                .bind(now() + seconds),
            None => sqlx::query("UPDATE letters SET gave_up_at = $1 WHERE id = $2").bind(now()),
        };
        self.session().await?.execute(query.bind(id)).await?;
        Ok(())
    }

    /// How the mail gets away.
    pub(crate) async fn queue(&self) -> Result<Queue, Error> {
        let query = sqlx::query("SELECT count(*) AS waiting, coalesce(min(created_at), $1) AS oldest, count(CASE WHEN attempts > 1 THEN 1 END) AS failing, (SELECT count(*) FROM letters WHERE gave_up_at IS NOT NULL) AS given_up FROM letters WHERE sent_at IS NULL AND gave_up_at IS NULL")
            .bind(now());
        let row = self.session().await?.row(query).await?;
        let row = row.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Queue {
            waiting: row.try_get("waiting")?,
            oldest_s: now() - row.try_get::<i64, _>("oldest")?,
            failing: row.try_get("failing")?,
            given_up: row.try_get("given_up")?,
        })
    }

    /// Forgets what is over: letters with what they promised, mailboxes, log-ins that ended.
    pub(crate) async fn sweep(&self) -> Result<(), Error> {
        let mut session = self.session().await?;
        delete_before(
            &mut session,
            "DELETE FROM letters WHERE created_at < $1",
            KEEP_S,
        )
        .await?;
        let mailboxes = "DELETE FROM mailboxes WHERE last_1 < $1";
        delete_before(&mut session, mailboxes, MAILBOX_WINDOW_S).await?;
        let logins = "DELETE FROM logins WHERE seen_at < $1";
        delete_before(&mut session, logins, super::logins::IDLE_S).await
    }
}

async fn delete_before(session: &mut Session, text: &'static str, age_s: i64) -> Result<(), Error> {
    session
        .execute(sqlx::query(text).bind(now() - age_s))
        .await?;
    Ok(())
}

fn due(row: &AnyRow) -> Result<Due, sqlx::Error> {
    let broken = || sqlx::Error::Decode("a letter breaks its own rules".into());
    Ok(Due {
        id: row.try_get("id")?,
        purpose: Purpose::parse(row.try_get("purpose")?).ok_or_else(broken)?,
        email: Email::parse(row.try_get("email")?).map_err(|_| broken())?,
        attempts: row.try_get("attempts")?,
        age_s: now() - row.try_get::<i64, _>("created_at")?,
    })
}
