//! Spans and metrics as the body of a request, and what the answer says of them.
//!
//! *Invariant:* pure.

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::{attribute, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of a request with these spans, as those of whoever has these attributes.
pub(super) fn traces(attributes: &[(String, String)], spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = Some(resource(attributes));
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The same for metrics.
pub(super) fn metrics(attributes: &[(String, String)], metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource(attributes));
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn resource(attributes: &[(String, String)]) -> Resource {
    let attributes = attributes.iter().map(|(key, value)| attribute(key, text(value.as_str())));
    let version = attribute("service.version", text(VERSION));
    Resource { attributes: attributes.chain([version]).collect(), ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    let (name, version) = ("squire".to_owned(), VERSION.to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

/// How many spans the collector did not take. An answer that is no such message says nothing of it.
pub(super) fn rejected_spans(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    positive(answer.partial_success.map_or(0, |partial| partial.rejected_spans))
}

/// The same for the points of metrics.
pub(super) fn rejected_points(answer: &[u8]) -> u64 {
    let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
    positive(answer.partial_success.map_or(0, |partial| partial.rejected_data_points))
}

fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
