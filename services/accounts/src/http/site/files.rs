//! Scripts, styles and pictures of the pages, all within the program.

use actix_web::{HttpResponse, http::header, web};
use boot::http::Refusal;

/// A name in `/assets/`, its type, its content.
const FILES: [(&str, &str, &str); 5] = [
    (
        "site.css",
        "text/css; charset=utf-8",
        include_str!("../../../assets/site.css"),
    ),
    (
        "front.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/front.js"),
    ),
    (
        "channel.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/channel.js"),
    ),
    (
        "swarm.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/swarm.js"),
    ),
    (
        "mark.svg",
        "image/svg+xml",
        include_str!("../../../assets/mark.svg"),
    ),
];

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/assets/{file}", web::get().to(file))
        .route("/healthz", web::get().to(|| async { "ok\n" }));
}

async fn file(name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let (_, kind, content) = FILES
        .iter()
        .find(|(file, ..)| *file == name.as_str())
        .ok_or_else(Refusal::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type(*kind)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(*content))
}
