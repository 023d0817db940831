//! Wrapped by the TPM 2.0 of this machine: through the kernel's device, or the socket of an emulator such as `swtpm`.
//!
//! *Invariant:* no process is started, since in an agent only the main thread may wait for one. Nothing stays in the TPM.

mod frames;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Closed, Sealed, Wrapped};
use crate::secret::Secret;

/// The device with which the kernel shares a TPM among all its users.
pub const TPM_DEVICE: &str = "/dev/tpmrm0";

/// The time-out for an emulator; a device has the kernel's own limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pauses before a busy TPM is asked again.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The faults of a TPM.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error(
        "there is no TPM at {device}: this machine has none that Linux knows, or it is switched off; {WAY_OUT}"
    )]
    NotThere { device: String },
    #[error("this user may not use the TPM at {device}: that usually needs the group tss")]
    Forbidden { device: String },
    #[error("{device} is neither a device nor the socket of a TPM")]
    NoDevice { device: String },
    #[error("cannot speak to the TPM at {device}: {why}")]
    Io { device: String, why: String },
    #[error("the TPM answered {code:#x}: {}", frames::meaning(*code))]
    Refused { code: u32 },
    #[error("the TPM's answer is none")]
    Garbled,
    #[error("{size} bytes are too many for a TPM, which seals up to {}: {WAY_OUT}", frames::LONGEST_SECRET)]
    TooLong { size: usize },
    #[error("the unwrapped credential differs from the wrapped one")]
    Different,
}

const WAY_OUT: &str =
    "wrap the plain credential by a server with --transit, or combine the shares of the key";

/// A connection to a TPM.
struct Tpm<'a> {
    name: &'a Path,
    device: File,
}

/// Seals a credential, and tests that it can be opened.
///
/// # Errors
/// What is wrong with the TPM, or the credential.
pub fn wrap(credential: &Secret<str>, device: &Path) -> Result<Wrapped, Closed> {
    // Whoever opens it may start in another directory.
    let device = std::path::absolute(device).map_err(|error| Closed::Way(error.to_string()))?;
    let sealed = Tpm::open(&device).and_then(|mut tpm| {
        let secret = credential.expose().as_bytes();
        tpm.with_storage_key(|tpm, key| {
            let answer = tpm.ask(&frames::create(key, secret)?)?;
            let (private, public) = frames::body(answer.expose())?.created()?;
            let opened = tpm.unseal(key, &private, &public)?;
            if opened.expose() != secret {
                return Err(Trouble::Different);
            }
            Ok(Sealed { device: device.clone(), public, private })
        })
    });
    sealed.map(Wrapped::Tpm).map_err(|trouble| Closed::Way(trouble.to_string()))
}

/// Opens what was sealed.
pub(super) fn unwrap(sealed: &Sealed) -> Result<Secret<str>, Closed> {
    let opened = Tpm::open(&sealed.device).and_then(|mut tpm| {
        tpm.with_storage_key(|tpm, key| tpm.unseal(key, &sealed.private, &sealed.public))
    });
    let opened = opened.map_err(|trouble| Closed::Way(trouble.to_string()))?;
    let text =
        std::str::from_utf8(opened.expose()).map_err(|_| Closed::Way("the sealed data is no text".into()))?;
    Ok(Secret::new(text))
}

impl<'a> Tpm<'a> {
    fn open(name: &'a Path) -> Result<Self, Trouble> {
        let failed = |error: io::Error| {
            let device = name.display().to_string();
            if error.kind() == io::ErrorKind::NotFound {
                Trouble::NotThere { device }
            } else if error.kind() == io::ErrorKind::PermissionDenied {
                Trouble::Forbidden { device }
            } else {
                Trouble::Io { device, why: error.to_string() }
            }
        };
        let kind = name.metadata().map_err(failed)?.file_type();
        let device = if kind.is_socket() {
            let socket = UnixStream::connect(name).map_err(failed)?;
            socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
            File::from(OwnedFd::from(socket))
        } else if kind.is_char_device() {
            OpenOptions::new().read(true).write(true).open(name).map_err(failed)?
        } else {
            // Writing to a regular file would destroy it.
            return Err(Trouble::NoDevice { device: name.display().to_string() });
        };
        Ok(Self { name, device })
    }

    /// Runs a closure with the storage key, then flushes the key.
    fn with_storage_key<T>(
        &mut self,
        act: impl FnOnce(&mut Self, u32) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let key = self.make(&frames::create_primary()?)?;
        let done = act(self, key);
        self.forget(key);
        done
    }

    fn unseal(&mut self, key: u32, private: &[u8], public: &[u8]) -> Result<Secret<[u8]>, Trouble> {
        let object = self.make(&frames::load(key, private, public)?)?;
        let answer = frames::unseal(object).and_then(|command| self.ask(&command));
        self.forget(object);
        frames::body(answer?.expose())?.unsealed().map(Secret::new)
    }

    fn make(&mut self, command: &[u8]) -> Result<u32, Trouble> {
        frames::body(self.ask(command)?.expose())?.handle()
    }

    /// If the object cannot be flushed now, it is gone at the next start of the TPM.
    fn forget(&mut self, object: u32) {
        drop(frames::flush(object).and_then(|command| self.ask(&command)));
    }

    /// Sends a command, again while the TPM is busy.
    fn ask(&mut self, command: &[u8]) -> Result<Secret<[u8]>, Trouble> {
        for _ in 0..TRIES {
            let answer = self.exchange(command)?;
            match frames::body(answer.expose()) {
                Err(Trouble::Refused { code }) if frames::is_busy(code) => thread::sleep(PAUSE),
                Ok(_) | Err(_) => return Ok(answer),
            }
        }
        self.exchange(command)
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Secret<[u8]>, Trouble> {
        let name = self.name;
        let failed =
            |why: io::Error| Trouble::Io { device: name.display().to_string(), why: why.to_string() };
        // A device takes a command in one write, and gives its answer in one read.
        self.device.write_all(command).map_err(failed)?;
        let mut buffer = vec![0; frames::LONGEST_FRAME];
        let mut read = 0;
        while frames::length(&buffer[..read]).is_none_or(|length| read < length) {
            match self.device.read(&mut buffer[read..]) {
                Ok(0) => return Err(Trouble::Garbled),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        buffer.truncate(read);
        Ok(Secret::new(buffer))
    }
}
