//! The registry of running instances, as the other services see it. What each call means
//! stands in `registry.proto`. The one rule: the database's clock decides who lives, so that
//! several accounts agree.

use boot::{registry::LEASE, version::VERSION};
use proto::registry::{
    self as wire, DeregisterReply, DeregisterRequest, ListReply, ListRequest, RegisterReply,
    RegisterRequest, RenewReply, RenewRequest,
};
use tonic::{Request, Response, Status};

use crate::{
    Accounts, Error,
    instance::{Instance, checked_id, checked_role},
};

#[tonic::async_trait]
impl wire::registry_server::Registry for Accounts {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterReply>, Status> {
        let named = request.into_inner().instance;
        let named = named.ok_or(Error::Invalid("an instance is needed"))?;
        let instance = Instance::read(named, VERSION)?;
        self.0.store.register(&instance, LEASE).await?;
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
        let request = request.into_inner();
        let id = checked_id(request.id)?;
        self.0.store.renew(id, request.draining, LEASE).await?;
        Ok(Response::new(RenewReply {}))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterReply>, Status> {
        let id = checked_id(request.into_inner().id)?;
        self.0.store.deregister(id.clone()).await?;
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
