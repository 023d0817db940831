//! The path of a request, in the one form that it has.
//!
//! Who attacks: a client that writes a path so that Squire reads one and the server, or a load balancer before it, another. So what could
//! be read in two ways is refused, and not tidied up.
//!
//! *Invariant:* pure. No part is empty (but the last, of a list), `.` or `..`; there is no control character, backslash or percent sign, and
//! what is encoded anew and decoded is the same.

use percent_encoding::percent_decode_str;

use super::Refusal;

/// The longest path, in bytes: what is encoded is three times as long at most, and fits into the head of a request.
const LONGEST_PATH: usize = 4 << 10;

/// A path of the API, decoded, without `/v1/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// Reads the path of a request line.
    pub(super) fn read(raw: &str) -> Result<Self, Refusal> {
        let below = raw.strip_prefix("/v1/").ok_or(Refusal::Form)?;
        let lower = below.to_ascii_lowercase();
        if lower.contains("%2f") || lower.contains("%5c") || below.len() > LONGEST_PATH {
            return Err(Refusal::Form);
        }
        let text = percent_decode_str(below).decode_utf8().map_err(|_| Refusal::Form)?;
        let is_odd = |c: char| c.is_control() || matches!(c, '%' | '\\' | '\u{fffd}');
        let parts = text.strip_suffix('/').unwrap_or(&text).split('/');
        let is_dot = |part: &str| matches!(part.trim(), "" | "." | "..");
        if text.contains(is_odd) || parts.into_iter().any(is_dot) {
            return Err(Refusal::Form);
        }
        Ok(Self(text.into_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form_or_is_refused() {
        let good = [
            ("/v1/secret/data/app", "secret/data/app"),
            ("/v1/secret/metadata/", "secret/metadata/"),
            ("/v1/secret/data/a%20b%3Fc", "secret/data/a b?c"),
            ("/v1/secret/%64ata/app", "secret/data/app"),
            ("/v1/secret/data/...", "secret/data/..."),
            ("/v1/secret/data/%C3%A4", "secret/data/ä"),
        ];
        for (raw, text) in good {
            assert_eq!(Path::read(raw).map(Path::into_text).as_deref(), Ok(text), "{raw}");
        }
        let bad = [
            "",
            "/",
            "/v1",
            "/v1/",
            "/V1/secret/data/app",
            "/v2/secret/data/app",
            "//v1/secret/data/app",
            "/v1//secret/data/app",
            "/v1/secret//data/app",
            "/v1/secret/data/app//",
            "/v1/secret/data/app/../other",
            "/v1/secret/data/./app",
            "/v1/secret/data/app/%2e%2e/other",
            "/v1/secret/data/app/%2E./other",
            "/v1/secret/data/app%2Fother",
            "/v1/secret/data/app%2fother",
            "/v1/secret/data/app%5C..%5Cother",
            "/v1/secret/data/app\\other",
            "/v1/secret/data/app%252Fother",
            "/v1/secret/data/%25",
            "/v1/secret/data/app%00",
            "/v1/secret/data/app%0d%0aX: y",
            "/v1/secret/data/app%ff",
            "/v1/secret/data/%20/app",
            "http://other/v1/secret/data/app",
        ];
        for raw in bad {
            assert_eq!(Path::read(raw), Err(Refusal::Form), "{raw}");
        }
        assert_eq!(Path::read(&format!("/v1/{}", "a".repeat(LONGEST_PATH + 1))), Err(Refusal::Form));
    }
}
