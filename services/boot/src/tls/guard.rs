//! Stands before every method and lets through whom [`proto::access`] names. The caller is who
//! its certificate says; on plain text everybody is trusted, since only this machine, or a
//! network that its operator vouches for, gets there.
//!
//! The one rule: what cannot be told is refused.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proto::access::{Method, Role, method};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    service::Routes,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use super::refusal::Said;
use crate::{certificate::Certificate, grpc::metrics};

/// Who makes a call, as its certificate says: in the extensions of every request that comes by
/// TLS. In plain text nobody is known.
#[derive(Clone, Debug)]
pub struct Caller(Vec<Role>);

impl Caller {
    /// What it may act as: all its roles, or `None` where callers are not known and are
    /// trusted.
    #[must_use]
    pub fn roles<T>(request: &tonic::Request<T>) -> Option<&[Role]> {
        let caller = request.extensions().get::<Self>();
        caller.map(|caller| caller.0.as_slice())
    }
}

/// Services behind a guard.
#[derive(Clone)]
pub(crate) struct Guard {
    routes: Routes,
    /// Callers show certificates.
    mutual: bool,
    /// Who was refused which method; `None` stands for all that are in no contract.
    said: Arc<Said<(Vec<Role>, Option<&'static str>)>>,
}

impl Guard {
    pub(crate) fn new(routes: Routes, mutual: bool) -> Self {
        Self {
            routes,
            mutual,
            said: Arc::default(),
        }
    }

    /// Lets the request through, with who makes it.
    fn check(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let callers = self.mutual.then(|| roles(request));
        let called = method(request.uri().path());
        match (&callers, called) {
            (None, Some(_)) => return Ok(()),
            (Some(roles), Some(method)) if may_call(roles, method) => {
                request.extensions_mut().insert(Caller(roles.clone()));
                return Ok(());
            }
            _ => {}
        }
        let callers = callers.unwrap_or_default();
        let path = called.map(|method| method.path);
        metrics::refused(path);
        if self.said.is_new((callers.clone(), path)) {
            let caller = Names(&callers);
            let method = path.unwrap_or("of no contract");
            tracing::warn!(%caller, method, "a call is refused; said once");
        }
        Err(Status::permission_denied(
            "the caller's role may not call this method",
        ))
    }
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.check(&mut request) {
            Ok(()) => Box::pin(self.routes.call(request)),
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}

/// Who calls, as the certificate says that the handshake has verified; nobody without one.
fn roles(request: &Request<Body>) -> Vec<Role> {
    let about = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let chain = about.and_then(TlsConnectInfo::peer_certs);
    let own = chain.as_ref().and_then(|chain| chain.first());
    let read = own.and_then(|der| Certificate::read(der));
    read.map_or_else(Vec::new, |read| read.roles)
}

/// Who holds several roles may do what any of them may.
fn may_call(roles: &[Role], method: &Method) -> bool {
    roles.iter().any(|role| method.callers.contains(role))
}

struct Names<'a>(&'a [Role]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("without a role"),
            roles => {
                let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}
