//! Signing up by JSON, for programs and for pages of others. The one rule: it answers what the
//! pages answer, under the same limits.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use boot::http::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{live::OnAir, operation::Operation};
use crate::{Accounts, SignUp};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::of::<__path_sign_up>(web::to(sign_up)),
        Operation::of::<__path_confirm>(web::to(confirm)),
        Operation::of::<__path_forgot>(web::to(forgot)),
        Operation::of::<__path_reset>(web::to(reset)),
        Operation::of::<__path_live>(web::to(live)),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    #[schema(max_length = 254)]
    email: String,
    #[schema(min_length = 10, max_length = 256)]
    password: String,
    /// A code that lets in without waiting.
    #[serde(default)]
    invitation: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    /// What the link in the mail says.
    link: String,
    /// That of the sign-up; of a reset, the new one.
    #[schema(max_length = 256)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgotten {
    #[schema(max_length = 254)]
    email: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// Whether it was let in.
    approved: bool,
    /// Its place on the waiting list, from 1; null when it is in.
    position: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    /// What to do now, for people.
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LiveReply {
    channels: Vec<LiveChannel>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LiveChannel {
    name: String,
    viewers: u64,
}

#[utoipa::path(post, path = "/api/v1/signup", tag = "beta", request_body = NewAccount,
    responses((status = 202, description = "A mail is under way, whether or not the address has an account", body = Sent),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn sign_up(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    new: web::Json<NewAccount>,
) -> Result<HttpResponse, Refusal> {
    accounts.0.limits.attempt(&request).await?;
    accounts
        .sign_up(SignUp {
            email: &new.email,
            password: &new.password,
            invitation: &new.invitation,
        })
        .await?;
    Ok(sent())
}

#[utoipa::path(post, path = "/api/v1/signup/confirm", tag = "beta", request_body = Confirmation,
    responses((status = 201, description = "The account is made", body = Confirmed),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn confirm(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    typed: web::Json<Confirmation>,
) -> Result<HttpResponse, Refusal> {
    accounts.0.limits.attempt(&request).await?;
    let account = accounts.confirm(&typed.link, &typed.password).await?;
    Ok(HttpResponse::Created().json(Confirmed {
        approved: account.is_approved(),
        position: accounts.position(&account).await?,
    }))
}

#[utoipa::path(post, path = "/api/v1/password/forgot", tag = "beta", request_body = Forgotten,
    responses((status = 202, description = "A mail is under way if the address has an account", body = Sent),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn forgot(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    typed: web::Json<Forgotten>,
) -> Result<HttpResponse, Refusal> {
    accounts.0.limits.attempt(&request).await?;
    accounts.forgot(&typed.email).await?;
    Ok(sent())
}

#[utoipa::path(post, path = "/api/v1/password/reset", tag = "beta", request_body = Confirmation,
    responses((status = 204, description = "The password is changed; whoever was logged in is no more"),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn reset(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    typed: web::Json<Confirmation>,
) -> Result<HttpResponse, Refusal> {
    accounts.0.limits.attempt(&request).await?;
    accounts.reset(&typed.link, &typed.password).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(get, path = "/api/v1/live", tag = "watching",
    responses((status = 200, description = "Channels that are on air, at most some seconds ago", body = LiveReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn live(accounts: web::Data<Accounts>) -> Result<HttpResponse, Refusal> {
    let on_air: OnAir = accounts.on_air(&accounts.channels().await?).await;
    let mut channels: Vec<LiveChannel> = on_air
        .iter()
        .map(|(name, viewers)| LiveChannel {
            name: name.clone(),
            viewers: *viewers,
        })
        .collect();
    channels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(LiveReply { channels }))
}

fn sent() -> HttpResponse {
    HttpResponse::Accepted().json(Sent {
        message: "look into your mail",
    })
}
