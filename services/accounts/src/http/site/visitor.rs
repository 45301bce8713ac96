//! Who looks at a page: anybody, a member, an administrator. The one rule: what changes
//! something takes a member's post with the token of the member's own pages.

use std::pin::Pin;

use actix_web::{
    FromRequest, HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
    http::StatusCode,
    web,
};
use boot::http::Refusal;

use super::{Shell, fields::Fields, stop::Stop};
use crate::{
    Account, Accounts, Error, Secret,
    store::{Entrance, LOGIN_MAX_S},
};

/// The prefix makes browsers hold it to this host, by TLS (or on the machine itself).
const COOKIE: &str = "__Host-livestation";
const CSRF: &str = "csrf";

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Stop>>>>;

/// Whoever looks.
pub(super) struct Visitor(pub(super) Option<Member>);

/// Somebody who is logged in.
pub(super) struct Member {
    pub(super) entrance: Entrance,
    csrf: String,
}

/// A member's post.
pub(super) struct Posted {
    pub(super) member: Member,
    pub(super) fields: Fields,
}

/// An administrator, who looks.
pub(super) struct Administrator(pub(super) Member);

/// An administrator's post.
pub(super) struct AdministratorPosted(pub(super) Posted);

impl Member {
    pub(super) fn account(&self) -> &Account {
        &self.entrance.account
    }

    pub(super) fn shell(&self) -> Shell<'_> {
        Shell {
            member: Some(self.account()),
            csrf: &self.csrf,
        }
    }

    /// To who is not one, there is no such page.
    fn administers(&self) -> Result<(), Stop> {
        match self.account().administrator {
            true => Ok(()),
            false => Err(Refusal::not_found().into()),
        }
    }
}

impl Visitor {
    pub(super) fn shell(&self) -> Shell<'_> {
        self.0.as_ref().map_or(Shell::PLAIN, Member::shell)
    }
}

impl FromRequest for Visitor {
    type Error = Stop;
    type Future = Boxed<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let cookie = request.cookie(COOKIE);
        let accounts = request.app_data::<web::Data<Accounts>>().cloned();
        Box::pin(async move {
            let (Some(cookie), Some(accounts)) = (cookie, accounts) else {
                return Ok(Self(None));
            };
            let entrance = accounts.entrance(cookie.value()).await?;
            Ok(Self(entrance.map(|entrance| Member {
                entrance,
                csrf: token(cookie.value()),
            })))
        })
    }
}

impl FromRequest for Member {
    type Error = Stop;
    type Future = Boxed<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload);
        let path = request.path().to_owned();
        Box::pin(async move { visitor.await?.0.ok_or(Stop::LogIn(path)) })
    }
}

impl FromRequest for Posted {
    type Error = Stop;
    type Future = Boxed<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let member = Member::from_request(request, payload);
        let fields = Fields::from_request(request, payload);
        Box::pin(async move {
            let member = member.await?;
            let fields = fields.await?;
            let shown = blake3::hash(fields.get(CSRF).as_bytes());
            // Hashes compare in one time for all.
            if shown != blake3::hash(member.csrf.as_bytes()) {
                let message = "the page was open for too long";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "cross_site", message).into());
            }
            Ok(Self { member, fields })
        })
    }
}

impl FromRequest for Administrator {
    type Error = Stop;
    type Future = Boxed<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let member = Member::from_request(request, payload);
        Box::pin(async move {
            let member = member.await?;
            member.administers()?;
            Ok(Self(member))
        })
    }
}

impl FromRequest for AdministratorPosted {
    type Error = Stop;
    type Future = Boxed<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let posted = Posted::from_request(request, payload);
        Box::pin(async move {
            let posted = posted.await?;
            posted.member.administers()?;
            Ok(Self(posted))
        })
    }
}

/// What a member's forms carry: only who has the cookie can know it, and it is not the cookie.
fn token(cookie: &str) -> String {
    hex::encode(&blake3::derive_key("livestation 2026 forms of the site", cookie.as_bytes())[..16])
}

/// Logs the browser in.
pub(super) fn cookie(secret: &Secret) -> Cookie<'static> {
    made(secret.reveal().to_owned(), Duration::seconds(LOGIN_MAX_S))
}

/// Logs it out.
pub(super) fn no_cookie() -> Cookie<'static> {
    made(String::new(), Duration::ZERO)
}

fn made(value: String, age: Duration) -> Cookie<'static> {
    Cookie::build(COOKIE, value)
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(age)
        .finish()
}

/// A new log-in and the page that comes next.
pub(super) async fn enter(
    accounts: &Accounts,
    request: &HttpRequest,
    account: &Account,
) -> Result<Cookie<'static>, Error> {
    let agent = request.headers().get(actix_web::http::header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    // Whoever was logged in with this browser is no more: a log-in never goes on as another's.
    if let Some(old) = request.cookie(COOKIE)
        && let Some(old) = accounts.entrance(old.value()).await?
    {
        accounts.end_login(&old.account, old.login).await?;
    }
    let secret = accounts
        .add_login(account, &super::agent::named(agent))
        .await?;
    Ok(cookie(&secret))
}
