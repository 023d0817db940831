//! The five commands of a TPM 2.0 that seal and open a credential, as bytes, and the parsing of the answers.
//!
//! The numbers are those of the TCG's "TPM 2.0 Library", parts 2 and 3. Every command uses the owner's hierarchy without a password: every
//! user who may use the device of this machine can open what was sealed on it, and nobody can on another machine.
//!
//! *Invariant:* pure. The sealing keys are made anew from the TPM's own seed each time, so nothing has to be stored in it.

use super::Trouble;

/// The longest frame that a TPM takes or gives.
pub(super) const LONGEST_FRAME: usize = 4096;
/// The largest data that can be sealed, in bytes.
pub(super) const LONGEST_SECRET: usize = 128;
/// Tag, size and code.
const HEADER: usize = 10;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;

const CREATE_PRIMARY: u32 = 0x0131;
const CREATE: u32 = 0x0153;
const LOAD: u32 = 0x0157;
const UNSEAL: u32 = 0x015e;
const FLUSH: u32 = 0x0165;

const OWNER: u32 = 0x4000_0001;

/// One session: the empty password, this many bytes.
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// No outside information, and no PCRs.
const NOTHING_NOTED: [u8; 6] = [0; 6];

/// The storage key: ECC on P-256 and AES-128 in CFB, which every TPM 2.0 has; restricted, for decryption, fixed to this TPM, without
/// lockout.
const STORAGE_KEY: [u8; 26] = [
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x03, 0x04, 0x72, 0x00,
    0x00, // ECC, names by SHA-256, attributes, no policy
    0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, // AES, 128, CFB, no scheme, P-256
    0x00, 0x10, 0x00, 0x00, 0x00, 0x00, // no derivation, no point
];

/// The sealed object: bytes that are fixed to this TPM and open with the empty password, without lockout.
const SEALED: [u8; 14] = [
    0x00, 0x08, 0x00, 0x0b, 0x00, 0x00, 0x04, 0x52, 0x00,
    0x00, // bytes, names by SHA-256, attributes, no policy
    0x00, 0x10, 0x00, 0x00, // no scheme, no digest
];

/// Makes the storage key.
pub(super) fn create_primary() -> Result<Vec<u8>, Trouble> {
    let empty = sized(&[0, 0, 0, 0])?;
    let (handle, template) = (OWNER.to_be_bytes(), sized(&STORAGE_KEY)?);
    command(SESSIONS, CREATE_PRIMARY, &[&handle, &EMPTY_PASSWORD, &empty, &template, &NOTHING_NOTED])
}

/// Seals a secret under it.
pub(super) fn create(parent: u32, secret: &[u8]) -> Result<Vec<u8>, Trouble> {
    if secret.len() > LONGEST_SECRET {
        return Err(Trouble::TooLong { size: secret.len() });
    }
    let sensitive = sized(&[&sized(&[])?[..], &sized(secret)?].concat())?;
    let (handle, template) = (parent.to_be_bytes(), sized(&SEALED)?);
    command(SESSIONS, CREATE, &[&handle, &EMPTY_PASSWORD, &sensitive, &template, &NOTHING_NOTED])
}

/// Loads the sealed object.
pub(super) fn load(parent: u32, private: &[u8], public: &[u8]) -> Result<Vec<u8>, Trouble> {
    let handle = parent.to_be_bytes();
    command(SESSIONS, LOAD, &[&handle, &EMPTY_PASSWORD, &sized(private)?, &sized(public)?])
}

/// Unseals it.
pub(super) fn unseal(object: u32) -> Result<Vec<u8>, Trouble> {
    command(SESSIONS, UNSEAL, &[&object.to_be_bytes(), &EMPTY_PASSWORD])
}

/// Flushes an object that was made or loaded.
pub(super) fn flush(object: u32) -> Result<Vec<u8>, Trouble> {
    command(NO_SESSIONS, FLUSH, &[&object.to_be_bytes()])
}

fn command(tag: u16, code: u32, parts: &[&[u8]]) -> Result<Vec<u8>, Trouble> {
    let body = parts.concat();
    let size = HEADER + body.len();
    let too_long = Trouble::TooLong { size };
    let field = u32::try_from(size).ok().filter(|_| size <= LONGEST_FRAME).ok_or(too_long)?;
    Ok([&tag.to_be_bytes()[..], &field.to_be_bytes(), &code.to_be_bytes(), &body].concat())
}

fn sized(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    let size = u16::try_from(bytes.len()).map_err(|_| Trouble::TooLong { size: bytes.len() })?;
    Ok([&size.to_be_bytes()[..], bytes].concat())
}

/// The length of an answer, if enough of its beginning is there to tell.
pub(super) fn length(beginning: &[u8]) -> Option<usize> {
    let size = beginning.get(2..6)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(size)).ok()
}

/// The part after the header of an answer.
pub(super) fn body(answer: &[u8]) -> Result<Part<'_>, Trouble> {
    if length(answer) != Some(answer.len()) {
        return Err(Trouble::Garbled);
    }
    let mut rest = Part(answer);
    rest.take(6)?;
    match rest.number()? {
        0 => Ok(rest),
        code => Err(Trouble::Refused { code }),
    }
}

/// The unread rest of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a>(&'a [u8]);

impl<'a> Part<'a> {
    /// The handle of an object that was made or loaded.
    pub(super) fn handle(mut self) -> Result<u32, Trouble> {
        self.number()
    }

    /// The private and the public part of the sealed object.
    pub(super) fn created(mut self) -> Result<(Vec<u8>, Vec<u8>), Trouble> {
        self.number()?;
        Ok((self.sized()?.to_vec(), self.sized()?.to_vec()))
    }

    /// The unsealed data.
    pub(super) fn unsealed(mut self) -> Result<Vec<u8>, Trouble> {
        self.number()?;
        Ok(self.sized()?.to_vec())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Trouble::Garbled)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Trouble> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Trouble::Garbled)
    }

    fn sized(&mut self) -> Result<&'a [u8], Trouble> {
        let size = self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| Trouble::Garbled)?;
        self.take(size.into())
    }
}

/// What a refusal means to a user who can correct it.
pub(super) fn meaning(code: u32) -> &'static str {
    const FORMAT_1: u32 = 0x80;
    // In this format the upper bits tell which handle, session or parameter is meant.
    let error = if code & FORMAT_1 == 0 { code } else { FORMAT_1 | code & 0x3f };
    match error {
        0x9f => {
            "it was not sealed by this TPM, its owner's seed was cleared since, or the document was edited"
        }
        0x8e | 0xa2 => "the hierarchy of its owner has a password, and Squire knows none",
        0x85 => "the hierarchy of its owner is switched off in the firmware",
        0x100 => "it was not started: that is the firmware's task",
        0x902 | 0x903 => {
            "it has no room left: other programs keep objects in it; use /dev/tpmrm0, which makes room"
        }
        0x921 => "it is locked after too many wrong tries",
        0x922 => "it is busy",
        _ => "look the code up in the TCG's library, part 2, \"TPM_RC\"",
    }
}

/// Whether the same command may succeed a little later.
pub(super) fn is_busy(code: u32) -> bool {
    matches!(code, 0x908 | 0x90a | 0x922)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_command_says_its_own_length() {
        for frame in [
            create_primary(),
            create(1, b"sesame"),
            create(1, &[7; LONGEST_SECRET]),
            load(1, &[1; 200], &[2; 60]),
            unseal(1),
            flush(1),
        ] {
            let frame = frame.unwrap();
            assert_eq!(length(&frame), Some(frame.len()));
        }
        assert_eq!(flush(0x8000_0001).unwrap(), [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0x80, 0, 0, 1]);
    }

    #[test]
    fn what_is_too_long_for_a_tpm_is_refused() {
        assert_eq!(create(1, &[7; LONGEST_SECRET + 1]).unwrap_err(), Trouble::TooLong { size: 129 });
        assert!(matches!(load(1, &[1; 4096], &[]), Err(Trouble::TooLong { .. })));
        assert!(matches!(load(1, &vec![1; 70_000], &[]), Err(Trouble::TooLong { .. })));
    }

    #[test]
    fn answers_are_taken_apart() {
        let answer = |code: u32, body: &[u8]| {
            let size = u32::try_from(HEADER + body.len()).unwrap().to_be_bytes();
            [&SESSIONS.to_be_bytes()[..], &size, &code.to_be_bytes(), body].concat()
        };
        let made = answer(0, &[0, 0, 0, 7, 0, 2, 1, 2, 0, 1, 3, 99]);
        assert_eq!(body(&made).unwrap().created().unwrap(), (vec![1, 2], vec![3]));
        assert_eq!(body(&made).unwrap().handle().unwrap(), 7);
        assert_eq!(body(&made).unwrap().unsealed().unwrap(), [1, 2]);
        assert_eq!(body(&answer(0x1df, &[])).unwrap_err(), Trouble::Refused { code: 0x1df });
        assert!(meaning(0x1df).starts_with("it was not sealed by this TPM"));
        assert!(meaning(0x9a2).contains("password"));
        assert_eq!(body(&made[..made.len() - 1]).unwrap_err(), Trouble::Garbled);
        let cut = answer(0, &[0, 0, 0, 7, 0, 2, 1]);
        assert_eq!(body(&cut).unwrap().unsealed().unwrap_err(), Trouble::Garbled);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), code: u32) {
            let size = u32::try_from(HEADER + bytes.len()).unwrap().to_be_bytes();
            let answer = [&[0x80, 2][..], &size, &[0; 4], &bytes].concat();
            for answer in [&bytes, &answer] {
                if let Ok(part) = body(answer) {
                    drop((part.handle(), part.created(), part.unsealed()));
                }
            }
            prop_assert!(!meaning(code).is_empty());
        }
    }
}
