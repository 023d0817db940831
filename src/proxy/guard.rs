//! What goes on with Squire's token only in part, whatever the list of paths says: leases are for those who got them, and the token is
//! Squire's own.
//!
//! Who attacks: a client that ends or renews the leases of another one, or Squire's; that asks what Squire's token is, or wraps the answer so
//! that Squire does not see it; that ends the token for everybody.
//!
//! *Invariant:* pure. What may be at stake in a namespace is guarded as in the root.

use serde::Deserialize;
use serde_json::{Value, json};

use super::allowed::is_in_kv;
use super::{Refusal, Verb};

/// What is asked of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfLease {
    /// A longer life.
    Renew,
    /// Its end.
    Revoke,
    /// How long it lives.
    LookUp,
}

/// What is asked of a lease by this path, with Squire's token.
///
/// # Errors
/// What does not go on with Squire's token, or with any.
pub(super) fn guarded(
    verb: Verb,
    path: &str,
    is_wrapped: bool,
    has_token: bool,
) -> Result<Option<OfLease>, Refusal> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    for (place, part) in parts.iter().enumerate().filter(|(place, _)| !is_in_kv(&parts, *place)) {
        let below = parts.get(place + 1..).unwrap_or_default();
        match (*part, below) {
            ("auth", ["token", "lookup" | "renew" | "revoke" | "revoke-orphan", _, ..]) => {
                return Err(Refusal::TokenInPath);
            }
            ("auth", ["token", "renew-self" | "revoke-self"]) if !has_token => return Err(Refusal::Own),
            ("auth", ["token", "lookup-self"]) if !has_token && is_wrapped => return Err(Refusal::Own),
            ("sys", ["leases", below @ ..]) if !has_token => return of_lease(verb, below).map(Some),
            ("sys", ["renew" | "revoke", ..]) if !has_token => return of_lease(verb, below).map(Some),
            ("sys", ["revoke-prefix" | "revoke-force", ..]) if !has_token => return Err(Refusal::Lease),
            _ => {}
        }
    }
    Ok(None)
}

/// Which lease it is has to stand in the body: a path would be in logs, and would win or lose against the body.
fn of_lease(verb: Verb, below: &[&str]) -> Result<OfLease, Refusal> {
    match (verb, below) {
        (Verb::Write, ["renew"]) => Ok(OfLease::Renew),
        (Verb::Write, ["revoke"]) => Ok(OfLease::Revoke),
        (Verb::Write, ["lookup"]) => Ok(OfLease::LookUp),
        _ => Err(Refusal::Lease),
    }
}

#[derive(Deserialize)]
struct Asked {
    lease_id: String,
    #[serde(default)]
    increment: Option<Value>,
}

/// Which lease a body asks for, and the body that goes on: a server may know other names for the same.
pub(super) fn asked(of: OfLease, body: &[u8]) -> Option<(String, Vec<u8>)> {
    let Asked { lease_id, increment } = serde_json::from_slice(body).ok()?;
    let mut whole = json!({ "lease_id": lease_id });
    if let (OfLease::Renew, Some(increment)) = (of, increment.filter(|asked| !asked.is_object())) {
        whole["increment"] = increment;
    }
    Some((lease_id, whole.to_string().into_bytes()))
}

/// What stands in the place of Squire's token, where a server tells it.
const HIDDEN: &[u8] = b"hidden-by-squire";

/// An answer without Squire's token, if it is in there.
pub(super) fn without(body: &[u8], token: &str) -> Option<Vec<u8>> {
    let token = token.as_bytes();
    if token.is_empty() || body.len() < token.len() {
        return None;
    }
    let mut left = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = find(body, token, at) {
        left.extend_from_slice(body.get(from..found).unwrap_or_default());
        left.extend_from_slice(HIDDEN);
        from = found + token.len();
        at = from;
    }
    if from == 0 && left.is_empty() {
        return None;
    }
    left.extend_from_slice(body.get(from..).unwrap_or_default());
    Some(left)
}

fn find(body: &[u8], token: &[u8], from: usize) -> Option<usize> {
    let first = *token.first()?;
    let mut at = from;
    loop {
        at += body.get(at..)?.iter().position(|byte| *byte == first)?;
        if body.get(at..)?.starts_with(token) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_asked_for_by_their_id_and_the_token_is_squires() {
        use Refusal::{Lease, Own, TokenInPath};
        let free = |of| Ok(of);
        let cases = [
            (Verb::Write, "sys/leases/renew", Ok(Some(OfLease::Renew)), free(None)),
            (Verb::Write, "sys/leases/renew/", Ok(Some(OfLease::Renew)), free(None)),
            (Verb::Write, "team/sys/leases/revoke", Ok(Some(OfLease::Revoke)), free(None)),
            (Verb::Write, "sys/renew", Ok(Some(OfLease::Renew)), free(None)),
            (Verb::Write, "sys/leases/lookup", Ok(Some(OfLease::LookUp)), free(None)),
            (Verb::Write, "sys/leases/revoke/database/creds/app/x", Err(Lease), free(None)),
            (Verb::Write, "sys/revoke/database/creds/app/x", Err(Lease), free(None)),
            (Verb::Write, "sys/leases/revoke-prefix/database", Err(Lease), free(None)),
            (Verb::Write, "sys/revoke-force/database", Err(Lease), free(None)),
            (Verb::List, "sys/leases/lookup/database", Err(Lease), free(None)),
            (Verb::Read, "sys/leases/count", Err(Lease), free(None)),
            (Verb::Delete, "sys/leases/revoke", Err(Lease), free(None)),
            (Verb::Write, "auth/token/revoke-self", Err(Own), free(None)),
            (Verb::Write, "team/auth/token/renew-self", Err(Own), free(None)),
            (Verb::Read, "auth/token/lookup-self", Ok(None), free(None)),
            (Verb::Read, "auth/token/lookup/s.abc", Err(TokenInPath), Err(TokenInPath)),
            (Verb::Write, "auth/token/create", Ok(None), free(None)),
            (Verb::Read, "secret/data/sys/leases/count", Ok(None), free(None)),
        ];
        for (verb, path, with_ours, with_its_own) in cases {
            assert_eq!(guarded(verb, path, false, false), with_ours, "{path}");
            assert_eq!(guarded(verb, path, false, true), with_its_own, "{path} with its own token");
        }
        assert_eq!(guarded(Verb::Read, "auth/token/lookup-self", true, false), Err(Own));
        assert_eq!(guarded(Verb::Read, "auth/token/lookup-self", true, true), Ok(None));
    }

    #[test]
    fn of_a_body_only_what_was_judged_goes_on() {
        let sent = |of, body: &str| {
            asked(of, body.as_bytes()).map(|(id, body)| (id, String::from_utf8(body).unwrap()))
        };
        let both = |id: &str, body: &str| Some((id.to_owned(), body.to_owned()));
        assert_eq!(
            sent(OfLease::Renew, r#"{"lease_id":"a","url_lease_id":"b","increment":60}"#),
            both("a", r#"{"increment":60,"lease_id":"a"}"#)
        );
        assert_eq!(
            sent(OfLease::Revoke, r#"{"lease_id":"a","sync":true}"#),
            both("a", r#"{"lease_id":"a"}"#)
        );
        for body in
            ["", "[]", "{}", r#"{"url_lease_id":"b"}"#, r#"{"lease_id":"a","lease_id":"b"}"#, "lease_id=a"]
        {
            assert_eq!(sent(OfLease::Renew, body), None, "{body}");
        }
    }

    #[test]
    fn the_token_is_in_no_answer() {
        let cases = [
            ("{\"id\":\"s.abc\"}", Some("{\"id\":\"hidden-by-squire\"}")),
            ("s.abcs.abc s.ab", Some("hidden-by-squirehidden-by-squire s.ab")),
            ("ss.abc", Some("shidden-by-squire")),
            ("s.ab", None),
            ("", None),
            ("nothing", None),
        ];
        for (body, expected) in cases {
            assert_eq!(without(body.as_bytes(), "s.abc").as_deref(), expected.map(str::as_bytes), "{body}");
        }
        assert_eq!(without(b"anything", ""), None);
    }
}
