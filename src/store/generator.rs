//! Generators: make the new values of a secret for its policy.
//!
//! *Invariant:* pure; random bytes are an argument. A generator was checked before it was stored, so it does not fail when a rotation is
//! due.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use rand::seq::IndexedRandom as _;
use rand::{CryptoRng, RngExt as _};
use rsa::PrivateKey;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::hex::hex;
use crate::secret::Fields;

/// How a new value is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase", deny_unknown_fields)]
pub enum Generator {
    /// Characters, at least one of each class.
    Password {
        /// The number of characters.
        length: usize,
        /// Which classes.
        classes: BTreeSet<Class>,
        /// Characters to leave out.
        exclude: String,
    },
    /// Random bytes as hexadecimal digits.
    Hex {
        /// The number of bytes.
        bytes: usize,
    },
    /// Random bytes as base64.
    Base64 {
        /// The number of bytes.
        bytes: usize,
    },
    /// A random UUID.
    Uuid,
    /// A key pair: the fields `private_key` and `public_key`, as PEM.
    Ed25519,
    /// An RSA key pair: the same fields.
    Rsa {
        /// The length of the key in bits.
        bits: usize,
    },
    /// The output of the policy's `create` command.
    Command,
}

/// A class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they say it")]
pub enum Class {
    Lower,
    Upper,
    Digit,
    /// ASCII signs that are safe in a shell, in the user part of a URL and in SQL.
    Symbol,
}

const LONGEST: usize = 4096;
const DEFAULT_LENGTH: usize = 32;
/// Enough for a key.
const DEFAULT_BYTES: usize = 32;
const DEFAULT_BITS: usize = 3072;
const BITS: [usize; 3] = [2048, 3072, 4096];

impl Class {
    const ALL: [(&'static str, Self); 4] =
        [("lower", Self::Lower), ("upper", Self::Upper), ("digit", Self::Digit), ("symbol", Self::Symbol)];

    fn characters(self) -> &'static str {
        match self {
            Self::Lower => "abcdefghijklmnopqrstuvwxyz",
            Self::Upper => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Self::Digit => "0123456789",
            Self::Symbol => "-._~+",
        }
    }
}

impl Generator {
    /// Makes a value: the returned fields are new, other fields of the secret stay. `field` is the name for a single text.
    pub(super) fn generate(&self, random: &mut impl CryptoRng, field: &str) -> Fields {
        let one = |text: String| Fields::from_iter([(field.to_owned(), text.into())]);
        match self {
            Self::Password { length, classes, exclude } => one(password(random, *length, classes, exclude)),
            Self::Hex { bytes } => one(hex(&self::bytes(random, *bytes))),
            Self::Base64 { bytes } => one(BASE64.encode(self::bytes(random, *bytes))),
            Self::Uuid => one(uuid::Builder::from_random_bytes(random.random()).into_uuid().to_string()),
            Self::Ed25519 => {
                let key = SigningKey::generate(random);
                pair(key.to_pkcs8_pem(LineEnding::LF), key.verifying_key().to_public_key_pem(LineEnding::LF))
            }
            Self::Rsa { bits } => match PrivateKey::new(random, *bits) {
                Ok(key) => pair(
                    key.to_pkcs8_pem(LineEnding::LF),
                    key.to_public_key().to_public_key_pem(LineEnding::LF),
                ),
                Err(_) => Fields::new(),
            },
            Self::Command => Fields::new(),
        }
    }

    /// Whether it makes a single text, which needs a field name.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::Password { .. } | Self::Hex { .. } | Self::Base64 { .. } | Self::Uuid => true,
            Self::Ed25519 | Self::Rsa { .. } | Self::Command => false,
        }
    }
}

/// Every text with one character of each class is equally likely: texts are drawn until one has them all.
fn password(random: &mut impl CryptoRng, length: usize, classes: &BTreeSet<Class>, exclude: &str) -> String {
    let allowed = |class: &Class| allowed(*class, exclude);
    let alphabet: Vec<char> = classes.iter().flat_map(allowed).collect();
    loop {
        let text: String = (0..length).filter_map(|_| alphabet.choose(random)).collect();
        if classes.iter().all(|class| text.contains(allowed(class).as_slice())) {
            return text;
        }
    }
}

fn allowed(class: Class, exclude: &str) -> Vec<char> {
    class.characters().chars().filter(|char| !exclude.contains(*char)).collect()
}

fn bytes(random: &mut impl CryptoRng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    random.fill_bytes(&mut bytes);
    bytes
}

/// A key that was made can always be written.
fn pair<T: AsRef<str>, E, F>(private: Result<T, E>, public: Result<String, F>) -> Fields {
    let fields =
        [("private_key", private.map(|pem| pem.as_ref().to_owned()).ok()), ("public_key", public.ok())];
    fields.into_iter().filter_map(|(name, pem)| Some((name.to_owned(), pem?.into()))).collect()
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { length, classes, exclude } => {
                let named = |class: &Class| {
                    Class::ALL.iter().find(|(_, known)| known == class).map(|(name, _)| *name)
                };
                let classes: Vec<_> = classes.iter().filter_map(named).collect();
                write!(f, "password:length={length},classes={}", classes.join("+"))?;
                if exclude.is_empty() { Ok(()) } else { write!(f, ",exclude={exclude}") }
            }
            Self::Hex { bytes } => write!(f, "hex:bytes={bytes}"),
            Self::Base64 { bytes } => write!(f, "base64:bytes={bytes}"),
            Self::Uuid => f.write_str("uuid"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa { bits } => write!(f, "rsa:bits={bits}"),
            Self::Command => f.write_str("command"),
        }
    }
}

impl FromStr for Generator {
    type Err = String;

    /// `password`, `password:length=24,classes=lower+upper+digit`, `hex:bytes=32`, `base64`, `uuid`, `ed25519`, `rsa:bits=2048`,
    /// `command`. The error is a predicate.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut options = Options::parse(rest)?;
        let generator = match kind {
            "password" => options.password()?,
            "hex" => Self::Hex { bytes: options.number("bytes", DEFAULT_BYTES, 1, LONGEST)? },
            "base64" => Self::Base64 { bytes: options.number("bytes", DEFAULT_BYTES, 1, LONGEST)? },
            "uuid" => Self::Uuid,
            "ed25519" => Self::Ed25519,
            "rsa" => {
                let bits = options.number("bits", DEFAULT_BITS, 0, usize::MAX)?;
                if !BITS.contains(&bits) {
                    return Err(format!("has {bits} bits; 2048, 3072 and 4096 are possible"));
                }
                Self::Rsa { bits }
            }
            "command" => Self::Command,
            _ => return Err(WAY_OUT.to_owned()),
        };
        options.finish().map(|()| generator)
    }
}

/// Reads a generator from the store. A holder of the keys may have written it with another program. A generator that no command of Squire
/// accepts might never end, or take all memory.
pub(super) fn possible<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Generator, D::Error> {
    let generator = Generator::deserialize(deserializer)?;
    let asked_for = generator.to_string().parse::<Generator>().map_err(D::Error::custom)?;
    if asked_for == generator { Ok(generator) } else { Err(D::Error::custom("is no generator")) }
}

const WAY_OUT: &str = "is no generator; write password, hex, base64, uuid, ed25519, rsa or command, with options as in \
                       `password:length=24,classes=lower+upper+digit` or `hex:bytes=16`";

/// `name=value,name=value`
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let read = |part: &'a str| {
            part.split_once('=').ok_or_else(|| format!("has the option {part:?} without a value"))
        };
        parts.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    fn number(&mut self, name: &str, default: usize, least: usize, most: usize) -> Result<usize, String> {
        let Some(text) = self.take(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("has {name}={text}, which is no number from {least} to {most}"))
    }

    fn password(&mut self) -> Result<Generator, String> {
        let length = self.number("length", DEFAULT_LENGTH, 1, LONGEST)?;
        let exclude = self.take("exclude").unwrap_or_default().to_owned();
        let class = |name: &str| {
            let found = Class::ALL.iter().find(|(known, _)| *known == name).map(|(_, class)| *class);
            found
                .ok_or_else(|| format!("has the class {name:?}; lower, upper, digit and symbol are possible"))
        };
        let classes: BTreeSet<_> = match self.take("classes") {
            Some(names) => names.split('+').map(class).collect::<Result<_, _>>()?,
            None => [Class::Lower, Class::Upper, Class::Digit].into(),
        };
        if let Some((name, _)) = Class::ALL
            .iter()
            .find(|(_, class)| classes.contains(class) && allowed(*class, &exclude).is_empty())
        {
            return Err(format!("wants a character of the class {name}, and excludes all of them"));
        }
        if length < classes.len() {
            return Err(format!(
                "needs a character of each of {} classes, but has room for {length}: make it longer",
                classes.len()
            ));
        }
        Ok(Generator::Password { length, classes, exclude })
    }

    fn finish(self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("has the option {name:?}, which it does not know")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn generated(text: &str) -> Fields {
        text.parse::<Generator>().unwrap().generate(&mut StdRng::seed_from_u64(7), "password")
    }

    fn text(fields: &Fields) -> &str {
        fields["password"].as_str().unwrap()
    }

    #[test]
    fn what_no_command_could_have_asked_for_is_no_generator() {
        #[derive(Debug, Deserialize)]
        struct Planted(#[serde(deserialize_with = "possible")] Generator);
        for good in
            ["password:length=24,classes=lower+digit,exclude=0O", "hex:bytes=16", "rsa:bits=2048", "uuid"]
        {
            let generator: Generator = good.parse().unwrap();
            let Planted(read) = serde_json::from_value(serde_json::to_value(&generator).unwrap()).unwrap();
            assert_eq!(read, generator);
        }
        for planted in [
            r#"{"is": "hex", "bytes": 18446744073709551615}"#,
            r#"{"is": "base64", "bytes": 1099511627776}"#,
            r#"{"is": "rsa", "bits": 1048576}"#,
            r#"{"is": "password", "length": 1, "classes": ["lower", "upper"], "exclude": ""}"#,
            r#"{"is": "password", "length": 9, "classes": ["digit"], "exclude": "0123456789"}"#,
        ] {
            serde_json::from_str::<Planted>(planted).unwrap_err();
        }
    }

    #[test]
    fn each_kind_makes_what_it_says() {
        assert_eq!(text(&generated("hex:bytes=16")).len(), 32);
        assert_eq!(BASE64.decode(text(&generated("base64"))).unwrap().len(), 32);
        assert_eq!(uuid::Uuid::parse_str(text(&generated("uuid"))).unwrap().get_version_num(), 4);
        assert_eq!(text(&generated("password")).len(), 32);
        for kind in ["ed25519", "rsa:bits=2048"] {
            let pair = generated(kind);
            assert!(
                pair["private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"),
                "{kind}"
            );
            assert!(pair["public_key"].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"), "{kind}");
        }
        assert!(generated("command").is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (text, reason) in [
            ("pasword", "no generator"),
            ("password:length", "without a value"),
            ("password:length=0", "no number from 1"),
            ("password:length=5000", "no number from 1 to 4096"),
            ("password:length=3,classes=lower+upper+digit+symbol", "room for 3"),
            ("password:classes=digit,exclude=0123456789", "excludes all of them"),
            ("password:classes=letters", "lower, upper, digit and symbol"),
            ("uuid:bytes=3", "does not know"),
            ("rsa:bits=1024", "2048, 3072 and 4096"),
        ] {
            let error = text.parse::<Generator>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_password_has_its_length_its_classes_and_nothing_else(
            length in 4_usize..40, picks in 1_u8..16, exclude in "[a-c0-2A-B.]{0,4}", seed: u64,
        ) {
            let classes: Vec<_> = Class::ALL.iter().zip(0..).filter(|(_, bit)| picks >> bit & 1 == 1).map(|(class, _)| class.0).collect();
            let written = format!("password:length={length},classes={},exclude={exclude}", classes.join("+"));
            let generator: Generator = written.parse().unwrap();
            let fields = generator.generate(&mut StdRng::seed_from_u64(seed), "password");
            let text = text(&fields);
            prop_assert_eq!(text.len(), length);
            for (name, class) in Class::ALL {
                prop_assert_eq!(text.contains(|c| class.characters().contains(c)), classes.contains(&name));
            }
            prop_assert!(!text.contains(|c| exclude.contains(c)));
            prop_assert_eq!(generator.to_string().parse::<Generator>().unwrap(), generator);
        }
    }
}
