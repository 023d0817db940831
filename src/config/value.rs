//! Single values of the configuration, as types with units.
//!
//! A [`Form`] is one way to read text. Its errors are predicates (`is not a duration; write …`), so that they can follow a key, a quoted
//! value or the name of a variable.
//!
//! *Invariant:* pure text → value; the reader knows the place.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::text;

/// Permission bits of a file or directory, at most 0o7777.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// These bits.
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The same mode without the setgid bit, which gives files in a directory the directory's group.
    #[must_use]
    pub const fn without_setgid(self) -> Self {
        Self(self.0 & !0o2000)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A user or a group as written: a name to look up, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A name.
    Name(String),
    /// A number.
    Id(u32),
}

/// One way to read text.
pub(super) struct Form<T> {
    /// The error for a value that is no text at all.
    pub(super) expected: &'static str,
    /// Whether a problem may quote the text.
    pub(super) shown: bool,
    /// The value, or what is wrong with the text, as a predicate.
    pub(super) read: fn(&str) -> Result<T, String>,
}

impl<T> Form<T> {
    const fn new(expected: &'static str, read: fn(&str) -> Result<T, String>) -> Self {
        Self { expected, shown: true, read }
    }

    pub(super) const fn unshown(expected: &'static str, read: fn(&str) -> Result<T, String>) -> Self {
        Self { expected, shown: false, read }
    }
}

/// Any text.
pub(super) const TEXT: Form<String> = Form::unshown("text in quotes", |text| Ok(text.to_owned()));
/// Text that is not empty.
pub(super) const WORD: Form<String> = Form::unshown("text in quotes", word);
/// The path of a file to read.
pub(super) const PATH: Form<PathBuf> =
    Form::unshown("a path in quotes", |text| word(text).map(PathBuf::from));
/// A duration that may be zero.
pub(super) const DURATION: Form<Duration> =
    Form::new("a duration in quotes, such as \"30s\" or \"5m\"", duration);
/// A duration above zero.
pub(super) const POSITIVE_DURATION: Form<Duration> = Form::new(DURATION.expected, positive_duration);
/// A number of bytes.
pub(super) const SIZE: Form<usize> = Form::new("a size in quotes, such as \"1MiB\" or \"256KiB\"", size);
/// The mode of a file.
pub(super) const FILE_MODE: Form<Mode> = Form::new("a mode in quotes, such as \"0400\"", file_mode);
/// The mode of a directory.
pub(super) const DIRECTORY_MODE: Form<Mode> = Form::new("a mode in quotes, such as \"0755\"", directory_mode);
/// A user or group by name; digits are its number.
pub(super) const ACCOUNT: Form<Account> = Form::new("a name in quotes or a number", account);
/// A signal that asks a process to end.
pub(super) const STOP_SIGNAL: Form<Signal> =
    Form::new("a signal in quotes, such as \"SIGTERM\"", stop_signal);
/// A path on a secret server.
pub(super) const SERVER_PATH: Form<String> =
    Form::new("a path in quotes, such as \"secret/app/db\"", server_path);

/// A signal by its name, with or without `SIG`, in any case. Signals that no process can handle are refused.
pub(super) fn signal(text: &str) -> Result<Signal, String> {
    match named_signal(text) {
        Some(signal @ (Signal::SIGKILL | Signal::SIGSTOP)) => Err(format!(
            "cannot be a reaction, because no process can handle {signal}; write \"restart\" to begin anew"
        )),
        Some(signal) => Ok(signal),
        None => Err(unknown_signal(text, &["restart", "none"])),
    }
}

/// Without empty parts and `.`: the relative path of one published file.
pub(super) fn relative_path(path: &Path) -> Result<PathBuf, String> {
    for component in path.components() {
        if component == Component::ParentDir {
            return Err("leads out of `output.dir`; leave out `..`".to_owned());
        }
        if component.as_os_str().as_encoded_bytes().starts_with(b"..") {
            return Err(
                "has a part that begins with `..`; such names are squire's own in `output.dir`".to_owned()
            );
        }
    }
    normalized(path).filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| "names no file".to_owned())
}

/// Without empty parts and `.`: an absolute path that is not the root directory.
pub(super) fn absolute_path(path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err("is not an absolute path; begin it with `/`".to_owned());
    }
    let path = normalized(path).ok_or("contains `..`; write the path that is meant")?;
    if path.parent().is_none() { Err("is the root directory".to_owned()) } else { Ok(path) }
}

/// `None` for a path with `..`, whose meaning depends on symbolic links.
fn normalized(path: &Path) -> Option<PathBuf> {
    let climbs = path.components().any(|component| component == Component::ParentDir);
    let parts = path.components().filter(|component| *component != Component::CurDir);
    (!climbs).then(|| parts.collect())
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Whole numbers with units, each unit at most once, the longest first.
fn duration(text: &str) -> Result<Duration, String> {
    /// Longer durations are mistakes, and adding them to a time could overflow.
    const LONGEST: Duration = Duration::from_hours(87600);
    const UNITS: [(&str, u64); 5] =
        [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];
    const WAY_OUT: &str = "write whole numbers with d, h, m, s or ms, the longest first: \"30s\", \"1h30m\"";
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has no unit; write for example \"30s\", \"5m\" or \"100ms\"".to_owned());
    }
    let malformed = || format!("is not a duration; {WAY_OUT}");
    let mut milliseconds = 0_u64;
    let mut units = UNITS.into_iter();
    let mut rest = text;
    loop {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        // The search continues after the last unit, so the order of units is strict.
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if number.is_empty() {
            return Err(malformed());
        }
        // Digits alone are not a number only if there are too many of them; such a number is above the limit anyway.
        let part = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
        milliseconds = milliseconds.saturating_add(part);
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST {
        Err("is longer than 3650d, the longest there is".to_owned())
    } else {
        Ok(duration)
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("has to be longer than zero".to_owned()) } else { Ok(duration) }
}

fn file_mode(text: &str) -> Result<Mode, String> {
    let mode = mode(text, "\"0400\"")?;
    if mode.bits() > 0o777 {
        return Err(
            "has a setuid, setgid or sticky bit, which a file of secrets never needs; write \"0400\""
                .to_owned(),
        );
    }
    Ok(mode)
}

fn directory_mode(text: &str) -> Result<Mode, String> {
    let mode = mode(text, "\"0755\"")?;
    if mode.bits() & 0o700 != 0o700 {
        return Err("locks its owner out; the owner's digit has to be 7, as in \"0755\"".to_owned());
    }
    Ok(mode)
}

fn mode(text: &str, example: &str) -> Result<Mode, String> {
    octal(text)
        .map(Mode)
        .ok_or_else(|| format!("is not a mode; write three or four digits from 0 to 7, such as {example}"))
}

/// Three or four octal digits.
pub(super) fn octal(text: &str) -> Option<u32> {
    let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

fn account(text: &str) -> Result<Account, String> {
    if text.is_empty() {
        return Err("names nobody".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return account_number(text.parse().unwrap_or(i128::MAX));
    }
    Ok(Account::Name(text.to_owned()))
}

/// A user's or group's number. The largest `u32` means "leave as it is" to chown(2), so it cannot be one.
pub(super) fn account_number(number: i128) -> Result<Account, String> {
    match u32::try_from(number) {
        Ok(id) if id < u32::MAX => Ok(Account::Id(id)),
        Ok(_) | Err(_) => {
            Err("is not the number of a user or group; they go from 0 to 4294967294".to_owned())
        }
    }
}

/// A whole number of a unit, from 1 KiB to 1 GiB; the units also as `mount` has them.
fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 6] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("k", 1 << 10),
        ("m", 1 << 20),
        ("g", 1 << 30),
    ];
    const WAY_OUT: &str = "write a whole number with KiB, MiB or GiB, such as \"1MiB\"";
    let unit = UNITS.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)));
    let digits =
        unit.filter(|(digits, _)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let (digits, unit) = digits.ok_or_else(|| format!("is not a size; {WAY_OUT}"))?;
    let bytes = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(0) => Err("has to be larger than nothing".to_owned()),
        Some(bytes @ ..=0x4000_0000) => Ok(bytes),
        Some(_) | None => Err("is larger than 1GiB; a secret is held in memory".to_owned()),
    }
}

fn stop_signal(text: &str) -> Result<Signal, String> {
    match named_signal(text) {
        Some(Signal::SIGKILL) => {
            Err("gives the process no chance to stop; leave it out, and say with `stop_timeout` when to kill"
                .to_owned())
        }
        Some(Signal::SIGSTOP) => {
            Err("only suspends a process; write a signal that ends it, such as \"SIGTERM\"".to_owned())
        }
        Some(signal) => Ok(signal),
        None => Err(unknown_signal(text, &[])),
    }
}

fn named_signal(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    Signal::iterator().find(|signal| short_name(*signal) == name)
}

fn unknown_signal(text: &str, other_words: &[&'static str]) -> String {
    let text = text.to_ascii_uppercase();
    let names = Signal::iterator().map(short_name).chain(other_words.iter().copied());
    let quoted = |word: &&str| format!("{word:?}");
    match text::nearest(text.strip_prefix("SIG").unwrap_or(&text), names) {
        Some(near) if other_words.contains(&near) => format!("is unknown; did you mean \"{near}\"?"),
        Some(near) => format!("is no signal; did you mean \"SIG{near}\"?"),
        None if other_words.is_empty() => {
            "is no signal; write for example \"SIGTERM\" or \"SIGINT\"".to_owned()
        }
        None => {
            let words = other_words.iter().map(quoted).collect::<Vec<_>>().join(", ");
            format!(
                "is unknown; write {words}, a signal such as \"SIGHUP\", or {{ run = [\"/path/to/command\"] }}"
            )
        }
    }
}

fn short_name(signal: Signal) -> &'static str {
    signal.as_str().strip_prefix("SIG").unwrap_or(signal.as_str())
}

fn server_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        return Err("names nothing".to_owned());
    }
    if path.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err(
            "contains `?` or `#`; a version is chosen with `version = 3`, and parameters go into `params`"
                .to_owned(),
        );
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(
            "has an empty part, `.` or `..` between its slashes; write the path that is meant".to_owned()
        );
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units_the_longest_first() {
        let right = [
            ("0s", 0),
            ("100ms", 100),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("90m", 5_400_000),
            ("3650d", 315_360_000_000),
        ];
        for (text, milliseconds) in right {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        let wrong = [
            "", "s", "-1s", "+1s", "1.5h", "5 m", " 5m", "5m ", "5M", "5min", "1m1h", "1s1s", "1h5", "٣s",
            "1w",
        ];
        for text in wrong {
            let why = duration(text).unwrap_err();
            assert!(why.starts_with("is not a duration; write"), "{text}: {why}");
        }
        assert!(duration("30").unwrap_err().starts_with("has no unit"));
        for text in ["3650d1ms", "99999999999999999999999s", "18446744073709551615s1000ms"] {
            assert!(duration(text).unwrap_err().starts_with("is longer than 3650d"), "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_of_one_unit() {
        for (text, bytes) in [
            ("1KiB", 1 << 10),
            ("1536KiB", 1536 << 10),
            ("16MiB", 16 << 20),
            ("16m", 16 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "MiB", "1M", "1MB", "1.5MiB", " 1MiB", "1 MiB", "-1MiB", "+1MiB", "1mib"] {
            assert!(size(text).unwrap_err().starts_with("is not a size; write"), "{text}");
        }
        for text in ["2GiB", "1025MiB", "99999999999999999999GiB", "18014398509481985KiB"] {
            assert!(size(text).unwrap_err().starts_with("is larger than 1GiB"), "{text}");
        }
        assert!(size("0KiB").is_err());
    }

    #[test]
    fn modes_are_three_or_four_octal_digits() {
        for (text, bits) in [("400", 0o400), ("0400", 0o400), ("0777", 0o777), ("000", 0)] {
            assert_eq!(file_mode(text), Ok(Mode::new(bits)), "{text}");
        }
        for text in ["", "40", "00400", "999", "0o400", "+400", "rw-", "1777", "2755", "4755"] {
            assert!(file_mode(text).is_err(), "{text}");
        }
        for (text, bits) in [("755", 0o755), ("2750", 0o2750), ("1777", 0o1777)] {
            assert_eq!(directory_mode(text), Ok(Mode::new(bits)), "{text}");
        }
        for text in ["644", "0500", "0077"] {
            assert!(directory_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_have_their_name_with_or_without_sig_in_any_case() {
        for text in ["SIGHUP", "HUP", "hup", "SigHup"] {
            assert_eq!(signal(text), Ok(Signal::SIGHUP), "{text}");
        }
        for text in ["KILL", "sigstop", "1", "", "SIG", "SIGSIGHUP", "RTMIN"] {
            assert!(signal(text).is_err(), "{text}");
        }
        assert_eq!(stop_signal("quit"), Ok(Signal::SIGQUIT));
        assert_eq!(stop_signal("SIGTRM").unwrap_err(), "is no signal; did you mean \"SIGTERM\"?");
    }

    #[test]
    fn paths_lose_what_means_nothing() {
        let relative = |text: &str| relative_path(Path::new(text)).ok();
        for (text, path) in
            [("a", "a"), ("./a//b/", "a/b"), ("a/./b", "a/b"), (".a..", ".a.."), ("a b", "a b")]
        {
            assert_eq!(relative(text), Some(PathBuf::from(path)), "{text}");
        }
        for text in ["", ".", "./", "..", "a/..", "../a", "a/../b", "..data", "a/..b"] {
            assert_eq!(relative(text), None, "{text}");
        }
        let absolute = |text: &str| absolute_path(Path::new(text)).ok();
        assert_eq!(absolute("//a/./b//"), Some(PathBuf::from("/a/b")));
        for text in ["/", "//", "/.", "a", "", "/a/..", "/../a"] {
            assert_eq!(absolute(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_relative_path_stays_below_its_directory(text in "([a.][a./]{0,11})?") {
            if let Ok(path) = relative_path(Path::new(&text)) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(path.components().next().is_some());
            }
        }

        #[test]
        fn what_a_form_lets_in_keeps_its_promise(text in "\\PC{0,20}|[0-9]{0,22}[dhms]{0,2}|[0-7]{0,5}|[a./?]{0,12}") {
            if let Ok(duration) = positive_duration(&text) {
                prop_assert!(!duration.is_zero() && duration <= Duration::from_hours(87600));
            }
            if let Ok(mode) = file_mode(&text) {
                prop_assert!(mode.bits() <= 0o777);
            }
            if let Ok(path) = server_path(&text) {
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
