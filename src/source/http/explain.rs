//! Says in words what went wrong with TLS, and which key of the configuration helps.
//!
//! *Invariant:* pure; text from a server's certificate is made harmless before it is shown.
#![expect(clippy::wildcard_enum_match_arm, reason = "most of a library's errors need no words of ours")]

use std::error::Error;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::trust;
use crate::plain::plain;

/// The names of a source's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Of `type = "vault"`.
    Vault,
    /// Of `type = "aws"`.
    #[cfg(feature = "aws")]
    Aws,
    /// Of the collector of OpenTelemetry: variables of the environment.
    #[cfg(feature = "otlp")]
    Collector,
}

/// The largest number of names of a certificate that are shown.
const NAMES: usize = 5;

/// The TLS error among the causes of another error.
pub(super) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    std::iter::successors(Some(error), |&error| {
        // Each layer of I/O wraps the error of the one below, and does not return it as its source.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
    .find_map(|error| error.downcast_ref::<rustls::Error>())
}

/// What is wrong and what helps; `None` if the library's own message is as good.
pub(super) fn explained(error: &rustls::Error, keys: Keys) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(why) => of_certificate(why, keys),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, keys),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(
            "the server there speaks no TLS (if that is intended, write http:// in the address)".to_owned(),
        ),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Some("the server speaks no TLS of version 1.2 or 1.3".to_owned()),
        _ => None,
    }
}

fn of_certificate(why: &CertificateError, keys: Keys) -> Option<String> {
    let words = match why {
        CertificateError::UnknownIssuer => {
            "the server's certificate was signed by an authority that is not trusted here (set `ca_file` to the certificate of the \
             authority that signed it)"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "the server's certificate was signed with another key than that of the authority of this name which is trusted here (set \
             `ca_file` to the certificate of the authority that signed it)"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(NAMES).map(|name| bare(name)).collect::<Vec<_>>();
            let more = if presented.len() > NAMES { ", …" } else { "" };
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") + more };
            let helps = match keys {
                Keys::Vault => "name one of them in `address`, or set `tls_server_name` to it",
                #[cfg(feature = "aws")]
                Keys::Aws => "name one of them in `endpoint`",
                #[cfg(feature = "otlp")]
                Keys::Collector => "name one of them in the endpoint",
            };
            format!("the server's certificate is not for {} but for {names} ({helps})", plain(&expected.to_str()))
        }
        CertificateError::NotValidForName => "the server's certificate is for another name".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the server's certificate has expired at {} (the server needs a new one, or this machine's clock, which says {}, is wrong)",
            date(*not_after),
            date(*time)
        ),
        CertificateError::Expired => "the server's certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate is not valid before {} (is this machine's clock, which says {}, right?)",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidYet => "the server's certificate is not valid yet".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not made for a server (it lacks the extended key usage `serverAuth`)".to_owned()
        }
        why if trust::is_authority(why) => {
            "the server's certificate is that of an authority (it says `CA:TRUE`), and is not trusted here (set `ca_file` to this very \
             certificate, or give the server one that an authority signed)"
                .to_owned()
        }
        _ => return None,
    };
    Some(words)
}

/// The server's alert about our certificate.
fn of_alert(alert: AlertDescription, keys: Keys) -> Option<String> {
    let words = match alert {
        AlertDescription::CertificateRequired => "the server demands a client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => "the server does not accept the client certificate",
        _ => return None,
    };
    let keys = match keys {
        Keys::Vault => " (set `client_cert_file` and `client_key_file` to one that it accepts)",
        #[cfg(feature = "aws")]
        Keys::Aws => "",
        #[cfg(feature = "otlp")]
        Keys::Collector => "",
    };
    Some(format!("{words}: it says {alert:?}{keys}"))
}

/// The name in the library's notation `DnsName("a.example")`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    plain(inner.trim_matches('"')).into_owned()
}

fn date(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn names_are_bare_harmless_and_not_too_many() {
        let presented = |names: &[&str]| {
            let names = names.iter().map(|name| format!("DnsName(\"{name}\")")).collect();
            let expected = ServerName::try_from("vault.internal").unwrap();
            let error = CertificateError::NotValidForNameContext { expected, presented: names };
            explained(&error.into(), Keys::Vault).unwrap()
        };
        assert_eq!(
            presented(&["a.example", "*.b"]),
            "the server's certificate is not for vault.internal but for a.example, *.b (name one of them in `address`, or set \
             `tls_server_name` to it)"
        );
        assert!(presented(&[]).contains("but for no name at all ("));
        assert!(presented(&["a"; 6]).contains("for a, a, a, a, a, … ("));
        assert!(!presented(&["a\u{1b}[31m"]).contains('\u{1b}'));
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
    }

    #[test]
    fn an_error_of_tls_is_found_below_layers_of_io() {
        let tls = rustls::Error::from(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(tls.clone()));
        assert_eq!(tls_error(&wrapped), Some(&tls));
        assert_eq!(tls_error(&io::Error::other("else")), None);
    }
}
