//! What a form sent. The one rule: a field that comes twice is no form of ours.

use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode, web};
use boot::http::Refusal;

use super::stop::Stop;

/// More than any form of ours has; an administrator may tick as many as a list shows.
const FIELDS_MAX: usize = 300;
/// The one field that may come more than once: what is ticked in a list.
const TICKED: &str = "ticked";

/// Names and values.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// What was typed; nothing where there is no such field.
    pub(super) fn get(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        fields
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// Whether a box was ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    pub(super) fn ticked(&self) -> impl Iterator<Item = &str> {
        let ticked = self.0.iter().filter(|(name, _)| name == TICKED);
        ticked.map(|(_, value)| value.as_str())
    }

    fn check(self) -> Result<Self, Stop> {
        let twice = self.0.iter().enumerate().any(|(at, (name, _))| {
            name != TICKED && self.0[..at].iter().any(|(before, _)| before == name)
        });
        match twice || self.0.len() > FIELDS_MAX {
            true => Err(bad()),
            false => Ok(self),
        }
    }
}

impl FromRequest for Fields {
    type Error = Stop;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Stop>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = web::Form::<Vec<(String, String)>>::from_request(request, payload);
        Box::pin(async move {
            let fields = form.await.map_err(|_| bad())?;
            Self(fields.into_inner()).check()
        })
    }
}

fn bad() -> Stop {
    let message = "this is not what the page's form sends";
    Refusal::new(StatusCode::BAD_REQUEST, "bad_form", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        let fields = |names: &[&str]| {
            let pair = |name: &&str| ((*name).to_owned(), "x".to_owned());
            Fields(names.iter().map(pair).collect()).check()
        };
        assert!(fields(&["email", "password"]).is_ok());
        assert!(fields(&["ticked", "ticked"]).is_ok());
        assert!(fields(&["email", "email"]).is_err());
        assert!(fields(&["ticked"; 301]).is_err());
    }
}
