//! What a form that was refused says when it comes back.

use actix_web::http::StatusCode;

use super::stop::Stop;
use crate::{Error, Faults};

/// Faults beside fields, and a sentence above the form.
#[derive(Default)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) faults: Faults,
    pub(super) notice: Option<String>,
}

impl Told {
    /// The form as it is shown first.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    /// What whoever typed can mend, or try again; the rest is a refusal.
    pub(super) fn of(error: Error) -> Result<Self, Stop> {
        let (status, notice) = match error {
            Error::Form(faults) => {
                return Ok(Self {
                    status: StatusCode::UNPROCESSABLE_ENTITY,
                    faults,
                    notice: None,
                });
            }
            Error::WrongPassword => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "E-mail or password is wrong.".to_owned(),
            ),
            Error::Invalid(rule) => (StatusCode::UNPROCESSABLE_ENTITY, sentence(rule)),
            Error::Waiting => (
                StatusCode::FORBIDDEN,
                "You are not in yet: you wait in line.".to_owned(),
            ),
            Error::TooOften => (
                StatusCode::TOO_MANY_REQUESTS,
                "That was too often: try again in a minute.".to_owned(),
            ),
            Error::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many at once: try again in a moment.".to_owned(),
            ),
            Error::NoMail => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This station sends no mail, so nobody can do this here. Ask who runs it."
                    .to_owned(),
            ),
            Error::Database(error) => {
                crate::metrics::outage();
                tracing::error!(%error, "the database does not answer");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The station is busy with itself: try again in a moment.".to_owned(),
                )
            }
            error => return Err(error.into()),
        };
        Ok(Self {
            status,
            faults: Faults::default(),
            notice: Some(notice),
        })
    }
}

fn sentence(rule: &str) -> String {
    let mut chars = rule.chars();
    let first = chars.next().map(|char| char.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
