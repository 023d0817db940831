//! A token that somebody else made, from its file or variable.
//!
//! *Invariant:* it is not ours to end.

use hyper::StatusCode;

use super::credential::Credential;
use super::{api, refused};
use crate::config::CredentialFrom;
use crate::source::vault::answers::{Envelope, TokenState};
use crate::source::vault::api::{Api, Call};
use crate::source::{Fault, Grant, heard};

/// Takes the token that is there now, and asks for its life.
pub(super) async fn log_in(api: &Api, from: &CredentialFrom) -> Result<Grant, Fault> {
    let token = Credential::take(from)?.text;
    let path = "auth/token/lookup-self";
    let answer = api.ask(Some(&token), Call::get(path)).await?;
    if answer.status == StatusCode::FORBIDDEN {
        let either = "the token is not valid, or it may not look itself up: no default policy, bound to other addresses";
        return Err(refused(&answer, path, either, None));
    }
    let state: TokenState = api::parsed::<Envelope<_>>(&answer, path, "read")?.into_data(path)?;
    heard::accessor(state.accessor(&token));
    Ok(Grant { token, life: state.life(), revocable: false, uses: state.uses() })
}
