//! The file is read, and who unwraps it is asked.
//!
//! *Invariant:* a TPM is asked on a thread for blocking work.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Closed, LONGEST_DOCUMENT, Wrapped, Written, parse, tpm, transit};
use crate::config::ServerVariables;
use crate::secret::Secret;

/// What is in a file, wrapped or not. No more of it is read than a credential may have.
///
/// # Errors
/// What is wrong with the file.
pub fn read(file: &Path) -> Result<Written, Closed> {
    let unreadable = |error| Closed::File(format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(LONGEST_DOCUMENT as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    parse(&bytes).map_err(Closed::File)
}

/// The credential that is in a file, unwrapped. A server is reached as these variables say.
///
/// # Errors
/// What is wrong with the file, or with who unwraps it.
pub async fn open(file: &Path, server: &ServerVariables) -> Result<Secret<str>, Closed> {
    match read(file)? {
        Written::Plain(credential) => Ok(credential),
        Written::Wrapped(Wrapped::Transit(wrapped)) => transit::unwrap(&wrapped, server).await,
        Written::Wrapped(Wrapped::Tpm(sealed)) => {
            match tokio::task::spawn_blocking(move || tpm::unwrap(&sealed)).await {
                Ok(opened) => opened,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}
