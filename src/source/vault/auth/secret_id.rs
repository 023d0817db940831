//! The secret-id of an AppRole: from its file, unwrapped if need be, and remembered when the file is gone.
//!
//! A wrapping token is good for one use, and the file may be deleted after the first login: so the secret-id is kept in
//! memory for the logins to come, and in the ledger for those of a later run. What the file holds wins over both as soon as that is
//! something else.
//!
//! *Invariant:* a secret-id that was refused, or that has no use left, is not sent again from memory alone, and not kept in the ledger.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::credential::Credential;
use super::drawer::Drawer;
use super::wrapping;
use crate::config::{CredentialFrom, SecretIdConfig};
use crate::fact::seconds;
use crate::ledger;
use crate::secret::Secret;
use crate::source::Fault;
use crate::source::vault::api::Api;
use crate::status::{CredentialPlace, CredentialStatus, Moment};

/// A standby may not know a secret-id yet that was made this long ago; so may we know only half of its file.
const YOUNG: Duration = Duration::from_secs(10);

/// How long until a standby knows it.
const KNOWN_IN: Duration = Duration::from_secs(3);

/// The secret-id of the last login.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: Option<Kept>,
    /// It is known what an earlier run left in the ledger.
    recalled: bool,
    /// The file could not be removed, and that was said.
    removal_failed: bool,
}

#[derive(Debug)]
struct Kept {
    /// What the file held, and when that was written.
    held: Credential,
    /// What that stands for: itself, or what it wrapped.
    secret_id: Secret<str>,
    /// How many logins it is still good for, if they are counted. We know of our own, so it may be fewer.
    uses_left: Option<u64>,
    /// When it ends, if that is known.
    ends: Option<SystemTime>,
    /// Where the next login has it from.
    from: CredentialPlace,
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
    drawer: Option<&Drawer>,
) -> Result<Secret<str>, Fault> {
    memory.recall(drawer);
    let held = match memory.choose(&config.from, Credential::take(&config.from))? {
        Origin::Memory(secret_id) => return Ok(secret_id),
        Origin::File(held) => held,
    };
    let kept = if config.unwrap {
        let made = wrapping::unwrap(api, mount, &config.from, &held.text).await?;
        let kept = Kept {
            uses_left: made.uses,
            ends: made.ends,
            ..Kept::new(held, made.secret_id, CredentialPlace::File)
        };
        // Nobody can unwrap it again: it is safe before anything else is done.
        kept.put(drawer);
        kept
    } else {
        let secret_id = held.text.clone();
        Kept::new(held, secret_id, CredentialPlace::File)
    };
    let secret_id = kept.secret_id.clone();
    memory.kept = Some(kept);
    Ok(secret_id)
}

/// The login succeeded: the secret-id is kept for later ones, and then the file has served, if it is to be deleted.
pub(super) fn worked(config: &SecretIdConfig, memory: &mut Memory, drawer: Option<&Drawer>) {
    let Some(kept) = &mut memory.kept else { return };
    kept.used();
    let is_kept = kept.put(drawer);
    if config.unwrap || config.delete || config.keep {
        kept.tell(&config.from, is_kept);
    }
    kept.from = CredentialPlace::Memory;
    // Not what somebody has put there since.
    let is_used = Credential::take(&config.from).is_ok_and(|held| kept.is_from(&held));
    if let Some(file) = config.from.file().filter(|_| config.delete && is_used) {
        delete(file, &mut memory.removal_failed);
    }
}

/// The login was refused: when to send the secret-id again, if that is before its file changes. If not, no later run sends it either.
pub(super) fn refused(
    config: &SecretIdConfig,
    memory: &mut Memory,
    drawer: Option<&Drawer>,
) -> Option<Duration> {
    let is_there = Credential::take(&config.from).is_ok_and(|held| memory.is_from(&held));
    let again_in = memory.refused(is_there, SystemTime::now());
    if let Some(drawer) = drawer.filter(|_| again_in.is_none()) {
        drawer.forget();
        tracing::info!(file = %config.from, "a refused secret-id is not kept in the ledger");
    }
    again_in
}

fn delete(file: &Path, failed: &mut bool) {
    match std::fs::remove_file(file) {
        Ok(()) => tracing::debug!(file = %file.display(), "secret-id file deleted"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            if !std::mem::replace(failed, true) {
                let error = error.to_string();
                tracing::warn!(file = %file.display(), error, "secret-id file not deleted");
            }
        }
    }
}

impl Memory {
    /// Where the next login has it from, and what is left of it.
    pub(super) fn status(&self, config: &SecretIdConfig) -> CredentialStatus {
        let kept = self.kept.as_ref().filter(|kept| !kept.refused && !kept.is_used_up());
        CredentialStatus {
            from: kept.map_or(CredentialPlace::File, |kept| kept.from),
            written_in: config.from.to_string(),
            uses_left: kept.and_then(|kept| kept.uses_left),
            ends: kept.and_then(|kept| kept.ends).map(Moment::new),
        }
    }

    /// Takes what an earlier run left, once.
    fn recall(&mut self, drawer: Option<&Drawer>) {
        if !std::mem::replace(&mut self.recalled, true) && self.kept.is_none() {
            self.kept = drawer.and_then(Drawer::read).map(Kept::of);
        }
    }

    /// Whether the file or the memory has the newer one. What the file's fault is counts only if there is nothing better.
    fn choose(&self, from: &CredentialFrom, found: Result<Credential, Fault>) -> Result<Origin, Fault> {
        match (found, &self.kept) {
            (Ok(held), Some(kept)) if kept.is_from(&held) && kept.is_used_up() => Err(used_up(from)),
            (Ok(held), Some(kept)) if kept.is_from(&held) => Ok(Origin::Memory(kept.secret_id.clone())),
            (Ok(held), _) => Ok(Origin::File(held)),
            (Err(_), Some(kept)) if !kept.refused && !kept.is_used_up() => {
                Ok(Origin::Memory(kept.secret_id.clone()))
            }
            (Err(fault), _) => Err(fault),
        }
    }

    fn is_from(&self, held: &Credential) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_from(held))
    }

    /// The server did not take it: when to send it again, if that is before it changes. One whose file is not there any more was taken
    /// before, or was withdrawn: it gets no second chance.
    fn refused(&mut self, is_there: bool, now: SystemTime) -> Option<Duration> {
        let kept = self.kept.as_mut()?;
        // A file from the future is as young as can be.
        let is_young = now.duration_since(kept.held.written).unwrap_or_default() < YOUNG;
        kept.refused = true;
        (is_there && is_young && !std::mem::replace(&mut kept.excused, true)).then_some(KNOWN_IN)
    }
}

/// Only what was unwrapped has uses that are counted, and only a file is unwrapped.
fn used_up(from: &CredentialFrom) -> Fault {
    let file = from.file().map(Path::to_owned).unwrap_or_default();
    Fault::Awaiting { file, why: "the secret-id that it wrapped has no use left".to_owned() }
}

impl Kept {
    fn new(held: Credential, secret_id: Secret<str>, from: CredentialPlace) -> Self {
        Self { held, secret_id, uses_left: None, ends: None, from, excused: false, refused: false }
    }

    /// What an earlier run left.
    fn of(left: ledger::Credential) -> Self {
        let ledger::Credential { secret, held, written, uses_left, ends } = left;
        let held = Credential { text: held, written };
        Self { uses_left, ends, ..Self::new(held, secret, CredentialPlace::Ledger) }
    }

    /// Whether the file still holds what this came from.
    fn is_from(&self, held: &Credential) -> bool {
        self.held.text.expose() == held.text.expose()
    }

    /// A login with it succeeded.
    fn used(&mut self) {
        self.refused = false;
        self.uses_left = self.uses_left.map(|left| left.saturating_sub(1));
    }

    fn is_used_up(&self) -> bool {
        self.uses_left == Some(0)
    }

    /// Keeps it for a later run while it is good for anything; whether it is kept.
    fn put(&self, drawer: Option<&Drawer>) -> bool {
        let Some(drawer) = drawer else { return false };
        if self.is_used_up() {
            drawer.forget();
            return false;
        }
        drawer.put(&ledger::Credential {
            secret: self.secret_id.clone(),
            held: self.held.text.clone(),
            written: self.held.written,
            uses_left: self.uses_left,
            ends: self.ends,
        })
    }

    /// Says where it came from, and how much is left of it as far as the server told.
    fn tell(&self, file: &CredentialFrom, kept: bool) {
        let ends_in = self.ends.map(|ends| ends.duration_since(SystemTime::now()).unwrap_or_default());
        let (from, uses_left, ends_in_s) = (self.from.word(), self.uses_left, ends_in.map(seconds));
        tracing::info!(from, %file, uses_left, ends_in_s, kept, "secret-id accepted");
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
        let kept = Kept::new(held("written", age), Secret::new("meant"), CredentialPlace::File);
        Memory { kept: Some(kept), ..Memory::default() }
    }

    fn gone() -> Result<Credential, Fault> {
        Err(Fault::Awaiting { file: "secret-id".into(), why: "gone".to_owned() })
    }

    fn chosen(memory: &Memory, found: Result<Credential, Fault>) -> String {
        match memory.choose(&CredentialFrom::File("secret-id".into()), found) {
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
        assert_eq!(memory.refused(true, now()), None);
        assert_eq!(chosen(&memory, gone()), "waiting for secret-id: gone");
        // Its role id may have been the wrong one, and a wrapping token cannot be used again.
        assert_eq!(chosen(&memory, Ok(held("written", Duration::ZERO))), "memory: meant");
    }

    #[test]
    fn a_young_secret_id_is_sent_a_second_time_and_no_third() {
        let mut memory = memory(Duration::from_secs(9));
        assert_eq!(memory.refused(true, now()), Some(KNOWN_IN));
        assert_eq!(chosen(&memory, Ok(held("written", Duration::ZERO))), "memory: meant");
        assert_eq!(chosen(&memory, gone()), "waiting for secret-id: gone");
        assert_eq!(memory.refused(true, now()), None);
        assert_eq!(memory.refused(true, now()), None);
    }

    #[test]
    fn a_young_secret_id_whose_file_is_gone_is_not_sent_a_second_time() {
        let mut memory = memory(Duration::from_secs(9));
        assert_eq!(memory.refused(false, now()), None);
        assert_eq!(chosen(&memory, gone()), "waiting for secret-id: gone");
    }

    #[test]
    fn what_has_no_use_left_is_not_sent_and_a_new_file_is() {
        let mut memory = memory(YOUNG);
        let kept = memory.kept.as_mut().unwrap();
        kept.uses_left = Some(2);
        kept.used();
        assert_eq!(chosen(&memory, gone()), "memory: meant");
        memory.kept.as_mut().unwrap().used();
        let file = |text| Ok(held(text, Duration::ZERO));
        assert_eq!(chosen(&memory, gone()), "waiting for secret-id: gone");
        let why = "waiting for secret-id: the secret-id that it wrapped has no use left";
        assert_eq!(chosen(&memory, file("written")), why);
        assert_eq!(chosen(&memory, file("new")), "file: new");
    }
}
