//! What others ask through us: the request as it is, with our token, over our connections.
//!
//! *Invariant:* the path is encoded here, so what was judged is what is sent.

use hyper::Method;
use hyper::header::HeaderMap;

use super::Vault;
use crate::secret::Secret;
use crate::source::http::{Opened, Repeat, Unopened, Upload};

/// A request that is passed on.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    /// The method.
    pub(crate) method: Method,
    /// The path of the API, not encoded, without `/v1/`.
    pub(crate) path: String,
    /// The query, as it was sent.
    pub(crate) query: Option<String>,
    /// What goes with it beside token and namespace.
    pub(crate) headers: HeaderMap,
    /// The whole body, if there is one.
    pub(crate) body: Option<Secret<[u8]>>,
    /// The body, if it is too long to be held.
    pub(crate) upload: Option<Upload>,
    /// Whether it may be sent twice.
    pub(crate) repeat: Repeat,
}

impl Vault {
    /// Passes a request on with this token, up to the head of the answer.
    ///
    /// # Errors
    /// When no address answers.
    pub(crate) async fn pass_on(&self, token: &Secret<str>, passed: Passed) -> Result<Opened, Unopened> {
        self.api.pass_on(token, passed).await
    }
}
