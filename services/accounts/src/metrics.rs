//! What accounts counts.

use std::sync::LazyLock;

use boot::metrics::{self, Counter, Counters};

use crate::{Error, Publisher};

static TICKETS: LazyLock<Counter> =
    LazyLock::new(|| metrics::register("accounts_tickets", "Tickets issued to viewers"));

static AUTHORIZATIONS: LazyLock<Counters<[(&'static str, &'static str); 1]>> =
    LazyLock::new(|| {
        metrics::register(
            "accounts_authorizations",
            "Stream keys that ingest asked about, by what was answered",
        )
    });

static OUTAGES: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register(
        "accounts_database_errors",
        "Requests that failed because the database did not answer",
    )
});

/// Makes them known, at zero, before anything is counted.
pub(crate) fn announce() {
    LazyLock::force(&TICKETS);
    for answer in ["granted", "wrong_key", "failed"] {
        drop(AUTHORIZATIONS.get_or_create(&[("answer", answer)]));
    }
    LazyLock::force(&OUTAGES);
}

pub(crate) fn ticket() {
    TICKETS.inc();
}

pub(crate) fn authorized(found: &Result<Publisher, Error>) {
    let answer = match found {
        Ok(_) => "granted",
        Err(Error::WrongKey) => "wrong_key",
        Err(_) => "failed",
    };
    AUTHORIZATIONS.get_or_create(&[("answer", answer)]).inc();
}

/// A request failed because of the database.
pub(crate) fn outage() {
    OUTAGES.inc();
}
