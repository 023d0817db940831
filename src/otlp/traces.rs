//! Rollouts as traces.
//!
//! A rollout is a trace, under the id that log, audit and status have for it; its steps are spans below one span for the whole. Where a
//! server gave the read of a value an id, that read is a trace of its own under the server's id, and the rollout links to it.
//!
//! *Invariants:* pure; a span holds names, numbers and outcomes, never a value. What is remembered until a rollout ends is bounded.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::{attribute, list, nanos, text};
use crate::fact::{self, Fact, QuestionFact, QuestionKind, RolloutFact, SecretFact, Subject, Told};
use crate::hex::unhex;
use crate::names::{Generation, RequestId, Revision, SecretName, SourceName};
use crate::status::{Outcome, Step, label};

/// So many values of one secret are remembered that no rollout has used yet.
const REVISIONS: usize = 4;

/// So many secrets: a configuration with more has no links for the rest.
const SECRETS: usize = 4096;

/// Makes spans of facts.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// The latest answer with a value, until it is known which revision it was.
    answered: BTreeMap<SecretName, Read>,
    /// The reads behind the values that may be in a rollout.
    reads: BTreeMap<SecretName, BTreeMap<Revision, Read>>,
}

/// A read that a server has a name for.
#[derive(Clone, Debug, PartialEq)]
struct Read {
    source: SourceName,
    path: String,
    request: RequestId,
    trace: [u8; 16],
    ended: SystemTime,
    took: Duration,
    /// Its span was made.
    is_told: bool,
}

impl Traces {
    /// Takes a fact; with the end of a rollout come its spans.
    pub(super) fn hear(&mut self, told: &Told) -> Option<Vec<Span>> {
        if let Fact::Question(source, question) = &told.fact {
            self.answered(source, question, told.at);
        }
        if let Fact::Secret(secret, SecretFact::Fetched { revision, .. }) = &told.fact {
            self.fetched(secret, *revision);
        }
        let Fact::Rollout(Some(trace), RolloutFact::Over { generation, outcome, took, steps, renewed }) =
            &told.fact
        else {
            return None;
        };
        let (trace, reads) = (id_of(trace.as_str())?, self.used(renewed));
        let rollout = Rollout { trace, generation: *generation, outcome: *outcome, ended: told.at };
        Some(rollout.spans(*took, steps, renewed, &reads))
    }

    fn answered(&mut self, source: &SourceName, question: &QuestionFact, at: SystemTime) {
        let (QuestionKind::Fetch, fact::Outcome::Done) = (question.kind, question.outcome) else { return };
        let (Subject::Secret { secret, path }, Some(request)) = (&question.about, &question.request) else {
            return;
        };
        let Some(trace) = id_of(&request.as_str().replace('-', "")) else { return };
        if self.answered.len() < SECRETS || self.answered.contains_key(secret) {
            let (source, path, request) = (source.clone(), path.clone(), request.clone());
            let read = Read { source, path, request, trace, ended: at, took: question.took, is_told: false };
            self.answered.insert(secret.clone(), read);
        }
    }

    fn fetched(&mut self, secret: &SecretName, revision: Revision) {
        let Some(read) = self.answered.remove(secret) else { return };
        if self.reads.len() < SECRETS || self.reads.contains_key(secret) {
            let reads = self.reads.entry(secret.clone()).or_default();
            reads.insert(revision, read);
            if reads.len() > REVISIONS {
                reads.pop_first();
            }
        }
    }

    /// The reads behind these values; those of older ones are forgotten, since no rollout will use them. A release that is tried again has
    /// the same values, so they stay.
    fn used(&mut self, renewed: &[(SecretName, Revision)]) -> Vec<(SecretName, Read)> {
        let used = renewed.iter().filter_map(|(secret, revision)| {
            let reads = self.reads.get_mut(secret)?;
            *reads = reads.split_off(revision);
            let read = reads.get_mut(revision)?;
            let found = read.clone();
            read.is_told = true;
            Some((secret.clone(), found))
        });
        used.collect()
    }
}

/// 32 hexadecimal digits that are not all zero, as the id of a trace has to be.
fn id_of(digits: &str) -> Option<[u8; 16]> {
    unhex(digits).filter(|id| *id != [0; 16])
}

/// The id of a span follows from its trace and its place there.
fn span_id(trace: [u8; 16], place: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&trace).update(&place.to_le_bytes());
    let mut id: Vec<u8> = hasher.finalize().as_bytes().iter().take(8).copied().collect();
    // Zero is no id.
    id.iter_mut().take(1).for_each(|byte| *byte |= 1);
    id
}

/// A rollout that is over.
struct Rollout {
    trace: [u8; 16],
    generation: Generation,
    outcome: Outcome,
    ended: SystemTime,
}

impl Rollout {
    fn spans(
        &self,
        took: Duration,
        steps: &[(Step, Duration)],
        renewed: &[(SecretName, Revision)],
        reads: &[(SecretName, Read)],
    ) -> Vec<Span> {
        let began = self.ended.checked_sub(took).unwrap_or(UNIX_EPOCH);
        let mut spans = vec![self.whole(began, renewed, reads)];
        let mut at = began;
        for (place, (step, took)) in (1..).zip(steps) {
            let end = at.checked_add(*took).unwrap_or(at);
            spans.push(self.step(place, *step, (at, end)));
            at = end;
        }
        let unheard = reads.iter().filter(|(_, read)| !read.is_told);
        spans.extend(unheard.map(|(secret, read)| read.span(secret)));
        spans
    }

    fn whole(
        &self,
        began: SystemTime,
        renewed: &[(SecretName, Revision)],
        reads: &[(SecretName, Read)],
    ) -> Span {
        let secrets = renewed.iter().map(|(secret, _)| text(secret.as_str()));
        let requests = reads.iter().map(|(_, read)| text(read.request.as_str()));
        let succeeded = self.outcome == Outcome::Committed;
        let failed = || Status { code: StatusCode::Error.into(), message: self.outcome.word().to_owned() };
        Span {
            attributes: vec![
                attribute("squire.generation", text(self.generation.to_string())),
                attribute("squire.outcome", text(label(&self.outcome))),
                attribute("squire.secrets", list(secrets)),
                attribute("squire.request_ids", list(requests)),
            ],
            links: reads.iter().map(|(secret, read)| read.link(secret)).collect(),
            status: (!succeeded).then(failed),
            ..span(self.trace, 0, "rollout".to_owned(), (began, self.ended))
        }
    }

    fn step(&self, place: usize, step: Step, times: (SystemTime, SystemTime)) -> Span {
        Span {
            parent_span_id: span_id(self.trace, 0),
            attributes: vec![attribute("squire.step", text(label(&step)))],
            ..span(self.trace, place, format!("rollout.{}", label(&step)), times)
        }
    }
}

impl Read {
    fn span(&self, secret: &SecretName) -> Span {
        let began = self.ended.checked_sub(self.took).unwrap_or(UNIX_EPOCH);
        Span {
            kind: SpanKind::Client.into(),
            attributes: vec![
                attribute("squire.secret", text(secret.as_str())),
                attribute("squire.source", text(self.source.as_str())),
                attribute("squire.path", text(self.path.as_str())),
                attribute("squire.request_id", text(self.request.as_str())),
            ],
            ..span(self.trace, 0, "fetch".to_owned(), (began, self.ended))
        }
    }

    fn link(&self, secret: &SecretName) -> Link {
        Link {
            trace_id: self.trace.to_vec(),
            span_id: span_id(self.trace, 0),
            attributes: vec![
                attribute("squire.secret", text(secret.as_str())),
                attribute("squire.request_id", text(self.request.as_str())),
            ],
            ..Link::default()
        }
    }
}

fn span(trace: [u8; 16], place: usize, name: String, (began, ended): (SystemTime, SystemTime)) -> Span {
    Span {
        trace_id: trace.to_vec(),
        span_id: span_id(trace, place),
        name,
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(began),
        end_time_unix_nano: nanos(ended),
        ..Span::default()
    }
}

#[cfg(test)]
mod tests;
