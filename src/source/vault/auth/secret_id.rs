//! The secret-id of an AppRole: from its file, unwrapped if need be, and remembered when the file is gone.
//!
//! A wrapping token is good for one use, and the file may be deleted after the first login: so the secret-id is kept in
//! memory for the logins to come. What the file holds wins over it as soon as that is something else.
//!
//! *Invariant:* a secret-id that was refused is not sent again from memory alone.

use std::io;
use std::time::{Duration, SystemTime};

use super::credential::Credential;
use super::wrapping;
use crate::config::SecretIdConfig;
use crate::secret::Secret;
use crate::source::Fault;
use crate::source::vault::api::Api;

/// A standby may not know a secret-id yet that was made this long ago; so may we know only half of its file.
const YOUNG: Duration = Duration::from_secs(10);

/// How long until a standby knows it.
const KNOWN_IN: Duration = Duration::from_secs(3);

/// The secret-id of the last login.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: Option<Kept>,
    /// The file could not be removed, and that was said.
    removal_failed: bool,
}

#[derive(Debug)]
struct Kept {
    /// What the file held, and when that was written.
    held: Credential,
    /// What that stands for: itself, or what it wrapped.
    secret_id: Secret<str>,
    /// It was refused while it was young, and gets a second chance for that.
    excused: bool,
    /// The last login with it was refused.
    refused: bool,
}

/// Where the secret-id comes from.
#[derive(Debug)]
enum Origin {
    Memory(Secret<str>),
    File(Credential),
}

/// The secret-id to log in with now.
pub(super) async fn current(
    api: &Api,
    mount: &str,
    config: &SecretIdConfig,
    memory: &mut Memory,
) -> Result<Secret<str>, Fault> {
    let held = match memory.choose(Credential::take(&config.from))? {
        Origin::Memory(secret_id) => return Ok(secret_id),
        Origin::File(held) => held,
    };
    let secret_id = if config.unwrap {
        wrapping::unwrap(api, mount, &config.from, &held.text).await?
    } else {
        held.text.clone()
    };
    memory.kept = Some(Kept { held, secret_id: secret_id.clone(), excused: false, refused: false });
    Ok(secret_id)
}

/// The login succeeded: the file has served, if it is to be deleted.
pub(super) fn worked(config: &SecretIdConfig, memory: &mut Memory) {
    let Some(kept) = &mut memory.kept else { return };
    kept.refused = false;
    // Not what somebody has put there since.
    let is_used = Credential::take(&config.from).is_ok_and(|held| kept.is_from(&held));
    let Some(file) = config.from.file().filter(|_| config.delete && is_used) else { return };
    match std::fs::remove_file(file) {
        Ok(()) => tracing::debug!(file = %file.display(), "secret-id file deleted"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            if !std::mem::replace(&mut memory.removal_failed, true) {
                let error = error.to_string();
                tracing::warn!(file = %file.display(), error, "secret-id file not deleted");
            }
        }
    }
}

impl Memory {
    /// Whether the file or the memory has the newer one. What the file's fault is counts only if there is nothing better.
    fn choose(&self, found: Result<Credential, Fault>) -> Result<Origin, Fault> {
        match (found, &self.kept) {
            (Ok(held), Some(kept)) if kept.is_from(&held) => Ok(Origin::Memory(kept.secret_id.clone())),
            (Ok(held), _) => Ok(Origin::File(held)),
            (Err(_), Some(kept)) if !kept.refused => Ok(Origin::Memory(kept.secret_id.clone())),
            (Err(fault), _) => Err(fault),
        }
    }

    /// The server did not take it: when to send it again, if that is before it changes.
    pub(super) fn refused(&mut self, now: SystemTime) -> Option<Duration> {
        let kept = self.kept.as_mut()?;
        // A file from the future is as young as can be.
        let is_young = now.duration_since(kept.held.written).unwrap_or_default() < YOUNG;
        kept.refused = true;
        (is_young && !std::mem::replace(&mut kept.excused, true)).then_some(KNOWN_IN)
    }
}

impl Kept {
    /// Whether the file still holds what this came from.
    fn is_from(&self, held: &Credential) -> bool {
        self.held.text.expose() == held.text.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(24)
    }

    fn held(text: &str, age: Duration) -> Credential {
        Credential { text: Secret::new(text), written: now() - age }
    }

    /// Holds the secret-id `meant`, from a file that held `written`.
    fn memory(age: Duration) -> Memory {
        let kept = Kept {
            held: held("written", age),
            secret_id: Secret::new("meant"),
            excused: false,
            refused: false,
        };
        Memory { kept: Some(kept), removal_failed: false }
    }

    fn gone() -> Result<Credential, Fault> {
        Err(Fault::Awaiting { file: "secret-id".into(), why: "gone".to_owned() })
    }

    fn chosen(memory: &Memory, found: Result<Credential, Fault>) -> String {
        match memory.choose(found) {
            Ok(Origin::Memory(secret_id)) => format!("memory: {}", secret_id.expose()),
            Ok(Origin::File(held)) => format!("file: {}", held.text.expose()),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_new_file_wins_over_memory_and_memory_over_the_same_file_or_none() {
        let (empty, full) = (Memory::default(), memory(Duration::ZERO));
        let file = |text| Ok(held(text, Duration::ZERO));
        assert_eq!(chosen(&empty, gone()), "waiting for secret-id: gone");
        assert_eq!(chosen(&empty, file("new")), "file: new");
        assert_eq!(chosen(&full, gone()), "memory: meant");
        assert_eq!(chosen(&full, file("written")), "memory: meant");
        assert_eq!(chosen(&full, file("new")), "file: new");
    }

    #[test]
    fn what_was_refused_is_not_sent_from_memory_when_its_file_is_gone() {
        let mut memory = memory(YOUNG);
        assert_eq!(memory.refused(now()), None);
        assert_eq!(chosen(&memory, gone()), "waiting for secret-id: gone");
        // Its role id may have been the wrong one, and a wrapping token cannot be used again.
        assert_eq!(chosen(&memory, Ok(held("written", Duration::ZERO))), "memory: meant");
    }

    #[test]
    fn a_young_secret_id_is_sent_a_second_time_and_no_third() {
        let mut memory = memory(Duration::from_secs(9));
        assert_eq!(memory.refused(now()), Some(KNOWN_IN));
        assert_eq!(chosen(&memory, Ok(held("written", Duration::ZERO))), "memory: meant");
        assert_eq!(memory.refused(now()), None);
        assert_eq!(memory.refused(now()), None);
    }
}
