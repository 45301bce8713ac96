//! What gRPC counts.

use std::sync::LazyLock;

use proto::access::METHODS;

use crate::metrics::{self, Counters};

static REFUSALS: LazyLock<Counters<[(&'static str, &'static str); 1]>> = LazyLock::new(|| {
    metrics::register(
        "grpc_refusals",
        "Calls that were refused for who made them, by method",
    )
});

static HANDSHAKES: LazyLock<metrics::Counter> = LazyLock::new(|| {
    metrics::register(
        "grpc_handshakes_refused",
        "Connections that did not get through the TLS handshake",
    )
});

/// A call was refused; `None` stands for all methods of no contract.
pub(crate) fn refused(method: Option<&'static str>) {
    let labels = [("method", method.unwrap_or("none"))];
    REFUSALS.get_or_create(&labels).inc();
}

/// A connection came to nothing.
pub(crate) fn turned_away() {
    HANDSHAKES.inc();
}

/// Makes them known, at zero, before anything is counted.
pub(crate) fn announce() {
    for method in &METHODS {
        let labels = [("method", method.path)];
        drop(REFUSALS.get_or_create(&labels));
    }
    LazyLock::force(&HANDSHAKES);
}
