//! The secrets that imported templates read: each request once, under a name of its own.
//!
//! *Invariant:* a name can be used as a variable in a template, and the same requests in the same order get the same names.

use std::collections::BTreeMap;

/// One thing that is asked of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// As the template has it, without a slash at its ends: `secret/data/app/db`.
    pub path: String,
    /// What makes it a write: `common_name=web.internal`.
    pub params: BTreeMap<String, String>,
    /// A version of KV v2 that is asked for.
    pub version: Option<u64>,
    /// Whether all secrets below the path are wanted.
    pub folder: bool,
    /// Set where equal requests must stay apart: consul-template gives each `pkiCert` of another destination a certificate of its own.
    pub apart: Option<String>,
}

/// The requests, and what each is called.
#[derive(Debug, Default)]
pub struct Wants {
    names: BTreeMap<Request, String>,
}
