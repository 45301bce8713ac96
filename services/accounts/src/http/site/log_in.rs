//! Logging in and out, and a new password for who forgot it.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{
    Shell,
    field::Field,
    fields::Fields,
    go_to, page,
    sign_up::{Link, sent},
    stop::Stop,
    told::Told,
    visitor::{self, Posted, Visitor},
};
use crate::{Accounts, Error};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/login")
            .route(web::get().to(show))
            .route(web::post().to(log_in)),
    )
    .service(
        web::resource("/login/forgot")
            .route(web::get().to(show_forgot))
            .route(web::post().to(forgot)),
    )
    .service(
        web::resource("/login/reset")
            .route(web::get().to(show_reset))
            .route(web::post().to(reset)),
    )
    .route("/logout", web::post().to(log_out));
}

/// Where one was on the way to.
#[derive(Deserialize)]
struct To {
    #[serde(default)]
    to: String,
    #[serde(default)]
    reset: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LogIn<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    done: bool,
    to: &'a str,
    email: Field,
    password: Field,
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct Forgot<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    email: Field,
}

#[derive(Template)]
#[template(path = "reset.html")]
struct Reset<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    link: &'a str,
    password: Field,
}

async fn show(visitor: Visitor, to: web::Query<To>) -> Result<HttpResponse, Stop> {
    if visitor.0.is_some() {
        return Ok(go_to(local(&to.to)));
    }
    let (status, mut form) = form(&to.to, &Fields::default(), Told::nothing());
    form.done = !to.reset.is_empty();
    page(status, &form)
}

async fn log_in(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    fields: Fields,
) -> Result<HttpResponse, Stop> {
    match try_to_log_in(&request, &accounts, &fields).await {
        Ok(reply) => Ok(reply),
        Err(error) => {
            let (status, form) = form(fields.get("to"), &fields, Told::of(error)?);
            page(status, &form)
        }
    }
}

async fn try_to_log_in(
    request: &HttpRequest,
    accounts: &Accounts,
    fields: &Fields,
) -> Result<HttpResponse, Error> {
    let (email, password) = (fields.get("email"), fields.get("password"));
    accounts.0.limits.attempt(request).await?;
    accounts.0.limits.guess(email).await?;
    let account = accounts.log_in(email, password).await?;
    let cookie = visitor::enter(accounts, request, &account).await?;
    let mut reply = go_to(local(fields.get("to")));
    reply.add_cookie(&cookie).map_err(|_| Error::Page)?;
    Ok(reply)
}

/// A path of ours; else the dashboard. What a browser could read as another host is none.
fn local(to: &str) -> &str {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/-".contains(&byte);
    let ours = to.starts_with('/') && !to.starts_with("//") && to.bytes().all(plain);
    match ours && to.len() <= 100 {
        true => to,
        false => "/dashboard",
    }
}

fn form<'a>(to: &'a str, fields: &Fields, told: Told) -> (StatusCode, LogIn<'a>) {
    let email = Field::new("login", "email", "E-mail").kind("email", "username");
    let password = Field::new("login", "password", "Password").kind("password", "current-password");
    let page = LogIn {
        shell: Shell::PLAIN,
        done: false,
        to: local(to),
        email: email.max(254).typed(fields, &told),
        password: password.max(256).typed(fields, &told),
        notice: told.notice,
    };
    (told.status, page)
}

async fn log_out(accounts: web::Data<Accounts>, posted: Posted) -> Result<HttpResponse, Stop> {
    let member = &posted.member;
    accounts
        .end_login(member.account(), member.entrance.login)
        .await?;
    let mut reply = go_to("/");
    reply
        .add_cookie(&visitor::no_cookie())
        .map_err(|_| Error::Page)?;
    Ok(reply)
}

async fn show_forgot() -> Result<HttpResponse, Stop> {
    let (status, form) = forgot_form(&Fields::default(), Told::nothing());
    page(status, &form)
}

async fn forgot(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    fields: Fields,
) -> Result<HttpResponse, Stop> {
    let asked = match accounts.0.limits.attempt(&request).await {
        Ok(()) => accounts.forgot(fields.get("email")).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(()) => sent(
            &accounts,
            fields.get("email"),
            "If this address has an account, the mail has a link to choose a new password. It is good for an hour.",
        ),
        Err(error) => {
            let (status, form) = forgot_form(&fields, Told::of(error)?);
            page(status, &form)
        }
    }
}

fn forgot_form(fields: &Fields, told: Told) -> (StatusCode, Forgot<'static>) {
    let email = Field::new("forgot", "email", "E-mail").kind("email", "username");
    let page = Forgot {
        shell: Shell::PLAIN,
        email: email.max(254).typed(fields, &told),
        notice: told.notice,
    };
    (told.status, page)
}

async fn show_reset(
    accounts: web::Data<Accounts>,
    link: web::Query<Link>,
) -> Result<HttpResponse, Stop> {
    accounts.look_at_reset(&link.link).await?;
    let (status, form) = reset_form(&link.link, &Fields::default(), Told::nothing());
    page(status, &form)
}

async fn reset(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    fields: Fields,
) -> Result<HttpResponse, Stop> {
    let link = fields.get("link");
    let reset = match accounts.0.limits.attempt(&request).await {
        Ok(()) => accounts.reset(link, fields.get("password")).await,
        Err(error) => Err(error),
    };
    match reset {
        Ok(()) => Ok(go_to("/login?reset=done")),
        Err(error) => {
            let (status, form) = reset_form(link, &fields, Told::of(error)?);
            page(status, &form)
        }
    }
}

fn reset_form<'a>(link: &'a str, fields: &Fields, told: Told) -> (StatusCode, Reset<'a>) {
    let password = Field::new("reset", "password", "New password")
        .kind("password", "new-password")
        .hint("At least 10 characters. A sentence is good.");
    let page = Reset {
        shell: Shell::PLAIN,
        password: password.max(256).typed(fields, &told),
        notice: told.notice,
        link,
    };
    (told.status, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_to_our_own_paths_alone() {
        assert_eq!(local("/dashboard/my-show"), "/dashboard/my-show");
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/a?b",
        ] {
            assert_eq!(local(bad), "/dashboard", "{bad}");
        }
    }
}
