//! Whether a webhook is what it says: signed by the key, just now, for the first time, by somebody who does not come too often.
//!
//! Two forms are known. **Standard Webhooks** signs `ID.TIME.BODY`. **GitHub's** header is over `TIME.BODY`, with the time in a header of our
//! own: what GitHub itself signs has no time, and could be sent again for ever.
//!
//! Who attacks: whoever reaches the listener. A forger has no key; a replayer has a delivery that was signed; a flood has neither. A forger
//! learns nothing from the answer, whatever it tries: what is said about time and repetition is said only of what the key signed.
//!
//! *Invariant:* pure. No delivery is accepted twice by one agent, and nothing of a key, a signature or a body can be printed.

mod guard;
mod key;
mod pace;
mod seen;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderMap;
use ring::digest;

pub use guard::Guard;
pub use key::{Key, SHORTEST_KEY, TooShort};
pub(crate) use pace::network;

use crate::hex::unhex;

/// The longest body, in bytes. It is signed and not read further, so it need not hold more than a note.
pub const LONGEST_BODY: usize = 64 << 10;

/// How far the time of a delivery may be from ours: what Standard Webhooks asks for.
pub const SKEW: Duration = Duration::from_mins(5);

/// So many signatures of one delivery are compared: those of an old and a new key, and some to spare. Each costs a hash of the body.
const MOST_SIGNATURES: usize = 4;

/// The headers of Standard Webhooks.
const ID: &str = "webhook-id";
const TIME: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// The headers of GitHub's form.
const HUB_SIGNATURE: &str = "x-hub-signature-256";
const HUB_TIME: &str = "x-squire-timestamp";

/// An HMAC-SHA256.
type Tag = [u8; digest::SHA256_OUTPUT_LEN];

/// One webhook as it came: what it claims, and the signatures by which it does.
pub struct Delivery {
    /// The bytes that are signed.
    signed: Vec<u8>,
    /// Seconds since 1970.
    time: u64,
    signatures: Vec<Tag>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery(…)")
    }
}

/// Why a webhook is refused. Nothing in it depends on a key, unless the key signed the delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no `[webhook]`.
    #[error("no webhook is taken here: the configuration has no [webhook]")]
    Nothing,
    /// It comes from elsewhere.
    #[error("webhooks are not taken from this address: webhook.allow names the networks")]
    Elsewhere,
    /// Its sender came too often.
    #[error("too many webhooks: ask again later")]
    TooMany {
        /// Then there is room again.
        again_in: Duration,
    },
    /// There is no release yet, so no key either.
    #[error("the key of [webhook] is not there yet: ask again later")]
    NoKey,
    /// It has not the form of a webhook.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing that it brings is a signature by the key.
    #[error("it is not signed by the key of [webhook]")]
    Unsigned,
    /// It was signed too long ago.
    #[error(
        "it was signed {0} s ago, more than the 300 s that are allowed: sign it anew, and compare the clocks"
    )]
    Old(u64),
    /// It was signed in the future.
    #[error("it was signed {0} s in the future, more than the 300 s that are allowed: compare the clocks")]
    Early(u64),
    /// It was signed before this agent began to remember, and may have been accepted by the one before.
    #[error(
        "it was signed before this squire started, which has fetched everything since: sign it anew if that is not enough"
    )]
    BeforeStart,
    /// It was accepted already.
    #[error("it was accepted already: sign each delivery anew, with the time")]
    Repeated,
    /// What it asks for cannot be done.
    #[error("{0}")]
    NotDone(String),
}

impl Delivery {
    /// Reads what came.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], with what is missing.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        match (headers.contains_key(SIGNATURE), headers.contains_key(HUB_SIGNATURE)) {
            (true, false) => Self::standard(headers, body),
            (false, true) => Self::hub(headers, body),
            (true, true) => {
                Err(Refusal::Malformed("sign it in one form: webhook-signature or x-hub-signature-256"))
            }
            (false, false) => Err(Refusal::Malformed(
                "it is not signed: send webhook-id, webhook-timestamp and webhook-signature, or x-squire-timestamp and \
                 x-hub-signature-256",
            )),
        }
    }

    /// `webhook-signature` is a list: `v1,BASE64 v1,BASE64`. What begins with another version is for others.
    fn standard(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let id = only(headers, ID, "webhook-id has to be there once")?;
        // Else the end of an id could be taken for a time.
        if id.is_empty() || id.contains('.') {
            return Err(Refusal::Malformed("webhook-id has to be a name without a full stop"));
        }
        let (written, time) = time(only(headers, TIME, "webhook-timestamp has to be there once")?)?;
        let list = only(headers, SIGNATURE, "webhook-signature has to be there once")?;
        let tags =
            list.split(' ').filter_map(|word| BASE64.decode(word.strip_prefix("v1,")?).ok()?.try_into().ok());
        let signatures: Vec<Tag> = tags.take(MOST_SIGNATURES).collect();
        if signatures.is_empty() {
            return Err(Refusal::Malformed(
                "webhook-signature has to be `v1,` and the base64 of an HMAC-SHA256",
            ));
        }
        Ok(Self { signed: [id.as_bytes(), b".", written.as_bytes(), b".", body].concat(), time, signatures })
    }

    fn hub(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        const UNTIMED: &str = "send the time in x-squire-timestamp and sign TIME.BODY: what GitHub itself signs has no time, and could be \
                               sent again for ever";
        let (written, time) = time(only(headers, HUB_TIME, UNTIMED)?)?;
        let signature = only(headers, HUB_SIGNATURE, "x-hub-signature-256 has to be there once")?;
        let tag = signature.strip_prefix("sha256=").and_then(unhex).ok_or(Refusal::Malformed(
            "x-hub-signature-256 has to be `sha256=` and the 64 hexadecimal digits of an HMAC-SHA256",
        ))?;
        Ok(Self { signed: [written.as_bytes(), b".", body].concat(), time, signatures: vec![tag] })
    }

    /// Two deliveries are the same if the same bytes were signed, whatever form their headers have.
    fn identity(&self) -> Tag {
        let mut identity = [0; digest::SHA256_OUTPUT_LEN];
        identity.copy_from_slice(digest::digest(&digest::SHA256, &self.signed).as_ref());
        identity
    }
}

/// A header that is there once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &str, otherwise: &'static str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value.and_then(|value| value.to_str().ok()).ok_or(Refusal::Malformed(otherwise))
}

/// Seconds since 1970, and as they are written, since that is what is signed.
fn time(written: &str) -> Result<(&str, u64), Refusal> {
    let is_number = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| written.parse().ok()).flatten();
    let seconds = seconds
        .ok_or(Refusal::Malformed("the time has to be in seconds since 1970, such as `date +%s` writes"))?;
    Ok((written, seconds))
}

#[cfg(test)]
mod tests;
