//! The site: the front page, a page for each channel, and their files, all within the
//! program.

use actix_web::{HttpResponse, http::header, web};
use boot::http::Refusal;

use crate::{Accounts, Channel};

const FRONT: &str = include_str!("../../assets/front.html");
const CHANNEL: &str = include_str!("../../assets/channel.html");

/// A name in `/assets/`, its type, its content.
const FILES: [(&str, &str, &str); 5] = [
    (
        "site.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/site.css"),
    ),
    (
        "front.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/front.js"),
    ),
    (
        "channel.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/channel.js"),
    ),
    (
        "swarm.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/swarm.js"),
    ),
    (
        "mark.svg",
        "image/svg+xml",
        include_str!("../../assets/mark.svg"),
    ),
];

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/", web::get().to(front))
        .route("/healthz", web::get().to(health))
        .route("/assets/{file}", web::get().to(file))
        .route("/{channel}", web::get().to(channel));
}

async fn front(accounts: web::Data<Accounts>) -> Result<HttpResponse, Refusal> {
    let channels = accounts.channels().await?;
    let cards: String = channels.iter().map(card).collect();
    Ok(page(FRONT.replace("{{channels}}", &cards)))
}

async fn channel(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let channel = accounts.channel(&name).await?;
    Ok(page(CHANNEL.replace("{{channel}}", channel.name.as_str())))
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

async fn health() -> &'static str {
    "ok\n"
}

fn page(html: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(html)
}

/// A channel's name is a slug: it needs no escaping.
fn card(channel: &Channel) -> String {
    let name = channel.name.as_str();
    format!(
        "<li><a class=\"card\" href=\"/{name}\" data-channel=\"{name}\">\
         <span class=\"name\">{name}</span><span class=\"state\">…</span></a></li>\n"
    )
}
