//! Addresses, PEM files and words that nobody would write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::origin::Origin;
use super::{tls, words};
use crate::config::{AuthConfig, ClientIdentity, CredentialFrom, VaultConfig};
use crate::fuzz::{CANARY, Reader};

const DOCUMENTS: [&str; 4] = [
    "https://vault.internal:8200",
    "http://[::1]:8200/",
    "-----BEGIN CERTIFICATE-----\nMIIBdTCCARugAwIBAgIUO2Fk\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\ncanary-2b7e151628\n-----END PRIVATE KEY-----\n",
    r#"{"errors":["1 error occurred:\n\t* permission denied\n\n", "\u001b[31mred"]}"#,
];

const WORDS: [&str; 12] = [
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "-----BEGIN EC PRIVATE KEY-----\n",
    "-----BEGIN ",
    "Proc-Type: 4,ENCRYPTED\n",
    "AAAA",
    "====",
    "https://",
    "http://",
    "user:canary-2b7e151628@",
    "[::",
    "\"errors\":[",
];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(origin) = Origin::parse(&text) {
        let again = Origin::parse(&origin.to_string()).map(|again| again.to_string());
        assert_eq!(again.ok(), Some(origin.to_string()), "what is read and written again is the same");
    }
    if let Some(said) = words::words(input) {
        assert_eq!(crate::plain::plain(&said), said);
        assert!(said.chars().count() <= 301, "{said}");
    }
    PEM.with(|file| {
        fs::write(file.path(), input).unwrap();
        let config = config(file.path());
        let identity = tls::identity(&config);
        let made = tls::client_config(&config, identity.as_ref().ok().and_then(Option::as_ref));
        for error in identity.err().into_iter().chain(made.err()) {
            let said = crate::fact::chain(&error);
            assert!(said.contains(&*file.path().to_string_lossy()) && !said.contains(CANARY), "{said}");
        }
    });
}

thread_local! {
    static PEM: NamedTempFile = NamedTempFile::new_in("/dev/shm").unwrap();
}

/// It is authority, certificate and key.
fn config(file: &Path) -> VaultConfig {
    VaultConfig {
        addresses: vec!["https://127.0.0.1:1".to_owned()],
        namespace: None,
        ca_file: Some(file.to_owned()),
        client_identity: Some(ClientIdentity { cert_file: file.to_owned(), key_file: file.to_owned() }),
        tls_server_name: None,
        insecure_tls: false,
        allow_redirects: false,
        refresh: Duration::ZERO,
        look_up_every: Duration::MAX,
        auth: AuthConfig::Token { from: CredentialFrom::File(PathBuf::new()) },
    }
}

#[test]
fn fuzz() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let real = cert.pem() + &signing_key.serialize_pem();
    let documents = DOCUMENTS.into_iter().chain([real.as_str()]).collect::<Vec<_>>();
    Reader::of_texts(&documents, &WORDS, read).fuzz("an address, a PEM file or a server's words");
}
