//! What an operator's machines ask: whether the program lives (`/healthz`), whether it takes
//! work (`/readyz`), what it counts (`/metrics`). Mounted by the program.
//!
//! The one rule: `/metrics` is never on an address that viewers or broadcasters reach.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};

use crate::{http::Refusal, metrics};

/// Whether a process takes work. Clones are the same one; a new one is not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// It serves.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// It will end soon: nothing new is to come.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it takes work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds `/healthz` and `/readyz`.
pub fn routes(readiness: Readiness) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.route("/healthz", web::get().to(|| async { "ok\n" }))
            .service(
                web::resource("/readyz")
                    .app_data(web::Data::new(readiness))
                    .route(web::get().to(ready)),
            );
    }
}

/// Adds `/metrics`.
pub fn metrics(cfg: &mut web::ServiceConfig) {
    cfg.route("/metrics", web::get().to(figures));
}

async fn ready(readiness: web::Data<Readiness>) -> Result<&'static str, Refusal> {
    match readiness.is_ready() {
        true => Ok("ready\n"),
        false => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "it does not take work now",
        )),
    }
}

async fn figures() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, metrics::CONTENT_TYPE))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(metrics::render())
}

#[cfg(test)]
mod tests {
    use actix_web::{App, test};

    use super::*;

    #[actix_web::test]
    async fn readiness_comes_and_goes_and_life_stays() {
        let readiness = Readiness::default();
        let app = App::new()
            .configure(routes(readiness.clone()))
            .configure(super::metrics);
        let app = test::init_service(app).await;
        let ask = async |path: &str| {
            let request = test::TestRequest::get().uri(path).to_request();
            test::call_service(&app, request).await.status().as_u16()
        };
        assert_eq!((ask("/healthz").await, ask("/readyz").await), (200, 503));
        readiness.begin();
        assert_eq!(ask("/readyz").await, 200);
        readiness.end();
        assert_eq!((ask("/healthz").await, ask("/readyz").await), (200, 503));
        assert_eq!(ask("/metrics").await, 200);
    }
}
