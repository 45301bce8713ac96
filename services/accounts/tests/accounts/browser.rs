//! A browser without pictures: it keeps its cookie, follows one redirection when told to, and
//! sends what our own pages would.

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect::Policy};

use crate::{service::Service, sink::Sink};

pub(crate) const PASSWORD: &str = "a long enough sentence";

pub(crate) struct Browser {
    client: Client,
    site: String,
    pub(crate) cookie: Option<String>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) set_cookie: Option<String>,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) fn new(service: &Service) -> Result<Self> {
        Ok(Self {
            client: Client::builder().redirect(Policy::none()).build()?,
            site: format!("http://{}", service.http),
            cookie: None,
        })
    }

    /// One that has signed up, followed the link and is on the waiting list.
    pub(crate) async fn signed_up(service: &Service, sink: &Sink, email: &str) -> Result<Self> {
        let mut browser = Self::new(service)?;
        let before = sink.letters_to(email).len();
        let page = browser
            .post("/signup", &[("email", email), ("password", PASSWORD)])
            .await?;
        ensure!(
            page.status == StatusCode::OK,
            "{} {}",
            page.status,
            page.text
        );
        let link = sink
            .letter(email, before)
            .await?
            .link()
            .context("no link")?;
        let typed = [("link", link.as_str()), ("password", PASSWORD)];
        let page = browser.post("/signup/confirm", &typed).await?;
        ensure!(
            page.status == StatusCode::SEE_OTHER,
            "{} {}",
            page.status,
            page.text
        );
        Ok(browser)
    }

    /// One that was let in besides.
    pub(crate) async fn member(service: &Service, sink: &Sink, email: &str) -> Result<Self> {
        let browser = Self::signed_up(service, sink, email).await?;
        let operator = service.accounts.operator();
        operator
            .approve(operator.account_of(email).await?.id)
            .await?;
        Ok(browser)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Page> {
        let request = self.client.get(format!("{}{path}", self.site));
        self.send(request).await
    }

    /// As a form of our own page does.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let request = self.form(path, fields).header("origin", &self.site);
        self.send(request).await
    }

    /// The same of a member, with what the member's pages hold.
    pub(crate) async fn act(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let page = self.get("/dashboard").await?;
        let token = page.csrf().context("no token on the page")?;
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        self.client
            .post(format!("{}{path}", self.site))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(pairs.collect::<Vec<_>>().join("&"))
    }

    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Result<Page> {
        let mut request = request.header("accept", "text/html");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let page = Page::read(request.send().await?).await?;
        if let Some(set) = &page.set_cookie {
            let pair = set.split(';').next().unwrap_or_default();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        Ok(page)
    }
}

impl Page {
    async fn read(reply: Response) -> Result<Self> {
        let header = |name: &str| {
            let value = reply.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Ok(Self {
            status: reply.status(),
            location: header("location").unwrap_or_default(),
            set_cookie: header("set-cookie"),
            text: reply.text().await?,
        })
    }

    /// What the member's forms carry.
    pub(crate) fn csrf(&self) -> Option<String> {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"")?;
        Some(rest.split('"').next()?.to_owned())
    }

    /// The secret that is shown this once.
    pub(crate) fn secret(&self, prefix: &str) -> Option<String> {
        let (_, rest) = self.text.split_once(&format!("<code>{prefix}"))?;
        Some(format!("{prefix}{}", rest.split('<').next()?))
    }
}

fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
