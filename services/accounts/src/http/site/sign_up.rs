//! Signing up: the form, the word that mail is under way, the link in it.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{
    Shell, field::Field, fields::Fields, go_to, page, stop::Stop, told::Told, visitor,
    visitor::Visitor,
};
use crate::{Accounts, Error, SignUp};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/signup")
            .route(web::get().to(show))
            .route(web::post().to(post)),
    )
    .service(
        web::resource("/signup/confirm")
            .route(web::get().to(show_confirm))
            .route(web::post().to(confirm)),
    );
}

/// What a link to the form may fill in.
#[derive(Deserialize)]
struct Invited {
    #[serde(default)]
    invitation: String,
}

#[derive(Template)]
#[template(path = "signup.html")]
struct Page<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    email: Field,
    password: Field,
    invitation: Field,
}

#[derive(Template)]
#[template(path = "sent.html")]
struct Sent<'a> {
    shell: Shell<'a>,
    email: &'a str,
    text: &'a str,
    folder: bool,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    link: &'a str,
    password: Field,
}

/// The link in a letter.
#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    pub(super) link: String,
}

async fn show(visitor: Visitor, invited: web::Query<Invited>) -> Result<HttpResponse, Stop> {
    if visitor.0.is_some() {
        return Ok(go_to("/dashboard"));
    }
    let (status, mut form) = form(&Fields::default(), Told::nothing());
    form.invitation = form.invitation.value(&invited.invitation);
    page(status, &form)
}

async fn post(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    fields: Fields,
) -> Result<HttpResponse, Stop> {
    let signed_up = match accounts.0.limits.attempt(&request).await {
        Ok(()) => accounts.sign_up(read(&fields)).await,
        Err(error) => Err(error),
    };
    match signed_up {
        Ok(()) => sent(
            &accounts,
            fields.get("email"),
            "Follow the link in it within an hour and type your password once more: then you have an account.",
        ),
        Err(error) => {
            let (status, form) = form(&fields, Told::of(error)?);
            page(status, &form)
        }
    }
}

fn read(fields: &Fields) -> SignUp<'_> {
    SignUp {
        email: fields.get("email"),
        password: fields.get("password"),
        invitation: fields.get("invitation"),
    }
}

fn form(fields: &Fields, told: Told) -> (StatusCode, Page<'static>) {
    let email = Field::new("signup", "email", "E-mail").kind("email", "email");
    let password = Field::new("signup", "password", "Password")
        .kind("password", "new-password")
        .hint("At least 10 characters. A sentence is good.");
    let invitation = Field::new("signup", "invitation", "Invitation")
        .optional()
        .max(40)
        .hint("If you have one, you need not wait in line.");
    let page = Page {
        shell: Shell::PLAIN,
        email: email.max(254).typed(fields, &told),
        password: password.max(256).typed(fields, &told),
        invitation: invitation.typed(fields, &told),
        notice: told.notice,
    };
    (told.status, page)
}

async fn show_confirm(
    accounts: web::Data<Accounts>,
    link: web::Query<Link>,
) -> Result<HttpResponse, Stop> {
    accounts.look_at_sign_up(&link.link).await?;
    page(
        StatusCode::OK,
        &confirm_form(&link.link, &Fields::default(), Told::nothing()).1,
    )
}

async fn confirm(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    fields: Fields,
) -> Result<HttpResponse, Stop> {
    let link = fields.get("link");
    let confirmed = match accounts.0.limits.attempt(&request).await {
        Ok(()) => accounts.confirm(link, fields.get("password")).await,
        Err(error) => Err(error),
    };
    match confirmed {
        Ok(account) => {
            let cookie = visitor::enter(&accounts, &request, &account).await?;
            let mut reply = go_to("/dashboard");
            reply.add_cookie(&cookie).map_err(|_| Error::Page)?;
            Ok(reply)
        }
        Err(error) => {
            let (status, form) = confirm_form(link, &fields, Told::of(error)?);
            page(status, &form)
        }
    }
}

fn confirm_form<'a>(link: &'a str, fields: &Fields, told: Told) -> (StatusCode, Confirm<'a>) {
    let password = Field::new("confirm", "password", "Your password")
        .kind("password", "current-password")
        .max(256)
        .hint("The one that you chose when you signed up.");
    let page = Confirm {
        shell: Shell::PLAIN,
        password: password.typed(fields, &told),
        notice: told.notice,
        link,
    };
    (told.status, page)
}

/// Of both forms that have mail sent.
pub(super) fn sent(accounts: &Accounts, email: &str, text: &str) -> Result<HttpResponse, Stop> {
    let sent = Sent {
        shell: Shell::PLAIN,
        email: email.trim(),
        text,
        folder: accounts.mail_is_a_folder(),
    };
    page(StatusCode::OK, &sent)
}
