//! Running instances in the database. Called by the registry. The one rule: every moment is
//! the database's own, never ours.

use std::time::Duration;

use proto::access::Role;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Session, Store};
use crate::{Error, instance::Instance};

/// All roles together. A list of so many is 5 MiB at most, which one message holds.
const INSTANCES_MAX: i64 = 4096;

/// An instance's lease, and for whom speaks who wants something of it.
pub(crate) struct Lease<'a> {
    pub(crate) id: String,
    /// That of a role which is not among these is not there.
    pub(crate) roles: Option<&'a [Role]>,
}

impl Store {
    /// Begins a lease or begins it anew, unless there is one of a role that is not among `roles`. The
    /// dead are swept out meanwhile, so that the table is as bounded as the living are.
    pub(crate) async fn register(
        &self,
        one: &Instance,
        roles: Option<&[Role]>,
        lease: Duration,
    ) -> Result<(), Error> {
        let now = self.backend.now_ms();
        let mut session = self.session().await?;
        let text = format!("DELETE FROM instances WHERE expires_at_ms <= {now}");
        session.execute(sqlx::query(AssertSqlSafe(text))).await?;
        let udp: Vec<String> = one.udp.iter().map(ToString::to_string).collect();
        let text = format!(
            "INSERT INTO instances (id, role, grpc, public_url, udp, capacity, version, draining, expires_at_ms) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, {now} + $9 \
             WHERE (SELECT count(*) FROM instances WHERE id <> $1) < $10 \
             ON CONFLICT (id) DO UPDATE SET role = excluded.role, grpc = excluded.grpc, \
             public_url = excluded.public_url, udp = excluded.udp, capacity = excluded.capacity, \
             version = excluded.version, draining = excluded.draining, \
             expires_at_ms = excluded.expires_at_ms WHERE {}",
            among(roles)
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(one.id.clone())
            .bind(one.role.clone())
            .bind(one.grpc.clone())
            .bind(one.public_url.clone())
            .bind(udp.join(","))
            .bind(one.capacity)
            .bind(one.version.clone())
            .bind(i64::from(one.draining))
            .bind(millis(lease))
            .bind(INSTANCES_MAX);
        match session.execute(query).await? {
            // Living, since the dead were swept out.
            0 if self.is_there(&mut session, &one.id).await? => Err(Error::IdTaken),
            0 => Err(Error::TooManyInstances),
            _ => Ok(()),
        }
    }

    async fn is_there(&self, session: &mut Session, id: &str) -> Result<bool, Error> {
        let query = sqlx::query("SELECT id FROM instances WHERE id = $1").bind(id.to_owned());
        Ok(!session.rows(query).await?.is_empty())
    }

    /// Prolongs a lease that has not ended.
    pub(crate) async fn renew(
        &self,
        of: Lease<'_>,
        draining: bool,
        lease: Duration,
    ) -> Result<(), Error> {
        let now = self.backend.now_ms();
        let text = format!(
            "UPDATE instances SET expires_at_ms = {now} + $1, draining = $2 \
             WHERE id = $3 AND expires_at_ms > {now} AND {}",
            among(of.roles)
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(millis(lease))
            .bind(i64::from(draining))
            .bind(of.id);
        match self.session().await?.execute(query).await? {
            0 => Err(Error::NoSuchInstance),
            _ => Ok(()),
        }
    }

    /// Ends a lease, if there is one.
    pub(crate) async fn deregister(&self, of: Lease<'_>) -> Result<(), Error> {
        let among = among(of.roles);
        let text = format!("DELETE FROM instances WHERE id = $1 AND {among}");
        let query = sqlx::query(AssertSqlSafe(text)).bind(of.id);
        self.session().await?.execute(query).await?;
        Ok(())
    }

    /// The living of a role, by id.
    pub(crate) async fn instances(&self, role: String) -> Result<Vec<Instance>, Error> {
        let now = self.backend.now_ms();
        let text = format!(
            "SELECT id, role, grpc, public_url, udp, capacity, version, draining FROM instances \
             WHERE role = $1 AND expires_at_ms > {now} ORDER BY id LIMIT $2"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(role)
            .bind(INSTANCES_MAX);
        let rows = self.session().await?.rows(query).await?;
        Ok(rows.iter().map(instance).collect::<Result<_, _>>()?)
    }
}

fn instance(row: &AnyRow) -> Result<Instance, sqlx::Error> {
    let broken = |_| sqlx::Error::Decode("an instance breaks its own rules".into());
    let udp: &str = row.try_get("udp")?;
    let addresses = udp.split(',').filter(|one| !one.is_empty());
    Ok(Instance {
        id: row.try_get("id")?,
        role: row.try_get("role")?,
        grpc: row.try_get("grpc")?,
        public_url: row.try_get("public_url")?,
        udp: addresses
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(broken)?,
        capacity: row.try_get("capacity")?,
        version: row.try_get("version")?,
        draining: row.try_get::<i64, _>("draining")? != 0,
    })
}

/// In SQL, that a row is of one of these roles, whose names are words of ours; of any without.
fn among(roles: Option<&[Role]>) -> String {
    let Some(roles) = roles else {
        return "1 = 1".to_owned();
    };
    let names = roles.iter().map(|role| format!(", '{role}'"));
    let names: String = names.collect();
    // The empty name is no role's, so that the list may be.
    format!("instances.role IN (''{names})")
}

fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}
