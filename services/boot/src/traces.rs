//! Traces for a collector that speaks OTLP, and their way through our own calls. Who calls
//! another service carries the trace into the request with [`carry`]; who is called goes on with
//! it by [`follow`].
//!
//! The one rule: without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing of it runs, and a collector
//! that is away holds nobody up.

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    registry::LookupSpan,
};

use crate::Error;

/// Where the collector is; the standard's own name, as are the others that the SDK reads.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Whose spans are sent: our services'.
const OURS: [&str; 5] = ["accounts", "ingest", "encoder", "tracker", "seeder"];
/// What is left is sent within this when the process ends.
const GOODBYE: Duration = Duration::from_secs(1);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What sends spans as `service`'s, unless `OTEL_SERVICE_NAME` says otherwise; `None` when no
/// collector is named. Not inside a runtime.
pub(crate) fn layer<S>(service: &str) -> Result<Option<impl Layer<S> + use<S>>, Error>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    if std::env::var_os(ENDPOINT).is_none_or(|endpoint| endpoint.is_empty()) {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().build();
    let exporter = exporter.map_err(|error| Error::Traces(error.to_string()))?;
    let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => Resource::builder().build(),
        None => Resource::builder()
            .with_service_name(service.to_owned())
            .build(),
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build();
    let tracer = provider.tracer("livestation");
    // A second start has found the first one's in place.
    let _ = PROVIDER.set(provider);
    Ok(Some(spans(tracer)))
}

fn spans<S>(tracer: Tracer) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer: OpenTelemetryLayer<S, Tracer> = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        // Where in our code a span begins is nothing to an operator.
        .with_location(false)
        .with_threads(false);
    let ours = OURS.map(|target| (target, LevelFilter::INFO));
    layer.with_filter(Targets::new().with_targets(ours))
}

/// Sends what is left. The last thing that a process does.
pub fn end() {
    if let Some(provider) = PROVIDER.get() {
        // A collector that is away has had its time.
        let _ = provider.shutdown_with_timeout(GOODBYE);
    }
}

/// Carries the trace of `span` into a request.
pub fn carry<T>(span: &Span, request: &mut tonic::Request<T>) {
    Origin::of(span).carry(request);
}

/// Where a trace stands, for a request to come. It does not hold the span's end up; the default
/// is no trace.
#[derive(Clone, Debug, Default)]
pub struct Origin(Headers);

impl Origin {
    /// Where `span` stands.
    #[must_use]
    pub fn of(span: &Span) -> Self {
        let mut headers = Headers::default();
        TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
        Self(headers)
    }

    /// Carries it into a request.
    pub fn carry<T>(&self, request: &mut tonic::Request<T>) {
        for (key, value) in self.0.0.iter().cloned() {
            request.metadata_mut().insert(key, value);
        }
    }
}

/// Makes `span` go on with the trace that a request carries, if it carries one. Before the
/// span is entered.
pub fn follow<T>(span: &Span, request: &tonic::Request<T>) {
    let carried = Carried(request.metadata());
    if carried.get("traceparent").is_some() {
        // Where no trace is sent there is none to go on with.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carried));
    }
}

#[derive(Clone, Debug, Default)]
struct Headers(Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        let key = MetadataKey::from_bytes(key.as_bytes());
        if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
            self.0.push((key, value));
        }
    }
}

struct Carried<'a>(&'a MetadataMap);

impl Extractor for Carried<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_trace_goes_on_where_a_request_is_taken() {
        let provider = SdkTracerProvider::builder().build();
        let spans = spans(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(spans);
        tracing::subscriber::with_default(subscriber, || {
            let caller = tracing::info_span!(target: "ingest", "calls");
            let mut request = tonic::Request::new(());
            carry(&caller, &mut request);
            let called = tracing::info_span!(target: "encoder", "is called");
            follow(&called, &request);
            let [one, other] = [&caller, &called].map(|span| {
                let context = span.context();
                context.span().span_context().trace_id()
            });
            assert_eq!(one, other);
            let alone = tracing::info_span!(target: "encoder", "alone");
            follow(&alone, &tonic::Request::new(()));
            assert_ne!(alone.context().span().span_context().trace_id(), one);
            // Libraries' spans are their own affair.
            let theirs = tracing::info_span!(target: "hyper", "theirs");
            assert!(!theirs.context().span().span_context().is_valid());
        });
    }
}
