//! A member's own page: password, browsers that are logged in, API tokens, the end.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::{
    Shell,
    field::Field,
    fields::Fields,
    go_to,
    moment::Moment,
    page,
    stop::Stop,
    told::Told,
    visitor::{self, Member, Posted},
};
use crate::{Accounts, Error, Scope, Scopes};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/account", web::get().to(show))
        .route("/account/password", web::post().to(password))
        .route("/account/logins/{id}/end", web::post().to(end_login))
        .route("/account/tokens", web::post().to(create_token))
        .route("/account/tokens/{id}/revoke", web::post().to(revoke_token))
        .route("/account/delete", web::post().to(delete));
}

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    shell: Shell<'a>,
    email: &'a str,
    notice: Option<String>,
    done: &'static str,
    secret: Option<String>,
    logins: Vec<LoginRow>,
    tokens: Vec<TokenRow>,
    approved: bool,
    old: Field,
    new: Field,
    token_name: Field,
    scopes: [(&'static str, &'static str, bool); 3],
    scopes_fault: Option<&'static str>,
    delete: Field,
}

struct LoginRow {
    id: i64,
    agent: String,
    since: Moment,
    seen: Moment,
    here: bool,
}

struct TokenRow {
    id: i64,
    name: String,
    scopes: String,
    made: Moment,
    used: Option<Moment>,
}

/// What happened, and in which form.
#[derive(Default)]
struct Came {
    form: &'static str,
    told: Told,
    done: &'static str,
    secret: Option<String>,
}

impl Came {
    fn refused(form: &'static str, error: Error) -> Result<Self, Stop> {
        Ok(Self {
            form,
            told: Told::of(error)?,
            ..Self::default()
        })
    }

    fn done(done: &'static str) -> Self {
        Self {
            done,
            ..Self::default()
        }
    }
}

async fn show(accounts: web::Data<Accounts>, member: Member) -> Result<HttpResponse, Stop> {
    shown(&accounts, &member, &Fields::default(), Came::default()).await
}

async fn password(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let changed = match limited(&request, &accounts, &member).await {
        Ok(()) => {
            let (old, new) = (fields.get("old"), fields.get("password"));
            accounts.change_password(&member.entrance, old, new).await
        }
        Err(error) => Err(error),
    };
    let came = match changed {
        Ok(()) => Came::done("The password is changed, and other browsers are logged out."),
        Err(error) => Came::refused("password", error)?,
    };
    shown(&accounts, &member, &fields, came).await
}

/// Who stole a log-in shall not find the password with it.
async fn limited(request: &HttpRequest, accounts: &Accounts, member: &Member) -> Result<(), Error> {
    accounts.0.limits.attempt(request).await?;
    accounts
        .0
        .limits
        .guess(member.account().email.as_str())
        .await
}

async fn end_login(
    accounts: web::Data<Accounts>,
    id: web::Path<i64>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    accounts.end_login(posted.member.account(), *id).await?;
    Ok(go_to("/account"))
}

async fn create_token(accounts: web::Data<Accounts>, posted: Posted) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let words = Scope::ALL.map(|scope| match fields.has(scope.as_str()) {
        true => scope.as_str(),
        false => "",
    });
    let scopes = Scopes::parse(&words.join(" "));
    let name = fields.get("name");
    let came = match accounts
        .create_token_of(member.account(), name, scopes)
        .await
    {
        Ok(secret) => Came {
            secret: Some(secret.reveal().to_owned()),
            ..Came::default()
        },
        Err(error) => Came::refused("token", error)?,
    };
    shown(&accounts, &member, &fields, came).await
}

async fn revoke_token(
    accounts: web::Data<Accounts>,
    id: web::Path<i64>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    accounts
        .revoke_token_of(posted.member.account(), *id)
        .await?;
    Ok(go_to("/account"))
}

async fn delete(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let deleted = match limited(&request, &accounts, &member).await {
        Ok(()) => {
            accounts
                .delete_account(member.account(), fields.get("old"))
                .await
        }
        Err(error) => Err(error),
    };
    match deleted {
        Ok(()) => {
            let mut reply = go_to("/");
            reply
                .add_cookie(&visitor::no_cookie())
                .map_err(|_| Error::Page)?;
            Ok(reply)
        }
        Err(error) => {
            let came = Came::refused("delete", error)?;
            shown(&accounts, &member, &fields, came).await
        }
    }
}

async fn shown(
    accounts: &Accounts,
    member: &Member,
    fields: &Fields,
    came: Came,
) -> Result<HttpResponse, Stop> {
    let account = member.account();
    let logins = accounts.logins(account).await?;
    let tokens = accounts.tokens_of(account).await?;
    let nothing = (Fields::default(), Told::nothing());
    let of = |form: &str| match came.form == form {
        true => (fields, &came.told),
        false => (&nothing.0, &nothing.1),
    };
    let field = |form: &'static str, field: Field| field.typed(of(form).0, of(form).1);
    let password = |form: &'static str, name, label, autocomplete| {
        let plain = Field::new(form, name, label).kind("password", autocomplete);
        field(form, plain.max(256))
    };
    let new = password("password", "password", "New password", "new-password");
    let token_name = Field::new("token", "name", "Name").max(60).optional();
    let shown = Page {
        shell: member.shell(),
        email: account.email.as_str(),
        notice: came.told.notice.clone(),
        done: came.done,
        secret: came.secret.clone(),
        logins: logins
            .into_iter()
            .map(|login| LoginRow {
                here: login.id == member.entrance.login,
                id: login.id,
                agent: login.agent,
                since: Moment::of(login.created_at),
                seen: Moment::of(login.seen_at),
            })
            .collect(),
        tokens: tokens
            .into_iter()
            .map(|token| TokenRow {
                id: token.id,
                name: token.name,
                scopes: token.scopes.to_string(),
                made: Moment::of(token.created_at),
                used: token.last_used_at.map(Moment::of),
            })
            .collect(),
        approved: account.is_approved(),
        old: password("password", "old", "Password until now", "current-password"),
        new: new.hint("At least 10 characters. A sentence is good."),
        token_name: field("token", token_name.hint("So that you know it again.")),
        scopes: [
            (Scope::Read, "list channels and keys"),
            (Scope::Channels, "make, change and delete channels"),
            (Scope::Keys, "make and revoke stream keys"),
        ]
        .map(|(scope, text)| (scope.as_str(), text, of("token").0.has(scope.as_str()))),
        scopes_fault: of("token").1.faults.of("scopes"),
        delete: password("delete", "old", "Your password", "current-password"),
    };
    page(came.told.status, &shown)
}
