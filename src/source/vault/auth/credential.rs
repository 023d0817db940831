//! What a credential file, or variable, holds.
//!
//! *Invariant:* its contents are in no fault.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use nix::libc::O_NONBLOCK;

use crate::config::CredentialFrom;
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
        // A directory can be opened, and a pipe would keep us waiting for its other end.
        let opened = File::options().read(true).custom_flags(O_NONBLOCK).open(file);
        let opened = opened.map_err(|error| awaiting(&error.to_string()))?;
        let metadata = opened.metadata().map_err(|error| awaiting(&error.to_string()))?;
        if !metadata.is_file() {
            return Err(awaiting("it is not a regular file"));
        }
        // A file system without times has only old files.
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let mut text = String::new();
        opened.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| awaiting(&error.to_string()))?;
        match text.trim() {
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
        let cases: [(&[u8], Result<&str, &str>); 6] = [
            (b" s.abc\r\n", Ok("s.abc")),
            (b"", Err("it is empty")),
            (b" \n", Err("it is empty")),
            (b"s.abc\ns.def\n", Err("it holds more than one line")),
            (b"\xff\xfe", Err("stream did not contain valid UTF-8")),
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
