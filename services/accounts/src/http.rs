//! The face to people, their players and their programs. Mounted by the program in its one
//! HTTP server, or alone. The rule: every refusal has the shape of `boot::http`, and no page
//! holds a script or a style that is not one of our own files.

mod api;
mod beta;
mod description;
mod limits;
pub(crate) mod live;
mod manage;
mod operation;
mod site;

use actix_web::{
    http::header,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use boot::http::Refusal;

use crate::{Accounts, Error};

pub(crate) use limits::Limits;

/// Scripts, styles and pictures are our own files; the picture plays from memory (`blob:`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self' ws: wss:; img-src 'self' data:; media-src 'self' blob:; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// Adds everything that accounts serves, with `/` and `/{channel}` among it and an answer
/// to all addresses that nobody has: so add other services' routes before.
pub fn routes(accounts: Accounts) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        let scope = web::scope("")
            .wrap(from_fn(boot::http::refusals))
            .wrap(from_fn(site::dress))
            .wrap(
                DefaultHeaders::new()
                    .add((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    // Without any, browsers would hide from us where our own forms come from.
                    .add((header::REFERRER_POLICY, "same-origin")),
            )
            .configure(boot::http::extractors)
            .app_data(web::Data::new(accounts))
            .service(
                web::scope(operation::PREFIX)
                    .configure(operation::routes)
                    .default_service(web::to(|| async { Err::<&str, _>(Refusal::not_found()) })),
            )
            .configure(site::routes)
            .default_service(web::to(|| async { Err::<&str, _>(Refusal::not_found()) }));
        cfg.service(scope);
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
            Error::Form(faults) => {
                Self::new(Status::UNPROCESSABLE_ENTITY, "invalid", listed(&faults))
            }
            Error::WrongPassword => Self::new(Status::UNAUTHORIZED, "wrong_password", message),
            Error::WrongLink => Self::new(Status::GONE, "wrong_link", message),
            Error::NoSuchAccount => Self::new(Status::NOT_FOUND, "no_such_account", message),
            Error::Waiting => Self::new(Status::FORBIDDEN, "waiting", message),
            Error::Scope => Self::new(Status::FORBIDDEN, "scope", message),
            Error::TooOften => Self::new(Status::TOO_MANY_REQUESTS, "rate_limited", message),
            Error::Busy => Self::new(Status::SERVICE_UNAVAILABLE, "busy", message),
            Error::NoMail => Self::new(Status::SERVICE_UNAVAILABLE, "no_mail", message),
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
            | Error::IdTaken
            | Error::OtherRole
            | Error::Version(_)
            | Error::TrackerUrl(_)
            | Error::Mail(_)
            | Error::Hash
            | Error::Page
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

/// All faults in one line, each with its field.
fn listed(faults: &crate::Faults) -> String {
    let faults = faults
        .iter()
        .map(|(field, fault)| format!("{field}: {fault}"));
    faults.collect::<Vec<_>>().join(" ")
}
