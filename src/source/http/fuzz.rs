//! Fuzzes addresses, PEM files and server messages.

use std::fs;
use std::path::Path;

use tempfile::NamedTempFile;

use super::origin::Address;
use super::reach::{Expected, Reach};
use super::tls::Material;
use super::words;
use crate::config::{Authorities, ClientIdentity, Proxy};
use crate::fuzz::{CANARY, Reader};

const DOCUMENTS: [&str; 6] = [
    "https://vault.internal:8200",
    "http://[::1]:8200/",
    "https://gate.internal/vault/",
    "unix:///run/vault.sock",
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
    if let Ok(address) = Address::parse(&text) {
        let written = format!("{}{}", address.origin, address.base);
        assert_eq!(
            Address::parse(&written).ok(),
            Some(address),
            "what is read and written again is the same"
        );
    }
    if let Some(said) = words::words(input) {
        assert_eq!(crate::plain::plain(&said), said);
        assert!(said.chars().count() <= 301, "{said}");
    }
    PEM.with(|file| {
        fs::write(file.path(), input).unwrap();
        let reach = reach(file.path());
        let made = Material::read(&reach).and_then(|material| material.client_config(&reach));
        if let Err(error) = made {
            let said = crate::fact::chain(&error);
            assert!(said.contains(&*file.path().to_string_lossy()) && !said.contains(CANARY), "{said}");
        }
    });
}

thread_local! {
    static PEM: NamedTempFile = NamedTempFile::new_in("/dev/shm").unwrap();
}

/// The same file is authority, certificate and key.
fn reach(file: &Path) -> Reach {
    Reach {
        authorities: Authorities::File(file.to_owned()),
        tls: Expected::Yes,
        identity: Some(ClientIdentity { cert_file: file.to_owned(), key_file: file.to_owned() }),
        server_name: None,
        proxy: Proxy::None,
        insecure: false,
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
