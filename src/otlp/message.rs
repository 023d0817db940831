//! Spans as the body of a request, and what the answer says of them.
//!
//! *Invariant:* pure.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::{attribute, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of a request with these spans, as those of whoever has these attributes.
pub(super) fn body(attributes: &[(String, String)], spans: Vec<Span>) -> Vec<u8> {
    let attributes = attributes.iter().map(|(key, value)| attribute(key, text(value.as_str())));
    let version = attribute("service.version", text(VERSION));
    let resource = Resource { attributes: attributes.chain([version]).collect(), ..Resource::default() };
    let scope = InstrumentationScope {
        name: "squire".to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans the collector did not take. An answer that is no such message says nothing of it.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}
