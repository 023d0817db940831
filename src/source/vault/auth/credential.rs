//! What a credential file, or variable, holds.
//!
//! *Invariant:* its contents are in no fault.

use std::path::Path;
use std::time::SystemTime;

use crate::config::CredentialFrom;
use crate::files;
use crate::secret::Secret;
use crate::source::Fault;

/// The longest credential that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// One line of text, trimmed, and when it was written.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) text: Secret<str>,
    pub(super) written: SystemTime,
}

impl Credential {
    /// Reads it from where it is.
    pub(super) fn take(from: &CredentialFrom) -> Result<Self, Fault> {
        match from {
            CredentialFrom::File(file) => Self::read(file),
            // As old as the process, and so no reason for a second try.
            CredentialFrom::Variable(_, text) => {
                Ok(Self { text: text.clone(), written: SystemTime::UNIX_EPOCH })
            }
        }
    }

    /// Reads a file; one that cannot be used is waited for.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let awaiting = |why: &str| Fault::Awaiting { file: file.to_owned(), why: why.to_owned() };
        let contents = files::beginning(file, LONGEST + 1).map_err(|error| awaiting(&error.to_string()))?;
        // A file system without times has only old files.
        let written = contents.metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let text = contents.text().map_err(|error| awaiting(&error.to_string()))?;
        match files::one_value(text) {
            "" => Err(awaiting("it is empty")),
            _ if text.len() as u64 > LONGEST => Err(awaiting("it is longer than any credential")),
            trimmed if trimmed.contains(char::is_control) => Err(awaiting("it holds more than one line")),
            trimmed => Ok(Self { text: Secret::new(trimmed), written }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_file_is_trimmed_and_has_to_hold_one_line_of_text() {
        let directory = tempfile::tempdir().unwrap();
        let long = vec![b'a'; 70_000];
        let cases: [(&[u8], Result<&str, &str>); 7] = [
            (b" s.abc\r\n", Ok("s.abc")),
            (b"\xef\xbb\xbfs.abc\r\n", Ok("s.abc")),
            (b"", Err("it is empty")),
            (b" \n", Err("it is empty")),
            (b"s.abc\ns.def\n", Err("it holds more than one line")),
            (b"\xff\xfe", Err("it is not UTF-8 text")),
            (&long, Err("it is longer than any credential")),
        ];
        let file = directory.path().join("credential");
        for (contents, expected) in cases {
            std::fs::write(&file, contents).unwrap();
            let expected = expected
                .map(str::to_owned)
                .map_err(|why| Fault::Awaiting { file: file.clone(), why: why.into() });
            let read = Credential::read(&file).map(|credential| credential.text.expose().to_owned());
            assert_eq!(read, expected);
        }
        for missing in [directory.path().join("missing"), directory.path().to_owned()] {
            let read = Credential::read(&missing);
            assert!(matches!(read, Err(Fault::Awaiting { file, .. }) if file == missing));
        }
    }
}
