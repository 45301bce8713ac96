//! The pages for people, made here and sent whole: they work without script. The one rule: a
//! form that is refused comes back with what was typed, passwords excepted, and with each fault
//! beside its field.

mod account;
mod admin;
mod agent;
mod dashboard;
mod field;
mod fields;
mod files;
mod front;
mod guard;
mod log_in;
mod moment;
mod sign_up;
mod stop;
mod told;
mod visitor;

use actix_web::{HttpResponse, http::StatusCode, http::header, middleware::from_fn, web};
use askama::Template;

use crate::{Account, Error};
pub(super) use guard::dress;
use stop::Stop;

/// Adds the pages, `/{channel}` among them, so what else there is comes before.
pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    let pages = web::scope("")
        .wrap(from_fn(guard::same_site))
        .configure(files::routes)
        .configure(sign_up::routes)
        .configure(log_in::routes)
        .configure(account::routes)
        .configure(dashboard::routes)
        .configure(admin::routes)
        .configure(front::routes)
        .default_service(web::to(|| async {
            Err::<&str, _>(boot::http::Refusal::not_found())
        }));
    cfg.service(pages);
}

/// What every page has around its own.
struct Shell<'a> {
    member: Option<&'a Account>,
    csrf: &'a str,
}

impl Shell<'_> {
    /// Of a page that is the same for all.
    const PLAIN: Self = Self {
        member: None,
        csrf: "",
    };
}

/// Nobody but who asked for it may keep a page.
fn page(status: StatusCode, template: &impl Template) -> Result<HttpResponse, Stop> {
    let html = template.render().map_err(|_| Error::Page)?;
    let mut reply = HttpResponse::build(status);
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        reply.insert_header((header::RETRY_AFTER, "1"));
    }
    Ok(reply
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(html))
}

/// Another page, by GET.
fn go_to(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}
