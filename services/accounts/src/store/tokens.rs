//! API tokens in the database. Called by `Accounts`. The one rule: of a token only the hash is
//! here.

use sqlx::{Row, any::AnyRow};

use super::{Store, array, now, secrets::USE_PRECISION_S};
use crate::{
    AccountId, Error,
    caller::{Caller, Scopes},
    secret::{Kind, Secret, hash_of_typed},
};

/// Of one account; the bound keeps a stolen log-in from filling the disk.
const TOKENS_PER_ACCOUNT: i64 = 50;

/// An API token without its secret.
#[derive(Clone, Debug)]
pub struct ApiToken {
    /// What revoking names.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// What it may.
    pub scopes: Scopes,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to the minute.
    pub last_used_at: Option<i64>,
}

impl Store {
    /// The operator's, which may all.
    pub(crate) async fn add_api_token(&self, secret: &Secret) -> Result<(), Error> {
        let query = sqlx::query("INSERT INTO api_tokens (hash, created_at) VALUES ($1, $2)")
            .bind(secret.hash().as_bytes().as_slice())
            .bind(now());
        self.session().await?.execute(query).await?;
        Ok(())
    }

    /// An account's.
    pub(crate) async fn add_token_of(
        &self,
        owner: AccountId,
        secret: &Secret,
        (name, scopes): (&str, Scopes),
    ) -> Result<(), Error> {
        let query = sqlx::query("INSERT INTO api_tokens (hash, created_at, account_id, name, scopes) SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM api_tokens WHERE account_id = $3 AND revoked_at IS NULL) < $6")
            .bind(secret.hash().as_bytes().as_slice())
            .bind(now())
            .bind(owner.0.as_slice())
            .bind(name)
            .bind(scopes.to_string())
            .bind(TOKENS_PER_ACCOUNT);
        match self.session().await?.execute(query).await? {
            0 => Err(Error::Invalid("there are too many tokens: revoke some")),
            _ => Ok(()),
        }
    }

    /// The account's that are good, the newest first.
    pub(crate) async fn tokens_of(&self, owner: AccountId) -> Result<Vec<ApiToken>, Error> {
        let query = sqlx::query("SELECT id, name, scopes, created_at, last_used_at FROM api_tokens WHERE account_id = $1 AND revoked_at IS NULL ORDER BY id DESC LIMIT $2")
            .bind(owner.0.as_slice())
            .bind(TOKENS_PER_ACCOUNT);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(token).collect::<Result<_, _>>()?)
    }

    /// Makes one of the account's worthless. Revoking twice is once.
    pub(crate) async fn revoke_token(&self, owner: AccountId, id: i64) -> Result<(), Error> {
        let query = sqlx::query("UPDATE api_tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 AND account_id = $3")
            .bind(now())
            .bind(id)
            .bind(owner.0.as_slice());
        match self.session().await?.execute(query).await? {
            0 => Err(Error::NoSuchKey),
            _ => Ok(()),
        }
    }

    /// Who comes with this token, if it is good. An account's is only while the account is in.
    pub(crate) async fn caller(&self, typed: &str) -> Result<Option<Caller>, Error> {
        let Some(hash) = hash_of_typed(Kind::ApiToken, typed) else {
            return Ok(None);
        };
        let mut session = self.session().await?;
        let query = sqlx::query("SELECT t.id, t.hash, t.account_id, t.scopes FROM api_tokens t LEFT JOIN accounts a ON a.id = t.account_id WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.account_id IS NULL OR a.approved_at IS NOT NULL)")
            .bind(hash.as_bytes().as_slice());
        let Some(row) = session.row(query).await? else {
            return Ok(None);
        };
        let query = sqlx::query("UPDATE api_tokens SET last_used_at = $1 WHERE id = $2 AND coalesce(last_used_at, 0) < $1 - $3")
            .bind(now())
            .bind(row.try_get::<i64, _>("id")?)
            .bind(USE_PRECISION_S);
        session.execute(query).await?;
        if blake3::Hash::from_bytes(array(&row, "hash")?) != hash {
            return Ok(None);
        }
        let is_operators = row.try_get::<Option<&[u8]>, _>("account_id")?.is_none();
        Ok(Some(Caller {
            owner: match is_operators {
                true => None,
                false => Some(AccountId(array(&row, "account_id")?)),
            },
            scopes: Scopes::parse(row.try_get("scopes")?),
        }))
    }
}

fn token(row: &AnyRow) -> Result<ApiToken, sqlx::Error> {
    Ok(ApiToken {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scopes: Scopes::parse(row.try_get("scopes")?),
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
