//! Whether two settings with a secret in them are the same.
//!
//! A secret has no `PartialEq`, so that nobody compares one by accident. A reload has to know whether a proxy has another password now.
//!
//! *Invariant:* both sides are Squire's own configuration. Nobody outside learns how long a comparison took.

use super::{AwsKeys, CredentialFrom, Proxy};
use crate::secret::Secret;

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Always(one), Self::Always(another)) => is_same(one, another),
            (
                Self::Environment { https, http, except },
                Self::Environment { https: other_https, http: other_http, except: other_except },
            ) => {
                is_same_if_any(https.as_ref(), other_https.as_ref())
                    && is_same_if_any(http.as_ref(), other_http.as_ref())
                    && except == other_except
            }
            (Self::None | Self::Always(_) | Self::Environment { .. }, _) => false,
        }
    }
}

impl PartialEq for AwsKeys {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, key, session_token } = self;
        *id == other.id
            && is_same(key, &other.key)
            && is_same_if_any(session_token.as_ref(), other.session_token.as_ref())
    }
}

impl PartialEq for CredentialFrom {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(another)) => one == another,
            (Self::Variable(name, value), Self::Variable(other_name, other)) => {
                name == other_name && is_same(value, other)
            }
            (Self::File(_) | Self::Variable(..), _) => false,
        }
    }
}

pub(super) fn is_same(one: &Secret<str>, another: &Secret<str>) -> bool {
    one.expose() == another.expose()
}

fn is_same_if_any(one: Option<&Secret<str>>, another: Option<&Secret<str>>) -> bool {
    match (one, another) {
        (None, None) => true,
        (Some(one), Some(another)) => is_same(one, another),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_secret_is_another_setting() {
        let always = |text: &str| Proxy::Always(Secret::new(text));
        assert_eq!(always("http://a:1@p"), always("http://a:1@p"));
        assert_ne!(always("http://a:1@p"), always("http://a:2@p"));
        assert_ne!(always("http://p"), Proxy::None);
        let of = |https: Option<&str>| Proxy::Environment {
            https: https.map(Secret::new),
            http: None,
            except: String::new(),
        };
        assert_eq!(of(Some("x")), of(Some("x")));
        assert_ne!(of(Some("x")), of(None));
        let keys = |key: &str| AwsKeys { id: "id".to_owned(), key: Secret::new(key), session_token: None };
        assert_eq!(keys("1"), keys("1"));
        assert_ne!(keys("1"), keys("2"));
        let variable = |value: &str| CredentialFrom::Variable("VAULT_TOKEN", Secret::new(value));
        assert_eq!(variable("1"), variable("1"));
        assert_ne!(variable("1"), variable("2"));
        assert_ne!(variable("1"), CredentialFrom::File("1".into()));
    }
}
