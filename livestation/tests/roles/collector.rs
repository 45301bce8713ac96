//! A collector of traces that speaks OTLP over HTTP.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

const SOON: Duration = Duration::from_secs(10);

/// A span's trace, by the service and the name of the span.
type Spans = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// Takes what is sent until the test is over.
pub(crate) struct Collector {
    spans: Spans,
    pub(crate) url: String,
}

impl Collector {
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Spans::default();
        let taken = spans.clone();
        let app = move || {
            App::new()
                .app_data(web::Data::new(taken.clone()))
                .app_data(web::PayloadConfig::new(4 << 20))
                .route("/v1/traces", web::post().to(take))
        };
        let server = HttpServer::new(app).workers(1).disable_signals();
        tokio::spawn(server.listen(listener)?.run());
        Ok(Self { spans, url })
    }

    /// Waits until one trace has all these spans, of these services.
    pub(crate) async fn has_one_trace_of(&self, wanted: &[(&str, &str)]) -> Result<()> {
        let began = Instant::now();
        loop {
            let spans = self.spans.lock().expect("no test panics with it").clone();
            let mut traces = BTreeMap::<Vec<u8>, Vec<(String, String)>>::new();
            for (service, name, trace) in spans {
                traces.entry(trace).or_default().push((service, name));
            }
            let has = |spans: &Vec<(String, String)>, one: &(&str, &str)| {
                spans.iter().any(|(s, n)| (s.as_str(), n.as_str()) == *one)
            };
            if traces
                .values()
                .any(|spans| wanted.iter().all(|one| has(spans, one)))
            {
                return Ok(());
            }
            ensure!(began.elapsed() < SOON, "no such trace: {traces:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn take(spans: web::Data<Spans>, body: web::Bytes) -> HttpResponse {
    let Ok(sent) = ExportTraceServiceRequest::decode(&body[..]) else {
        return HttpResponse::BadRequest().finish();
    };
    let mut spans = spans.lock().expect("no test panics with it");
    for resource in sent.resource_spans {
        let about = resource.resource.unwrap_or_default();
        let named = about
            .attributes
            .iter()
            .find(|one| one.key == "service.name");
        let service = named
            .map(|one| format!("{:?}", one.value))
            .unwrap_or_default();
        // The value is wrapped twice.
        let service = service.split('"').nth(1).unwrap_or_default().to_owned();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push((service.clone(), span.name, span.trace_id));
        }
    }
    HttpResponse::Ok().finish()
}
