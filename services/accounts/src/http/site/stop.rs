//! Why a page is not shown: refused, or another comes first.

use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use boot::http::Refusal;

use crate::Error;

/// What is answered instead.
#[derive(Debug)]
pub(super) enum Stop {
    /// In the shape of all refusals; `dress` makes a page of it.
    Refused(Refusal),
    /// The log-in, and then this path.
    LogIn(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::LogIn(_) => f.write_str("log in first"),
        }
    }
}

impl ResponseError for Stop {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status_code(),
            Self::LogIn(_) => StatusCode::SEE_OTHER,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Refused(refusal) => refusal.error_response(),
            // Paths that we have are of letters that a query takes.
            Self::LogIn(path) => super::go_to(&format!("/login?to={path}")),
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}
