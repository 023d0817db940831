//! What happens to the audit itself.

use std::path::PathBuf;

use tracing::{error, warn};

/// Something that happened to the audit.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum AuditFact {
    NotAsLeft { file: PathBuf, found: String },
    NotWritten { error: String, waiting: usize, lost: u64, then: &'static str },
    WrittenAgain { file: PathBuf },
}

impl AuditFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotAsLeft { .. } => "audit_not_as_left",
            Self::NotWritten { .. } => "audit_not_written",
            Self::WrittenAgain { .. } => "audit_written_again",
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::NotAsLeft { file, found } => {
                let file = file.display();
                error!(%file, found, "the audit is not as squire left it: see `squire audit verify`");
            }
            Self::NotWritten { error, waiting, lost, then } => {
                error!(error, waiting, lost, then, "the audit cannot be written");
            }
            Self::WrittenAgain { file } => warn!(file = %file.display(), "the audit can be written again"),
        }
    }
}
