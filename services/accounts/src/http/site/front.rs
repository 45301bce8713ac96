//! What all may see: the front page with what is on air, and each channel's page.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;

use super::{Shell, page, stop::Stop, visitor::Visitor};
use crate::{Accounts, Channel, http::live::OnAir};

/// More cards than anybody scrolls through.
const CARDS_MAX: usize = 60;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/", web::get().to(front))
        .route("/{channel}", web::get().to(watch));
}

#[derive(Template)]
#[template(path = "front.html")]
struct Front<'a> {
    shell: Shell<'a>,
    live: Vec<Card>,
    off_air: Vec<Card>,
    more: usize,
}

struct Card {
    channel: Channel,
    viewers: u64,
}

#[derive(Template)]
#[template(path = "watch.html")]
struct Watch<'a> {
    shell: Shell<'a>,
    channel: &'a Channel,
}

async fn front(accounts: web::Data<Accounts>, visitor: Visitor) -> Result<HttpResponse, Stop> {
    let channels = accounts.channels().await?;
    let on_air = accounts.on_air(&channels).await;
    let card = |channel: Channel| Card {
        viewers: viewers(&on_air, &channel).unwrap_or(0),
        channel,
    };
    let (live, off_air): (Vec<_>, Vec<_>) = channels
        .into_iter()
        .partition(|channel| viewers(&on_air, channel).is_some());
    let mut live: Vec<Card> = live.into_iter().map(card).collect();
    live.sort_by_key(|card| std::cmp::Reverse(card.viewers));
    live.truncate(CARDS_MAX);
    let more = off_air.len().saturating_sub(CARDS_MAX);
    let off_air = off_air.into_iter().take(CARDS_MAX).map(card).collect();
    let front = Front {
        shell: visitor.shell(),
        live,
        off_air,
        more,
    };
    page(StatusCode::OK, &front)
}

/// How many watch it, if it is on air.
fn viewers(on_air: &OnAir, channel: &Channel) -> Option<u64> {
    on_air.get(channel.name.as_str()).copied()
}

async fn watch(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    visitor: Visitor,
) -> Result<HttpResponse, Stop> {
    let channel = accounts.channel(&name).await?;
    let watch = Watch {
        shell: visitor.shell(),
        channel: &channel,
    };
    page(StatusCode::OK, &watch)
}
