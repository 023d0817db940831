//! When the next rotation of a secret is planned, so that it is looked for right then and not at the next interval.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_secretsmanager::Client;

use super::answer;
use super::{Fault, LONGEST_LIFE};

/// A rotation takes its time after it began: it is looked for so long after the hour.
const AFTER: Duration = Duration::from_secs(2);
/// So often while it is late …
const WHILE_LATE: Duration = Duration::from_secs(15);
/// … and for so long: a rotation that fails leaves its date where it was.
const LATE_AT_MOST: Duration = Duration::from_mins(10);

/// A plan may change without a new version.
const BELIEVED_FOR: Duration = Duration::from_hours(1);

/// What is known of the plans.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: Mutex<BTreeMap<String, Plan>>,
    /// The policy does not allow to ask.
    is_denied: AtomicBool,
}

#[derive(Clone, Debug, PartialEq)]
struct Plan {
    /// The version that was current.
    version: String,
    /// When the next one is planned, if it is.
    next: Option<SystemTime>,
    /// When that was said.
    said: SystemTime,
}

impl Plans {
    /// When to look again for a secret whose current version is this one; `None` if no rotation is planned.
    pub(super) async fn look_again(
        &self,
        client: &Client,
        id: &str,
        version: &str,
        now: SystemTime,
    ) -> Option<Duration> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let plan = match known.filter(|plan| plan.holds(version, now)) {
            Some(plan) => plan,
            None => self.ask(client, id, version, now).await?,
        };
        plan.look_again(now)
    }

    async fn ask(&self, client: &Client, id: &str, version: &str, now: SystemTime) -> Option<Plan> {
        if self.is_denied.load(Ordering::Relaxed) {
            return None;
        }
        let next = match client.describe_secret().secret_id(id).send().await {
            Ok(answer) => answer
                .next_rotation_date()
                .filter(|_| answer.rotation_enabled() == Some(true))
                .and_then(|date| SystemTime::try_from(*date).ok()),
            Err(error) => {
                let failure = answer::failure(&error, id, "secretsmanager:DescribeSecret");
                if matches!(failure.fault, Fault::Denied { .. }) {
                    tracing::debug!(
                        "secretsmanager:DescribeSecret is not allowed, planned rotations are not known"
                    );
                    self.is_denied.store(true, Ordering::Relaxed);
                }
                return None;
            }
        };
        let plan = Plan { version: version.to_owned(), next, said: now };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), plan.clone());
        Some(plan)
    }
}

impl Plan {
    /// Whether there is no reason to ask again.
    fn holds(&self, version: &str, now: SystemTime) -> bool {
        let is_past = self.next.is_some_and(|next| next <= now);
        let is_old = now.duration_since(self.said).is_ok_and(|age| age > BELIEVED_FOR);
        self.version == version && !is_past && !is_old
    }

    fn look_again(&self, now: SystemTime) -> Option<Duration> {
        look_again(self.next, now)
    }
}

/// When to look for what is planned for this time.
pub(super) fn look_again(next: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    match next?.duration_since(now) {
        Ok(until) => Some(until.min(LONGEST_LIFE) + AFTER),
        Err(past) if past.duration() < LATE_AT_MOST => Some(WHILE_LATE),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_right_after_the_hour_and_for_a_while_if_it_is_late() {
        let hour = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365);
        let plan = |next| Plan { version: "v1".to_owned(), next, said: hour };
        for (now, expected) in [
            (hour - Duration::from_mins(1), Some(Duration::from_mins(1) + AFTER)),
            (hour, Some(AFTER)),
            (hour + Duration::from_secs(1), Some(WHILE_LATE)),
            (hour + LATE_AT_MOST, None),
        ] {
            assert_eq!(plan(Some(hour)).look_again(now), expected);
            assert_eq!(plan(None).look_again(now), None);
        }
    }

    #[test]
    fn it_is_asked_for_again_with_each_version_after_its_hour_and_once_in_an_hour() {
        let said = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365);
        let (soon, late) = (said + Duration::from_mins(1), said + BELIEVED_FOR + Duration::from_secs(1));
        let plan = |next| Plan { version: "v1".to_owned(), next, said };
        assert!(plan(None).holds("v1", soon));
        assert!(!plan(None).holds("v2", soon));
        assert!(!plan(None).holds("v1", late));
        assert!(plan(Some(late)).holds("v1", soon));
        assert!(!plan(Some(soon)).holds("v1", soon));
    }
}
