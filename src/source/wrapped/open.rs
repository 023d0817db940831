//! Reads the file, and asks the server or the TPM to unwrap it.
//!
//! *Invariant:* a TPM is asked on a thread for blocking work. Never more bytes of a file are read than a credential may have.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Closed, LONGEST_DOCUMENT, Wrapped, Written, parse, tpm, transit};
use crate::config::ServerVariables;
use crate::files;
use crate::secret::Secret;

/// One byte more than a credential may have, so that a longer file is noticed.
const ENOUGH: u64 = LONGEST_DOCUMENT as u64 + 1;

/// The content of a regular file, wrapped or not; an agent never waits for it.
///
/// # Errors
/// What is wrong with the file.
pub fn read(file: &Path) -> Result<Written, Closed> {
    let contents = files::beginning(file, ENOUGH).map_err(|error| unreadable(&error))?;
    parse(&contents.bytes).map_err(Closed::File)
}

/// The content of a file, which may be a pipe: a user at a prompt can wait for another program.
///
/// # Errors
/// What is wrong with the file.
pub fn read_patiently(file: &Path) -> Result<Written, Closed> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(ENOUGH).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(&error))?;
    parse(&bytes).map_err(Closed::File)
}

fn unreadable(error: &io::Error) -> Closed {
    Closed::File(format!("cannot be read: {error}"))
}

/// Unwraps a credential. `server` has the variables for the login.
///
/// # Errors
/// What is wrong with it, or with the server or TPM that unwraps it.
pub async fn open(written: Written, server: &ServerVariables) -> Result<Secret<str>, Closed> {
    match written {
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
