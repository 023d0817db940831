//! Single values of the other agents → Squire's: durations, modes, mounts, signals.
//!
//! *Invariant:* pure; what cannot be read is `None`, never a guess.

/// Bits of a file's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permissions {
    /// What the agent makes of the value.
    pub(super) bits: u32,
    /// What its digits say, if a bare number has forgotten that a mode is octal: `mode = 600` gives 0o1130.
    pub(super) meant: Option<u32>,
}

/// A mode in quotes, which is octal.
pub(super) fn quoted_mode(text: &str) -> Option<Permissions> {
    let digits = text.trim();
    let bits = u32::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(Permissions { bits, meant: None })
}

/// A mode as a bare number: octal with a zero before it, else decimal.
pub(super) fn bare_mode(written: &str) -> Option<Permissions> {
    let bits = u32::try_from(number(written)?).ok()?;
    let meant = (!written.starts_with('0')).then(|| u32::from_str_radix(written, 8).ok()).flatten();
    // 420 and 416 are 0644 and 0640, as a program writes them into JSON.
    let meant = meant.filter(|_| bits > 0o777 || bits & 0o400 == 0).filter(|meant| *meant <= 0o777);
    Some(Permissions { bits, meant })
}

/// As Squire writes it; only the bits for owner, group and others.
pub(super) fn mode(bits: u32) -> Option<String> {
    (bits <= 0o777).then(|| format!("{bits:04o}"))
}

/// A whole number as the language reads it: `0x…` is hexadecimal, `0…` octal.
pub(super) fn number(written: &str) -> Option<i64> {
    let (sign, digits) = match written.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, written),
    };
    let number = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else if digits.starts_with('+') {
        return None;
    } else {
        digits.parse()
    };
    number.ok().and_then(|number: i64| number.checked_mul(sign))
}

/// A duration as Go writes it (`1h30m`, `1.5s`, also `2d` as the agents take it), or a bare number of seconds → Squire's form. Less than a
/// millisecond becomes none.
pub(super) fn duration(text: &str) -> Option<String> {
    milliseconds(text).map(written)
}

/// The same in milliseconds, up to ten years.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    const LONGEST: u128 = 3650 * 24 * 60 * 60 * 1_000_000_000;
    const UNITS: [(&str, u128); 9] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let with_unit = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    let mut rest = with_unit.as_str();
    let mut total = 0_u128;
    while !rest.is_empty() {
        let (amount, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
        if amount.len() > 18 || (whole.is_empty() && part.is_empty()) || part.contains('.') {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
        let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let part = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
        total =
            total.checked_add(whole.checked_mul(factor)?)?.checked_add(part.checked_mul(factor)? / scale)?;
        rest = tail;
    }
    (total <= LONGEST).then(|| u64::try_from(total / 1_000_000).ok()).flatten()
}

/// Whole numbers with units, the longest first: `1h30m`.
pub(super) fn written(milliseconds: u64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, length) in UNITS {
        let amount = rest / length;
        if amount > 0 {
            text.extend([&amount.to_string(), unit]);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `auth/approle/` → `approle`; `None` where it is the method's own name.
pub(super) fn mount(path: &str, method: &str) -> Option<String> {
    let path = path.trim_matches('/');
    let path = path.strip_prefix("auth/").unwrap_or(path);
    (!path.is_empty() && path != method).then(|| path.to_owned())
}

/// A signal's name with `SIG` before it, from `HUP`, `SIGHUP`, `sighup` or `1`. `None` for what no process can handle, and for the unknown.
pub(super) fn signal(text: &str) -> Option<String> {
    const NAMES: [(&str, &str); 27] = [
        ("HUP", "1"),
        ("INT", "2"),
        ("QUIT", "3"),
        ("ILL", "4"),
        ("TRAP", "5"),
        ("ABRT", "6"),
        ("BUS", "7"),
        ("FPE", "8"),
        ("USR1", "10"),
        ("SEGV", "11"),
        ("USR2", "12"),
        ("PIPE", "13"),
        ("ALRM", "14"),
        ("TERM", "15"),
        ("STKFLT", "16"),
        ("CHLD", "17"),
        ("CONT", "18"),
        ("TSTP", "20"),
        ("TTIN", "21"),
        ("TTOU", "22"),
        ("URG", "23"),
        ("XCPU", "24"),
        ("XFSZ", "25"),
        ("VTALRM", "26"),
        ("PROF", "27"),
        ("WINCH", "28"),
        ("IO", "29"),
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES
        .into_iter()
        .find(|(known, number)| *known == name || *number == text)
        .map(|(known, _)| format!("SIG{known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_become_squires() {
        let cases = [
            ("5s", Some("5s")),
            ("30", Some("30s")),
            ("1.5s", Some("1s500ms")),
            ("48h", Some("2d")),
            ("1h30m", Some("1h30m")),
            ("250ms", Some("250ms")),
            ("2d", Some("2d")),
            ("0", Some("0s")),
            (".5h", Some("30m")),
            ("", None),
            ("-5s", None),
            ("5", Some("5s")),
            ("5 s", None),
            ("s", None),
            (".s", None),
            ("1..5s", None),
            ("99999999999d", None),
            ("9999999999999999999999999s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_mode_is_what_the_agent_makes_of_it_and_what_was_meant() {
        let plain = |bits| Some(Permissions { bits, meant: None });
        assert_eq!(quoted_mode("0600"), plain(0o600));
        assert_eq!(quoted_mode("644"), plain(0o644));
        assert_eq!(quoted_mode("abc"), None);
        assert_eq!(bare_mode("0644"), plain(0o644));
        assert_eq!(bare_mode("420"), plain(0o644));
        assert_eq!(bare_mode("416"), plain(0o640));
        assert_eq!(bare_mode("600"), Some(Permissions { bits: 0o1130, meant: Some(0o600) }));
        assert_eq!(bare_mode("640"), Some(Permissions { bits: 0o1200, meant: Some(0o640) }));
        assert_eq!(bare_mode("400"), Some(Permissions { bits: 0o620, meant: None }));
        assert_eq!(bare_mode("-1"), None);
    }

    #[test]
    fn signals_and_mounts() {
        for text in ["HUP", "SIGHUP", "sighup", "1"] {
            assert_eq!(signal(text).as_deref(), Some("SIGHUP"));
        }
        for text in ["KILL", "9", "SIGSTOP", "", "SIG", "0"] {
            assert_eq!(signal(text), None, "{text}");
        }
        assert_eq!(mount("auth/approle/", "approle"), None);
        assert_eq!(mount("auth/team/approle", "approle").as_deref(), Some("team/approle"));
        assert_eq!(mount("k8s", "kubernetes").as_deref(), Some("k8s"));
    }
}
