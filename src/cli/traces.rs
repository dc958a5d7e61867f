//! Traces of passes, sent by OTLP over http (feature `otlp`) to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, as the
//! specification of OpenTelemetry has it. Without that variable nothing is sent.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::failure::Failure;

/// Our client, in the runtime of `run`: the exporter has a thread of its own.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let request = self.client.request(parts.method, url).headers(parts.headers).body(body);
        let sent = self.runtime.spawn(async move {
            let response = request.send().await?;
            let mut answer = Response::builder().status(response.status()).body(Bytes::new())?;
            *answer.body_mut() = response.bytes().await?;
            Ok::<_, HttpError>(answer)
        });
        sent.await?
    }
}

/// Sends what is left when it is dropped.
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that does not answer is not waited for: nothing depends on it.
        let _ = self.0.shutdown();
    }
}

/// The layer that sends spans; none where nobody wants them.
pub(super) fn layer<S>(runtime: &Handle) -> Result<Option<(impl Layer<S> + use<S>, Traces)>, Failure>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none_or(|endpoint| endpoint.is_empty()) {
        return Ok(None);
    }
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::failed(format!("failed to begin sending traces: {error}"))
    };
    crate::adapters::use_ring();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(10));
    let client = Client { client: client.build().map_err(|error| failed(error.into()))?, runtime: runtime.clone() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let exporter = exporter.map_err(|error| failed(error.into()))?;
    let resource = Resource::builder().with_service_name("streamkeeper").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("streamkeeper"));
    Ok(Some((
        layer.with_filter(Targets::new().with_target(crate::controller::SPANS, tracing::Level::INFO)),
        Traces(provider),
    )))
}
