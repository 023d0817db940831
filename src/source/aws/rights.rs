//! What the credentials may do with a secret, asked of AWS itself and without a read.
//!
//! AWS looks at the policies before it looks for the version: who asks for a version that nobody has is denied, or told that there is none.
//! So the answer counts every policy: of the identity, of the secret, of the organization. The simulation of IAM counts only the first, and
//! needs a right that no application should have.
//!
//! *Invariant:* no question can be answered with a value. Whoever may write a secret may choose the id of its version, so the id that is asked
//! for is random.

use std::time::SystemTime;

use super::{Aws, Fault, answer};
use crate::plan::Want;

/// What AWS tells of a secret beside its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The key that encrypts it, if it is not AWS's own for the account.
    pub key: Option<String>,
    /// When it is to be deleted.
    pub deleted: Option<SystemTime>,
}

impl Aws {
    /// Whether the value of this secret may be read. `nobody` is the id of a version that nobody has, of at least 32 characters.
    ///
    /// # Errors
    /// Those of any request, but not that the secret or the policy is missing.
    pub async fn may_read(&self, path: &str, nobody: &str) -> Result<bool, Fault> {
        let account = self.account()?;
        let question = account.client.get_secret_value().secret_id(path).version_id(nobody);
        let answered = question.send().await.map(drop);
        may(answered.map_err(|error| told(answer::failure(&error, path, "secretsmanager:GetSecretValue"))))
    }

    /// Whether many secrets may be read in one request. `nobody` is the name of a secret that nobody has.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn may_batch(&self, nobody: &str) -> Result<bool, Fault> {
        let account = self.account()?;
        let question = account.client.batch_get_secret_value().secret_id_list(nobody);
        let answered = question.send().await.map(drop);
        may(answered
            .map_err(|error| told(answer::failure(&error, "a batch", "secretsmanager:BatchGetSecretValue"))))
    }

    /// Whether names may be listed, and of secrets that are in this folder the first few whether each may be read. `nobody` as for
    /// [`Self::may_read`].
    ///
    /// # Errors
    /// Those of any request.
    pub async fn may_read_folder(&self, folder: &Want, nobody: &str) -> Result<Option<Vec<bool>>, Fault> {
        /// More would tell no more: a policy names them all alike.
        const FEW: usize = 10;
        let names = match self.listed(folder, FEW).await {
            Ok(names) => names,
            Err(Fault::Denied { .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut reads = Vec::new();
        for name in names {
            reads.push(self.may_read(&name, nobody).await?);
        }
        Ok(Some(reads))
    }

    /// What there is to know of a secret beside its value.
    ///
    /// # Errors
    /// [`Fault::Denied`], [`Fault::Gone`], and those of any request.
    pub async fn describe(&self, path: &str) -> Result<Described, Fault> {
        let account = self.account()?;
        match account.client.describe_secret().secret_id(path).send().await {
            Ok(described) => Ok(Described {
                key: described.kms_key_id().map(str::to_owned),
                deleted: described.deleted_date().and_then(|date| SystemTime::try_from(*date).ok()),
            }),
            Err(error) => {
                Err(account.with_region(told(answer::failure(&error, path, "secretsmanager:DescribeSecret"))))
            }
        }
    }

    /// Whether the credentials end by themselves.
    ///
    /// # Errors
    /// [`Fault::Dead`] before a log-in.
    pub fn has_end(&self) -> Result<bool, Fault> {
        self.account().map(|account| account.has_end())
    }
}

/// Credentials that AWS refuses, in its own words.
fn told(failure: answer::Failure) -> Fault {
    if failure.fault == Fault::Dead {
        return Fault::Refused { why: failure.words, again_in: None };
    }
    failure.fault
}

/// That there is no such version, or that it cannot be read now, is said only to who may ask.
fn may(answered: Result<(), Fault>) -> Result<bool, Fault> {
    match answered {
        Ok(()) | Err(Fault::Gone { .. }) => Ok(true),
        Err(Fault::Denied { .. }) => Ok(false),
        Err(
            fault @ (Fault::Unreachable { .. }
            | Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Refused { .. }
            | Fault::Dead
            | Fault::Malformed { .. }),
        ) => Err(fault),
    }
}
