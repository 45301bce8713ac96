//! What stands before every page: that a post comes from our own pages, and that a refusal is a
//! page where a person reads it. The one rule: what a cross-site post asks for is not looked
//! at.

use actix_web::{
    Error, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{Method, StatusCode, header},
    middleware::Next,
    web,
};
use askama::Template;
use boot::http::Refusal;

use super::{Shell, page};
use crate::Accounts;

/// Middleware that refuses posts from elsewhere: by `Sec-Fetch-Site`, which browsers send and
/// scripts cannot set, and by `Origin`. One of the two must be there, and none may speak
/// against it.
///
/// # Errors
/// 403 `cross_site`, and those of what it wraps.
pub(in crate::http) async fn same_site(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && !is_own(request.request()) {
        let message = "this came from another site";
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "cross_site", message);
        return Ok(request.into_response(refusal.error_response()));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn is_own(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    let fetched = text("sec-fetch-site");
    if fetched.is_some_and(|site| site != b"same-origin") {
        return false;
    }
    match text("origin") {
        // Browsers that send both hide the origin where the page asked for no referrer.
        Some(b"null") => fetched.is_some(),
        Some(origin) => origins(request).iter().any(|own| own.as_bytes() == origin),
        None => fetched.is_some(),
    }
}

/// Where we are: as the operator says, and as this request says.
fn origins(request: &HttpRequest) -> Vec<String> {
    let mut origins = Vec::new();
    if let Some(accounts) = request.app_data::<web::Data<Accounts>>() {
        origins.push(accounts.0.site.clone());
    }
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    // A page of another site can make a browser send neither this host nor that origin.
    if let Some(host) = host.or_else(|| request.uri().authority().map(|host| host.as_str())) {
        origins.push(format!("http://{host}"));
        origins.push(format!("https://{host}"));
    }
    origins
}

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused<'a> {
    shell: Shell<'a>,
    title: &'a str,
    text: &'a str,
}

/// Middleware that makes a page of a refusal, for who reads pages.
///
/// # Errors
/// Those of what it wraps.
pub(in crate::http) async fn dress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let accept = request.headers().get(header::ACCEPT);
    let reads_pages = accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let reads_pages = reads_pages && !request.path().starts_with("/api/");
    let response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) if reads_pages => {
            let status = error.as_response_error().status_code();
            return Err(refused(status).map_or(error, |page| {
                InternalError::from_response("refused", page).into()
            }));
        }
        Err(error) => return Err(error),
    };
    let is_page = response.response().content_type().starts_with("text/html");
    let status = response.status();
    if !reads_pages || is_page || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    match refused(status) {
        Some(page) => Ok(response.into_response(page)),
        None => Ok(response),
    }
}

fn refused(status: StatusCode) -> Option<HttpResponse> {
    let (title, text) = words(status);
    let refused = Refused {
        shell: Shell::PLAIN,
        title,
        text,
    };
    page(status, &refused).ok()
}

fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => ("Nothing is here", "There is no such channel or page."),
        StatusCode::FORBIDDEN => (
            "Not from there",
            "This came from another site, or from a page that was open for too long. Go back, load it again, and try once more.",
        ),
        StatusCode::GONE => (
            "This link is over",
            "It has been used, or is older than an hour. Ask for another.",
        ),
        StatusCode::TOO_MANY_REQUESTS => ("Too often", "Wait a minute, then try again."),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Back in a moment",
            "The station cannot answer right now. Try again in a moment.",
        ),
        status if status.is_client_error() => (
            "That cannot be understood",
            "What was sent is not what this page takes. Go back and try again.",
        ),
        _ => (
            "The station failed",
            "It was not you. Try again in a moment.",
        ),
    }
}

trait ContentType {
    fn content_type(&self) -> &str;
}

impl<B> ContentType for HttpResponse<B> {
    fn content_type(&self) -> &str {
        let kind = self.headers().get(header::CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_our_own_pages_post() {
        let own = |headers: &[(&'static str, &str)]| {
            let mut request = TestRequest::post().insert_header(("host", "live.example"));
            for (name, value) in headers {
                request = request.insert_header((*name, *value));
            }
            is_own(&request.to_http_request())
        };
        assert!(own(&[("origin", "https://live.example")]));
        assert!(own(&[
            ("origin", "http://live.example"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[
            ("origin", "null"),
            ("sec-fetch-site", "same-origin")
        ]));
        for bad in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://live.example.evil.example")],
            &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[
                ("origin", "https://live.example"),
                ("sec-fetch-site", "same-site"),
            ],
            &[("referer", "https://live.example/")],
        ] {
            assert!(!own(bad), "{bad:?}");
        }
    }
}
