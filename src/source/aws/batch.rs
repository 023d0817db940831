//! Many secrets in one request: who asks within the same moment is asked for together.
//!
//! *Invariant:* nobody is answered worse than alone: whom a batch has no answer for asks by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::batch_get_secret_value::BatchGetSecretValueOutput;
use tokio::sync::oneshot;

use super::Fault;
use super::answer::{self, Failure, Value};

/// How long the first waits for others: next to nothing beside a request, and all that is due at once comes within it.
const GATHER: Duration = Duration::from_millis(5);

/// How many a request may name: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
pub(super) const LARGEST: usize = 20;

/// Those who wait for the next request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    waiting: Mutex<Waiting>,
    /// The policy does not allow it.
    is_denied: AtomicBool,
}

type Waiting = BTreeMap<String, Vec<oneshot::Sender<Result<Value, Failure>>>>;

impl Batch {
    /// The current version of this secret.
    pub(super) async fn get(&self, client: &Client, id: &str) -> Result<Value, Failure> {
        if self.is_denied.load(Ordering::Relaxed) {
            return alone(client, id).await;
        }
        let (is_first, answer) = self.join(id);
        if is_first {
            tokio::time::sleep(GATHER).await;
            self.ask(client).await;
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => alone(client, id).await,
        }
    }

    fn join(&self, id: &str) -> (bool, oneshot::Receiver<Result<Value, Failure>>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.is_empty();
        waiting.entry(id.to_owned()).or_default().push(sender);
        (is_first, receiver)
    }

    async fn ask(&self, client: &Client) {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(first) = waiting.keys().next().cloned() {
            let rest = waiting.keys().nth(LARGEST).cloned();
            let later = rest.map(|key| waiting.split_off(&key)).unwrap_or_default();
            let these = std::mem::replace(&mut waiting, later);
            if these.len() == 1 {
                hand_out(these, &alone(client, &first).await);
                continue;
            }
            let question =
                client.batch_get_secret_value().set_secret_id_list(Some(these.keys().cloned().collect()));
            match question.send().await {
                Ok(answer) => distribute(these, &answer),
                Err(error) => {
                    let failure = answer::failure(&error, "a batch", "secretsmanager:BatchGetSecretValue");
                    self.failed(these, &failure);
                }
            }
        }
    }

    fn failed(&self, waiting: Waiting, failure: &Failure) {
        match failure.fault {
            // That is so for each of them.
            Fault::Unreachable { .. } | Fault::Dead => hand_out(waiting, &Err(failure.clone())),
            Fault::Denied { .. } => {
                tracing::debug!(
                    "secretsmanager:BatchGetSecretValue is not allowed, asking for each secret alone"
                );
                self.is_denied.store(true, Ordering::Relaxed);
            }
            Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Refused { .. }
            | Fault::Gone { .. }
            | Fault::Malformed { .. } => {}
        }
    }
}

async fn alone(client: &Client, id: &str) -> Result<Value, Failure> {
    Value::single(client.get_secret_value().secret_id(id).send().await, id)
}

/// The same to all.
fn hand_out(waiting: Waiting, answer: &Result<Value, Failure>) {
    for waiter in waiting.into_values().flatten() {
        // Who has gone needs no answer.
        drop(waiter.send(answer.clone()));
    }
}

/// To each its answer. Who was named and is not in it is dropped, and so asks alone.
fn distribute(waiting: Waiting, output: &BatchGetSecretValueOutput) {
    for (id, waiters) in waiting {
        let entry = output
            .secret_values()
            .iter()
            .find(|entry| entry.name() == Some(&id) || entry.arn().is_some_and(|arn| is_arn(&id, arn)));
        let Some(entry) = entry else { continue };
        for waiter in waiters {
            drop(waiter.send(Ok(Value::of_entry(entry, answer::heard_in(output)))));
        }
    }
}

/// Whether an id is this ARN, or all of it but the six characters that AWS adds.
fn is_arn(id: &str, arn: &str) -> bool {
    id == arn || arn.strip_prefix(id).is_some_and(|added| added.len() == 7 && added.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::types::SecretValueEntry;

    use super::*;

    #[test]
    fn to_each_its_answer_by_name_or_arn_and_none_that_is_not_meant() {
        const ARN: &str = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-AbCdEf";
        let entry = |name: &str, arn: &str, value: &str| {
            SecretValueEntry::builder().name(name).arn(arn).secret_string(value).version_id("v").build()
        };
        let answer = BatchGetSecretValueOutput::builder()
            .secret_values(entry("prod/db", ARN, "one"))
            .secret_values(entry("prod", "arn:aws:secretsmanager:eu-west-1:1:secret:prod-XXXXXX", "two"))
            .build();
        for (id, expected) in [
            ("prod/db", Some("one")),
            (ARN, Some("one")),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:prod/db", Some("one")),
            ("prod", Some("two")),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:pro", None),
            ("other", None),
        ] {
            let (sender, mut receiver) = oneshot::channel();
            distribute(Waiting::from([(id.to_owned(), vec![sender])]), &answer);
            let value = receiver
                .try_recv()
                .ok()
                .map(|value| value.unwrap().fields(id, 100).unwrap().expose()["value"].clone());
            assert_eq!(value, expected.map(serde_json::Value::from), "{id}");
        }
    }
}
