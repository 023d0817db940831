//! Signatures of the parts of a head, which stand beside it.
//!
//! Every role of an environment can open heads, and could seal others. A role cannot sign a head without the right to: roles that write,
//! rotate or administer sign the whole, roles that administer sign the policy and an approval. So a role that only reads can plant neither
//! a value nor a policy, and one that writes can plant no policy, generator, window or approval.
//!
//! *Invariant:* pure. The signatures are not part of the text that they sign, so that the owner can renew them without changing a head.

use super::head::Head;
use super::keys::{Environment, Id, Seed};
use super::policy::Policy;
use super::seal::{Digest, Key, Place};
use super::sign::{SIGNATURE, Signature, Signer, sign};

/// The signatures of a head; zeros if there is nothing to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proofs {
    pub(super) head: Signature,
    pub(super) policy: Signature,
    pub(super) approval: Signature,
}

impl Default for Proofs {
    fn default() -> Self {
        let none = [0; SIGNATURE];
        Self { head: none, policy: none, approval: none }
    }
}

/// The number of bytes that they take.
const PROOFS: usize = 3 * SIGNATURE;

impl Proofs {
    /// Puts them before the text of the head, in the sealed data.
    pub(super) fn before(&self, text: &[u8]) -> Vec<u8> {
        [self.head.as_slice(), &self.policy, &self.approval, text].concat()
    }

    /// Reads what [`Self::before`] wrote.
    pub(super) fn split(opened: &[u8]) -> Option<(Self, &[u8])> {
        let (proofs, text) = opened.split_first_chunk::<PROOFS>()?;
        let (head, rest) = proofs.split_first_chunk()?;
        let (policy, rest) = rest.split_first_chunk()?;
        Some((Self { head: *head, policy: *policy, approval: *rest.first_chunk()? }, text))
    }
}

/// Whether a role that may write signed the text of this head.
pub(super) fn is_written(id: &Id, environment: &Environment, text: &[u8], proofs: &Proofs) -> bool {
    in_place("head", id, environment, "", |place| environment.writers.signed(place, text, &proofs.head))
}

/// The signature of the text of a head.
pub(super) fn written(id: &Id, environment: &Environment, key: &Key, text: &[u8]) -> Signature {
    in_place("head", id, environment, "", |place| sign(key, place, text))
}

/// [`is_written`] for a holder of the signing key, and for many heads: signing again takes a third of the time of a check.
pub(super) fn is_what_it_signs(
    id: &Id,
    environment: &Environment,
    signer: &Signer,
    text: &[u8],
    proofs: &Proofs,
) -> bool {
    in_place("head", id, environment, "", |place| signer.sign(place, text)) == proofs.head
        || is_written(id, environment, text, proofs)
}

/// Whether a role that may administer signed the policy of the head.
pub(super) fn has_policy(id: &Id, environment: &Environment, head: &Head) -> bool {
    in_place("policy", id, environment, &head.path, |place| {
        environment.admins.signed(place, &policy_text(head.policy.as_ref()), &head.proofs.policy)
    })
}

/// Whether a role that may administer signed the approval in the head.
pub(super) fn has_approval(id: &Id, environment: &Environment, head: &Head) -> bool {
    in_place("approval", id, environment, &head.path, |place| {
        environment.admins.signed(place, &approval_text(head), &head.proofs.approval)
    })
}

/// Signs the policy and the approval of a head, as far as it has them.
pub(super) fn administered(id: &Id, environment: &Environment, Seed(key): &Seed, head: &Head) -> Proofs {
    let signed =
        |kind, text: &[u8]| in_place(kind, id, environment, &head.path, |place| sign(key, place, text));
    let none = Proofs::default();
    Proofs {
        head: head.proofs.head,
        policy: head
            .policy
            .as_ref()
            .map_or(none.policy, |policy| signed("policy", &policy_text(Some(policy)))),
        approval: match &head.rotation.approval {
            Some(_) => signed("approval", &approval_text(head)),
            None => none.approval,
        },
    }
}

/// The digest of a policy in the audit.
pub(super) fn policy_digest(policy: Option<&Policy>) -> Digest {
    *blake3::hash(&policy_text(policy)).as_bytes()
}

/// Text and numbers can always be written.
fn policy_text(policy: Option<&Policy>) -> Vec<u8> {
    serde_json::to_vec(&policy).unwrap_or_default()
}

fn approval_text(head: &Head) -> Vec<u8> {
    serde_json::to_vec(&head.rotation.approval).unwrap_or_default()
}

fn in_place<T>(
    kind: &'static str,
    id: &Id,
    environment: &Environment,
    path: &str,
    act: impl FnOnce(Place<'_>) -> T,
) -> T {
    act(Place { kind, parts: &[id, &environment.id, path.as_bytes()] })
}
