//! The file of a credential: plain, or wrapped, so that the file alone opens nothing.
//!
//! A wrapped credential is a small JSON document that says who unwraps it:
//!
//! ```json
//! { "squire_credential": 1, "tpm": { "device": "/dev/tpmrm0", "public": "…", "private": "…" } }
//! { "squire_credential": 1, "transit": { "address": "…", "mount": "transit", "key": "store", "ciphertext": "vault:v1:…" } }
//! ```
//!
//! *Invariant:* this file is pure; `wrapped/` acts. No error contains anything of the file except the place of the mistake.

mod open;
mod tpm;
mod transit;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::files;
use crate::secret::Secret;

pub use open::{open, read, read_patiently};
pub use tpm::{TPM_DEVICE, wrap as wrap_by_tpm};
pub use transit::{Tried, wrap as wrap_by_transit};

/// The beginning of every document, so that no passphrase is taken for one.
const MARK: &str = "\"squire_credential\"";

/// The version of the document.
const VERSION: u32 = 1;

/// The largest credential: a line of this many bytes.
const LONGEST: usize = 4096;

/// The largest document: twice the size of the longest credential that transit wrapped.
const LONGEST_DOCUMENT: usize = 16 * 1024;

/// The content of a credential file.
#[derive(Clone, Debug)]
pub enum Written {
    /// The credential itself.
    Plain(Secret<str>),
    /// A credential that has to be unwrapped.
    Wrapped(Wrapped),
}

/// Who unwraps it, with the wrapped data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrapped {
    /// The transit engine of a server.
    Transit(Transit),
    /// The TPM of this machine.
    Tpm(Sealed),
}

/// Sealed by a transit engine. The login is not in it: that comes from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transit {
    /// The server that wrapped it; `VAULT_ADDR` wins over it.
    pub address: String,
    /// Its namespace; `VAULT_NAMESPACE` wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The mount of the engine.
    pub mount: String,
    /// The name of its key.
    pub key: String,
    /// `vault:v1:…`
    pub ciphertext: String,
}

/// Sealed by the TPM of one machine; only that machine can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The path of the TPM's device.
    pub device: PathBuf,
    /// The public part.
    #[serde(with = "in_base64")]
    pub public: Vec<u8>,
    /// The private part, which only the TPM can read.
    #[serde(with = "in_base64")]
    pub private: Vec<u8>,
}

/// The form of bytes in the document.
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        BASE64.encode(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The document as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    squire_credential: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transit: Option<Transit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tpm: Option<Sealed>,
}

/// Why a credential cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Because of the file, as a predicate.
    #[error("{0}")]
    File(String),
    /// Because of the server that wraps and unwraps it.
    #[error("{0}")]
    Server(Fault),
    /// Because of the configuration of the login.
    #[error("{0}")]
    Way(String),
}

/// Reads the content of a file.
///
/// # Errors
/// What is wrong with it, as a predicate.
pub fn parse(bytes: &[u8]) -> Result<Written, String> {
    if bytes.len() > LONGEST_DOCUMENT {
        return Err(format!("has more than {LONGEST_DOCUMENT} bytes: that is no credential"));
    }
    let text = files::one_value(std::str::from_utf8(bytes).map_err(|_| "is no text".to_owned())?);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with(MARK)) {
        return document(text).map(Written::Wrapped);
    }
    if text.len() > LONGEST {
        return Err(format!("has more than {LONGEST} bytes: that is no credential"));
    }
    Ok(Written::Plain(Secret::new(text)))
}

fn document(text: &str) -> Result<Wrapped, String> {
    // A document of a later version may have other fields.
    #[derive(Deserialize)]
    struct Versioned {
        squire_credential: u32,
    }
    if let Ok(Versioned { squire_credential: version }) = serde_json::from_str(text)
        && version != VERSION
    {
        return Err(format!(
            "is wrapped in format {version}, and this Squire knows {VERSION}: use a newer one"
        ));
    }
    let document: Document = serde_json::from_str(text).map_err(|error| {
        format!(
            "is a wrapped credential that was cut or edited, at line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    match document {
        Document { transit: Some(transit), tpm: None, .. } => Ok(Wrapped::Transit(transit)),
        Document { transit: None, tpm: Some(sealed), .. } => Ok(Wrapped::Tpm(sealed)),
        Document { transit: None, tpm: None, .. } => {
            Err("is a wrapped credential that does not say who unwraps it".to_owned())
        }
        Document { transit: Some(_), tpm: Some(_), .. } => {
            Err("is a wrapped credential that says twice who unwraps it".to_owned())
        }
    }
}

impl Wrapped {
    /// The document, which is no secret.
    pub fn document(&self) -> String {
        let mut document = Document { squire_credential: VERSION, transit: None, tpm: None };
        match self {
            Self::Transit(transit) => document.transit = Some(transit.clone()),
            Self::Tpm(sealed) => document.tpm = Some(sealed.clone()),
        }
        // A document has only texts and numbers, so it can always be written.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok(Written::Plain(secret)) => secret.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn wrong(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_no_document_is_the_credential_itself() {
        assert_eq!(plain(" sesame\r\n"), "sesame");
        // A passphrase may be any text.
        for odd in ["{", "{}", "{\"a\": 1}", "{ squire_credential", "\"squire_credential\""] {
            assert_eq!(plain(odd), odd);
        }
        assert_eq!(plain(&"x".repeat(LONGEST)).len(), LONGEST);
    }

    #[test]
    fn what_cannot_be_a_credential_says_why() {
        assert_eq!(wrong(" \n"), "is empty");
        assert!(wrong(&"x".repeat(LONGEST + 1)).contains("4096 bytes"));
        assert!(wrong(&" ".repeat(LONGEST_DOCUMENT + 1)).contains("16384 bytes"));
        assert_eq!(parse(&[0xff]).unwrap_err(), "is no text");
        assert!(wrong("{\"squire_credential\": 1, \"transit\": {").contains("cut or edited, at line 1"));
        assert!(wrong("{\"squire_credential\": 1, \"canary\": 7}").contains("cut or edited"));
        assert!(!wrong("{\"squire_credential\": \"canary\"}").contains("canary"));
        assert!(wrong("{\"squire_credential\": 1}").contains("who unwraps it"));
        let sealed = Sealed { device: PathBuf::from("/d"), public: vec![1], private: vec![2] };
        let sealed = Wrapped::Tpm(sealed).document();
        assert!(wrong(&sealed.replace("AQ==", "canary!")).contains("cut or edited"));
        let transit = r#""transit": {"address": "a", "mount": "m", "key": "k", "ciphertext": "c"}, "tpm""#;
        assert!(wrong(&sealed.replace("\"tpm\"", transit)).contains("twice"));
        assert!(wrong("{\"squire_credential\": 2, \"new\": []}").contains("format 2"));
    }

    proptest! {
        #[test]
        fn a_document_is_read_as_it_was_written(
            [address, mount, key, ciphertext] in prop::array::uniform4(".{0,40}"),
            namespace in prop::option::of(".{0,20}"),
        ) {
            let (public, private) = (key.clone().into_bytes(), mount.clone().into_bytes());
            let sealed = Sealed { device: PathBuf::from(&address), public, private };
            let transit = Transit { address, namespace, mount, key, ciphertext };
            for wrapped in [Wrapped::Tpm(sealed), Wrapped::Transit(transit)] {
                match parse(wrapped.document().as_bytes()) {
                    Ok(Written::Wrapped(read)) => prop_assert_eq!(read, wrapped),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            drop(parse(&bytes));
            let wrapped = Transit {
                address: "a".into(), namespace: None, mount: "m".into(), key: "k".into(), ciphertext: "c".into(),
            };
            let document = Wrapped::Transit(wrapped).document();
            let cut = document.get(..cut).unwrap_or_default();
            if cut.len() > 22 && cut.len() < document.len() {
                prop_assert!(parse(cut.as_bytes()).is_err());
            }
        }
    }
}
