//! The registry of running instances, as the other services see it. What each call means
//! stands in `registry.proto`. The one rule: the database's clock decides who lives, so that
//! several accounts agree; and the caller's certificate decides for whom it speaks.

use boot::{grpc::Caller, registry::LEASE, version::VERSION};
use proto::{
    access::Role,
    registry::{
        self as wire, DeregisterReply, DeregisterRequest, ListReply, ListRequest, RegisterReply,
        RegisterRequest, RenewReply, RenewRequest,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    Accounts, Error,
    instance::{Instance, checked_id, checked_role},
    store::Lease,
};

#[tonic::async_trait]
impl wire::registry_server::Registry for Accounts {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterReply>, Status> {
        let roles = spoken_for(&request);
        let named = request.into_inner().instance;
        let named = named.ok_or(Error::Invalid("an instance is needed"))?;
        let instance = Instance::read(named, VERSION)?;
        let own = |roles: &Vec<Role>| roles.iter().any(|role| role.name() == instance.role);
        if !roles.as_ref().is_none_or(own) {
            return Err(Error::OtherRole.into());
        }
        let roles = roles.as_deref();
        self.0.store.register(&instance, roles, LEASE).await?;
        tracing::info!(
            role = instance.role,
            id = instance.id,
            "instance registered"
        );
        Ok(Response::new(RegisterReply {
            lease_ms: LEASE.as_millis() as u32,
            version: VERSION.to_owned(),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let roles = spoken_for(&request);
        let request = request.into_inner();
        let lease = Lease {
            id: checked_id(request.id)?,
            roles: roles.as_deref(),
        };
        self.0.store.renew(lease, request.draining, LEASE).await?;
        Ok(Response::new(RenewReply {}))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterReply>, Status> {
        let roles = spoken_for(&request);
        let id = checked_id(request.into_inner().id)?;
        let lease = Lease {
            id: id.clone(),
            roles: roles.as_deref(),
        };
        self.0.store.deregister(lease).await?;
        tracing::info!(id, "instance left");
        Ok(Response::new(DeregisterReply {}))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let role = checked_role(request.into_inner().role)?;
        let instances = self.0.store.instances(role).await?;
        Ok(Response::new(ListReply {
            instances: instances.into_iter().map(Instance::into_wire).collect(),
        }))
    }
}

/// The roles whose instances the caller may register, renew and take out: its certificate's.
/// In plain text whoever reaches the address is trusted with all: `None`.
fn spoken_for<T>(request: &Request<T>) -> Option<Vec<Role>> {
    Caller::roles(request).map(<[Role]>::to_vec)
}
