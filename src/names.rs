//! Newtypes for everything that has a name or a number, so that two of them cannot be mixed up.
//!
//! *Invariant:* nothing here is secret; every type may be logged.

use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes the text as it is; the code that reads it from outside has checked it.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into().into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a `[source.NAME]` table.
    SourceName
}
name! {
    /// The name of a `[secret.NAME]` table: a variable in templates.
    SecretName
}
name! {
    /// A lease as the server knows it, for example `database/creds/app/Jx2…`. An identifier, not a credential.
    LeaseId
}

name! {
    /// The id under which logs, audit and status know one rollout: 32 hexadecimal digits, as a trace has in OpenTelemetry.
    Trace
}

name! {
    /// What a server calls one request of ours, in its own log too.
    RequestId
}

name! {
    /// What a server calls a token of ours: it tells who, and opens nothing.
    Accessor
}

impl RequestId {
    /// What a server calls a request, if it has the form that all of them use: a UUID. Anything else may be anything.
    pub fn heard(text: &str) -> Option<Self> {
        let is_uuid = text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        is_uuid.then(|| Self::new(text))
    }
}

impl Accessor {
    /// The longest that is taken for one.
    const LONGEST: usize = 64;

    /// What a server calls this token, if it has the form of such a name, and nothing of the token.
    pub fn heard(text: &str, token: &str) -> Option<Self> {
        let fits = (1..=Self::LONGEST).contains(&text.len());
        let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let tells = text.contains(token) || token.contains(text);
        (fits && is_name && !tells).then(|| Self::new(text))
    }
}

/// The number of one complete, consistent set of secret values. Generations only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The generation with this number; `None` for 0, which no generation has.
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before it; none is before the first.
    pub fn before(self) -> Option<Self> {
        Self::from_number(self.number() - 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a value of one secret: counted from 1 by the session that fetched it, so that two values of a secret can be told apart,
/// and ordered, without looking at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Revision {
    /// Below every value that is fetched for this edition of the configuration, and above every one of those before.
    pub fn before(edition: Edition) -> Self {
        Self(u64::from(edition.0) << 32)
    }

    /// The edition that it is of.
    pub fn edition(self) -> Edition {
        Edition(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
    }
}

/// Counts the configurations of one run. A reload may ask a source for another thing under the name of a secret; so that its values are
/// never taken for older ones, the numbers of each edition are above those of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition(u32);

impl Edition {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// After a reload, with the edition before it.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.edition() {
            Edition(0) => self.0.fmt(f),
            Edition(edition) => write!(f, "{edition}.{}", self.0 & u64::from(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_calls_something_is_a_name_and_no_text_of_its_own() {
        let id = "0b1c2d3e-0000-1111-2222-333344445555";
        assert_eq!(RequestId::heard(id), Some(RequestId::new(id)));
        for odd in ["", "hvs.token", &id[1..], &id.replace('b', "\n"), &format!("{id}0")] {
            assert_eq!(RequestId::heard(odd), None, "{odd:?}");
        }
        assert_eq!(Accessor::heard("8609694a", "s.token"), Some(Accessor::new("8609694a")));
        for (odd, token) in
            [("", "t"), ("a b", "t"), ("s.token", "s.token"), ("toke", "s.token"), ("as.token", "s.token")]
        {
            assert_eq!(Accessor::heard(odd, token), None, "{odd:?}");
        }
        assert_eq!(Accessor::heard(&"a".repeat(65), "t"), None);
    }
}
