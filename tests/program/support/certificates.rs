//! All kinds of certificates that a server may have.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

/// The certificate of a server, with its key.
pub(crate) struct Shown {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

/// When it is valid.
#[derive(Clone, Copy)]
pub(crate) enum Valid {
    Now,
    Before,
    Later,
}

/// The contents of a server's certificate.
fn parameters(name: &str, valid: Valid) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, format!("the server {name}"));
    (parameters.not_before, parameters.not_after) = match valid {
        Valid::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1)),
        Valid::Before => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        Valid::Later => (date_time_ymd(2089, 1, 1), date_time_ymd(2090, 1, 1)),
    };
    parameters
}

/// As `openssl req -x509` makes it: signed by itself, and marked as an authority.
pub(crate) fn self_signed(name: &str, valid: Valid) -> Shown {
    let mut parameters = parameters(name, valid);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Shown { certificate: parameters.self_signed(&key).unwrap(), key }
}

/// An authority of its own, and the certificate of a server that it signed.
pub(crate) fn signed(name: &str) -> (CertifiedIssuer<'static, KeyPair>, Shown) {
    let authority = authority("some authority");
    let shown = signed_by(&authority, name, false);
    (authority, shown)
}

/// The certificate of a server that this authority signed; it may be marked as an authority itself.
pub(crate) fn signed_by(authority: &CertifiedIssuer<'static, KeyPair>, name: &str, is_ca: bool) -> Shown {
    let mut parameters = parameters(name, Valid::Now);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if is_ca {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    Shown { certificate: parameters.signed_by(&key, authority).unwrap(), key }
}

/// An authority.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}
