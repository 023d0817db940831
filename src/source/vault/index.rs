//! The newest state of the cluster that was seen, so that no standby answers with an older one.
//!
//! Standbys answer reads themselves, and may be behind: they may not know a value, or a secret-id, that was just written. If a request
//! carries this index, a standby that is behind passes it on to the active server.
//!
//! *Invariant:* within one cluster the index only grows, in whatever order the answers come.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use serde::Deserialize;

/// The newest `X-Vault-Index`.
#[derive(Debug, Default)]
pub(super) struct NewestIndex(Mutex<Option<HeaderValue>>);

impl NewestIndex {
    /// Takes the index of an answer.
    pub(super) fn saw(&self, index: &HeaderValue) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|newest| !is_older(index, newest)) {
            *newest = Some(index.clone());
        }
    }

    /// The header to send.
    pub(super) fn newest(&self) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The content of an OpenBao index.
#[derive(Deserialize)]
struct State {
    cluster: String,
    value: String,
}

/// Whether the first is surely older. If two indexes cannot be compared (another cluster, another server's form), the last one counts.
fn is_older(one: &HeaderValue, other: &HeaderValue) -> bool {
    let (Some(one), Some(other)) = (state(one), state(other)) else { return false };
    one.0 == other.0 && one.1 < other.1
}

fn state(index: &HeaderValue) -> Option<(String, u64)> {
    let text = BASE64_STANDARD.decode(index).ok()?;
    let State { cluster, value } = serde_json::from_slice(&text).ok()?;
    Some((cluster, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_answer_that_comes_late_changes_nothing() {
        let index = |cluster: &str, value: u64| {
            let text = format!(r#"{{"cluster":"{cluster}","value":"{value}"}}"#);
            HeaderValue::from_str(&BASE64_STANDARD.encode(text)).unwrap()
        };
        let other_form = HeaderValue::from_static("djE6YTox");
        let newest = NewestIndex::default();
        assert_eq!(newest.newest(), None);
        let cases = [
            (index("a", 9), index("a", 9)),
            (index("a", 10), index("a", 10)),
            (index("a", 9), index("a", 10)),
            (index("b", 1), index("b", 1)),
            (other_form.clone(), other_form),
        ];
        for (seen, expected) in cases {
            newest.saw(&seen);
            assert_eq!(newest.newest(), Some(expected));
        }
    }
}
