//! HTTP as all services speak it: one shape of error, `{"error":{"code","message"}}`, for
//! every refusal, those of the framework too.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    Error, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::{JsonPayloadError, PathError, QueryPayloadError},
    http::{StatusCode, header},
    middleware::Next,
    web,
};
use serde_json::json;

/// The largest JSON body that is read.
pub const JSON_MAX: usize = 16 << 10;

/// Every answer needs a moment; what takes longer waits for its client.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// An answer that refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
}

impl Refusal {
    /// `code` is for programs and stays; `message` is for people.
    #[must_use]
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// The ticket gives no right: 401 `ticket_expired` or `ticket_forged`.
    #[must_use]
    pub fn ticket(error: crate::ticket::Error) -> Self {
        let code = match error {
            crate::ticket::Error::Expired => "ticket_expired",
            crate::ticket::Error::Forged => "ticket_forged",
        };
        Self::new(StatusCode::UNAUTHORIZED, code, error.to_string())
    }

    /// Nothing is at this address: 404 `not_found`.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "nothing is here")
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponseBuilder::new(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(json!({"error": {"code": self.code, "message": self.message}}))
    }
}

/// Makes the framework's extractors refuse in our shape and bounds what they read.
pub fn extractors(cfg: &mut web::ServiceConfig) {
    cfg.app_data(
        web::JsonConfig::default()
            .limit(JSON_MAX)
            .error_handler(bad_json),
    )
    .app_data(web::PathConfig::default().error_handler(bad_path))
    .app_data(web::QueryConfig::default().error_handler(bad_query));
}

/// Middleware (`actix_web::middleware::from_fn`) that gives a body in our shape to errors
/// that the framework made itself, such as 405, and refuses requests whose answer has not
/// begun within 5 s, such as those of a client that trickles its body.
///
/// # Errors
/// Those of what it wraps.
pub async fn refusals(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answer = tokio::time::timeout(ANSWER_DEADLINE, next.call(request));
    let response = answer.await.map_err(|_| {
        let message = "the request took too long";
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message)
    })??;
    let status = response.status();
    let ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| {
            let kind = kind.as_bytes();
            // A page that refuses a form has said why.
            kind.starts_with(b"application/json") || kind.starts_with(b"text/html")
        });
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response.map_into_boxed_body());
    }
    let (code, message) = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "this address takes another method")
        }
        StatusCode::NOT_FOUND => ("not_found", "nothing is here"),
        _ if status.is_client_error() => ("bad_request", "the request cannot be understood"),
        _ => ("internal", "the server failed"),
    };
    Ok(response.into_response(Refusal::new(status, code, message).error_response()))
}

fn bad_json(error: JsonPayloadError, _: &HttpRequest) -> Error {
    match error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is too large",
            )
        }
        JsonPayloadError::ContentType => Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the body must be application/json",
        ),
        error => Refusal::new(StatusCode::BAD_REQUEST, "bad_json", error.to_string()),
    }
    .into()
}

fn bad_path(_: PathError, _: &HttpRequest) -> Error {
    Refusal::not_found().into()
}

fn bad_query(error: QueryPayloadError, _: &HttpRequest) -> Error {
    Refusal::new(StatusCode::BAD_REQUEST, "bad_query", error.to_string()).into()
}
