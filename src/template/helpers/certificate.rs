//! Helpers that tell what a certificate says, and that put the certificates of a chain in order.
//!
//! *Invariant:* nothing is verified here: who uses the certificate does that.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::{Encode as _, EncodePem as _, pem::LineEnding};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use super::{Arguments, Complaint};
use crate::hex::hex;
use crate::template::arguments::text;

/// The most certificates that a chain may have.
const CERTIFICATES: usize = 32;

/// What `certificate` can be asked for.
const PARTS: &str =
    "\"subject\", \"issuer\", \"serial\", \"not_before\", \"not_after\", \"names\" or \"fingerprint\"";

/// A part of the first certificate of a PEM.
pub(super) fn certificate(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let certificates = certificates(arguments)?;
    let Some(certificate) = certificates.first() else { return Err(none(arguments)) };
    let body = certificate.tbs_certificate();
    Ok(match arguments.text(1)?.as_ref() {
        "subject" => body.subject().to_string().into(),
        "issuer" => body.issuer().to_string().into(),
        "serial" => hex(body.serial_number().as_bytes()).into(),
        "not_before" => time(body.validity().not_before),
        "not_after" => time(body.validity().not_after),
        "names" => names(certificate).into(),
        "fingerprint" => {
            let der = certificate.to_der().map_err(|_| none(arguments))?;
            hex(&Sha256::digest(der)).into()
        }
        _ => return Err(Complaint::new(format_args!("`certificate` can give {PARTS}"))),
    })
}

/// The certificates in the order in which TLS wants them: each before the one that signed it.
pub(super) fn chain(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut rest = certificates(arguments)?;
    let mut ordered: Vec<Certificate> = Vec::new();
    while !rest.is_empty() {
        let is_next = |candidate: &Certificate| match ordered.last() {
            Some(last) => issued(candidate, last),
            None => !rest.iter().any(|other| other != candidate && issued(candidate, other)),
        };
        let Some(at) = rest.iter().position(is_next) else {
            let label = arguments.label(0);
            return Err(Complaint::new(format_args!("the certificates in {label} are not one chain")));
        };
        ordered.push(rest.remove(at));
    }
    let pem: Result<Vec<String>, _> = ordered.iter().map(|one| one.to_pem(LineEnding::LF)).collect();
    let pem = pem.map_err(|_| none(arguments))?;
    Ok(pem.concat().trim_end().into())
}

fn certificates(arguments: &Arguments<'_>) -> Result<Vec<Certificate>, Complaint> {
    let text: Cow<'_, str> = match arguments.value(0) {
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(text).collect();
            items.ok_or_else(|| none(arguments))?.join("\n").into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            arguments.text(0)?
        }
    };
    let certificates = Certificate::load_pem_chain(text.trim().as_bytes()).map_err(|_| none(arguments))?;
    if certificates.is_empty() || certificates.len() > CERTIFICATES {
        return Err(none(arguments));
    }
    Ok(certificates)
}

fn none(arguments: &Arguments<'_>) -> Complaint {
    let (name, label) = (arguments.name(), arguments.label(0));
    Complaint::new(format_args!(
        "`{name}` takes 1 to {CERTIFICATES} certificates in PEM, and {label} is something else"
    ))
}

/// Whether the names say so; a certificate that names itself was issued by no other.
fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let (name, body) = (issuer.tbs_certificate().subject(), certificate.tbs_certificate());
    name == body.issuer() && body.subject() != body.issuer()
}

/// In UTC, as in RFC 3339.
fn time(time: Time) -> Value {
    time.to_string().into()
}

/// The names and addresses that the certificate is for.
fn names(certificate: &Certificate) -> Vec<String> {
    let extension = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let names = extension.ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes().len() {
            4 => <[u8; 4]>::try_from(bytes.as_bytes()).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(bytes.as_bytes()).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => None,
    }
}
