//! The face to people, their players and their programs. Mounted by the program in its one
//! HTTP server, or alone. The rule: every refusal has the shape of `boot::http`, and no page
//! holds a script or a style that is not one of our own files.

mod api;
mod manage;
mod pages;
mod rates;

use actix_web::{
    HttpRequest,
    http::header,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use boot::http::Refusal;

use crate::{Accounts, Error};

pub use rates::Rates;

/// Scripts, styles and pictures are our own files; the picture plays from memory (`blob:`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss:; img-src 'self' data:; media-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Adds everything that accounts serves, with `/` and `/{channel}` among it and an answer
/// to all addresses that nobody has: so add other services' routes before.
pub fn routes(accounts: Accounts) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        let scope = web::scope("")
            .wrap(from_fn(boot::http::refusals))
            .wrap(
                DefaultHeaders::new()
                    .add((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::REFERRER_POLICY, "no-referrer")),
            )
            .configure(boot::http::extractors)
            .app_data(web::Data::new(accounts))
            .service(
                web::scope("/api/v1")
                    .configure(api::routes)
                    .configure(manage::routes),
            )
            .configure(pages::routes)
            .default_service(web::to(|| async { Err::<&str, _>(Refusal::not_found()) }));
        cfg.service(scope);
    }
}

/// The address that limits count: the whole of an IPv4 one, of IPv6 the network that one
/// subscriber has. Never logged.
fn counted_address(request: &HttpRequest) -> u128 {
    match request
        .peer_addr()
        .map(|address| address.ip().to_canonical())
    {
        Some(std::net::IpAddr::V4(address)) => u128::from(address.to_bits()),
        Some(std::net::IpAddr::V6(address)) => address.to_bits() >> 64 << 64,
        None => 0,
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        use actix_web::http::StatusCode as Status;
        let message = error.to_string();
        match error {
            Error::NoSuchChannel => Self::new(Status::NOT_FOUND, "no_such_channel", message),
            Error::NoSuchKey => Self::new(Status::NOT_FOUND, "no_such_key", message),
            Error::WrongKey => Self::new(Status::UNAUTHORIZED, "wrong_key", message),
            Error::NameTaken => Self::new(Status::CONFLICT, "name_taken", message),
            Error::Invalid(_) => Self::new(Status::UNPROCESSABLE_ENTITY, "invalid", message),
            Error::Database(_) => {
                crate::metrics::outage();
                tracing::error!(%error, "the database does not answer");
                let message = "try again in a moment";
                Self::new(Status::SERVICE_UNAVAILABLE, "unavailable", message)
            }
            Error::Random(_)
            | Error::DatabaseUrl(_)
            | Error::Migration(_)
            | Error::Behind(_)
            | Error::Ahead { .. }
            | Error::NoSuchInstance
            | Error::TooManyInstances
            | Error::OtherRole
            | Error::Version(_)
            | Error::TrackerUrl(_)
            | Error::Ticket => {
                tracing::error!(%error, "cannot serve");
                Self::new(
                    Status::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the server failed",
                )
            }
        }
    }
}
