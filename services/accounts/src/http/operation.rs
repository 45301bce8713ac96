//! The API's operations, from one table: each stands at the address, and answers the method, that
//! its own description names. The one rule: nothing else is mounted below `/api/v1`, so that
//! what answers there and is described nowhere fails the test below.

use std::collections::BTreeMap;

use actix_web::{Resource, Route, http::Method, web};
use utoipa::openapi::HttpMethod;

use super::{api, beta, description, manage};

/// Where all of them are.
pub(super) const PREFIX: &str = "/api/v1";

/// What answers, and where.
pub(super) struct Operation {
    method: Method,
    /// Below the prefix.
    path: String,
    route: Route,
}

impl Operation {
    /// At the address of this description, which `utoipa::path` calls `__path_` and the
    /// handler's name. Where it names several methods, the first.
    pub(super) fn of<Description: utoipa::Path>(handler: Route) -> Self {
        let method = Description::methods().first().map(method);
        let method = method.unwrap_or(Method::GET);
        let path = Description::path();
        Self {
            path: path.strip_prefix(PREFIX).unwrap_or(&path).to_owned(),
            route: handler,
            method,
        }
    }
}

/// All there are.
fn all() -> impl Iterator<Item = Operation> {
    let open = api::operations().into_iter().chain(beta::operations());
    open.chain(manage::operations())
        .chain(description::operations())
}

/// Mounts them, in a scope with the prefix; an address refuses the methods that it does not take.
pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    let mut resources = BTreeMap::<String, Resource>::new();
    for Operation {
        method,
        path,
        route,
    } in all()
    {
        let resource = resources.remove(&path);
        let resource = resource.unwrap_or_else(|| web::resource(&path));
        resources.insert(path, resource.route(route.method(method)));
    }
    for resource in resources.into_values() {
        cfg.service(resource);
    }
}

fn method(described: &HttpMethod) -> Method {
    match described {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_is_described_and_what_is_described_answers() -> serde_json::Result<()> {
        let mut mounted: Vec<_> = all()
            .map(|one| format!("{} {PREFIX}{}", one.method, one.path))
            .collect();
        mounted.sort();

        let document: serde_json::Value = serde_json::from_str(description::text())?;
        let paths = document["paths"].as_object().into_iter().flatten();
        let mut described: Vec<_> = paths
            .filter(|(path, _)| path.starts_with(PREFIX))
            .flat_map(|(path, item)| {
                let methods = item.as_object().into_iter().flat_map(|item| item.keys());
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        described.sort();
        assert!(described.len() > 10);
        assert_eq!(mounted, described);
        Ok(())
    }
}
