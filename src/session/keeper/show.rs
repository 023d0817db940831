//! Shows the session's token to whom it is meant for, wrapped where that is asked for.
//!
//! *Invariant:* what is shown goes to the agent and to nobody else; of a wrapping that failed only the fault is told.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::put::wrap;
use super::{Delivery, Keeper};
use crate::fact::{Fact, SourceFact};
use crate::names::{Edition, SourceName};
use crate::secret::Secret;
use crate::session::sink::{Audience, Showing, Sink};
use crate::session::{Lack, Outlook};
use crate::source::{Fault, Source, Wrapping};

/// The token of a source, for somebody.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose token it is.
    pub source: SourceName,
    /// Of the keeper of this edition.
    pub edition: Edition,
    /// Who gets it.
    pub audience: Audience,
    /// What they get.
    pub text: Secret<str>,
    /// The token in it: itself, or one that wraps it.
    pub token: Secret<str>,
}

/// A wrapping that was asked for: when, and what came of it.
type Wrapped = (Instant, Result<Wrapping, Fault>);

/// Where the token is shown, and the wrappings that are asked for, by the place in that list.
#[derive(Default)]
pub(super) struct Shows {
    sinks: Vec<Sink>,
    edition: Edition,
    wrappings: JoinSet<(usize, Wrapped)>,
    /// What was told last of a wrapping that failed.
    trouble: Option<String>,
}

impl Shows {
    pub(super) fn new(sinks: Vec<Sink>, edition: Edition) -> Self {
        Self { sinks, edition, ..Self::default() }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sinks.iter().filter_map(Sink::deadline).min()
    }

    /// The next wrapping that has its answer. The future may be dropped.
    pub(super) async fn next(&mut self) -> Option<(usize, Wrapped)> {
        match self.wrappings.join_next().await? {
            Ok(wrapped) => Some(wrapped),
            // It is never cancelled, so it was lost by a panic: a bug, which ends the keeper too.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl<S: Source> Keeper<S> {
    /// Shows what is due. In a stop nothing is.
    pub(super) async fn show(&mut self, now: Instant) {
        let Some(grant) = self.session.grant().filter(|_| self.give_back_by.is_none()).cloned() else {
            return;
        };
        let mut shown = Vec::new();
        for (place, sink) in self.shows.sinks.iter_mut().enumerate() {
            match sink.look(Some(&grant.token), now) {
                None => {}
                Some(Showing::Plain(token)) => shown.push((sink.audience.clone(), token)),
                Some(Showing::Wrapped(ttl)) => {
                    let (source, grant, asker) =
                        (Arc::clone(&self.source), grant.clone(), self.asker.clone());
                    let wrapping = async move { (place, wrap(&*source, &grant, ttl, &asker).await) };
                    self.shows.wrappings.spawn(wrapping);
                }
            }
        }
        for (audience, token) in shown {
            self.deliver(audience, token.clone(), token).await;
        }
    }

    /// Whoever wrapped it answered.
    pub(super) async fn wrapped(&mut self, place: usize, (sent, result): Wrapped) {
        let Some(sink) = self.shows.sinks.get_mut(place) else { return };
        let audience = sink.audience.clone();
        let again_in = sink.wrapped(result.is_ok(), sent, Instant::now());
        let failures = sink.failures();
        match result {
            Ok(Wrapping { token, document }) => {
                self.shows.trouble = None;
                self.deliver(audience, document, token).await;
            }
            Err(fault) => {
                let error = fault.to_string();
                let outlook = Outlook::of_secret(&fault, failures);
                let login = Some(self.session.source().clone());
                let lack = Lack { login, secrets: Vec::new(), why: error.clone(), outlook };
                drop(self.deliveries.send(Delivery::Lack(lack)).await);
                if self.shows.trouble.as_ref() != Some(&error) {
                    let fact = SourceFact::TokenNotWrapped {
                        error: error.clone(),
                        again_in: again_in.unwrap_or_default(),
                    };
                    Fact::Source(self.session.source().clone(), fact).tell();
                    self.shows.trouble = Some(error);
                }
            }
        }
    }

    /// In a stop nobody takes it.
    async fn deliver(&mut self, audience: Audience, text: Secret<str>, token: Secret<str>) {
        if self.give_back_by.is_some() {
            return;
        }
        let source = self.session.source().clone();
        let shown = Shown { source, edition: self.shows.edition, audience, text, token };
        drop(self.deliveries.send(Delivery::Shown(shown)).await);
    }
}
