//! One line of the audit: an entry as JSON, and at its end the link that binds it to all lines before it.
//!
//! ```text
//! {"n":12,"at":"2026-11-30T09:00:00.123Z","what":"fetch","outcome":"done",…,"link":"<64 digits>"}
//! ```
//!
//! The link is made over all bytes before `,"link"`. So a line is checked as it was written, and no reader of JSON is between.
//!
//! *Invariant:* pure. Each line ends with a newline, and has no other.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::chain::{BEFORE_ALL, ChainKey, Link, Point, Spot, Writer};
use crate::fact::audit::Record;
use crate::hex::{hex, unhex};
use crate::plain::plain_json;

/// What continues a chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// What only Squire and its anchor have.
    pub key: ChainKey,
    /// Which chain it is.
    pub log: Writer,
}

/// An entry of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1 on.
    pub n: u64,
    /// When, in UTC.
    pub at: String,
    /// What was done.
    pub what: String,
    /// How it went.
    pub outcome: String,
    /// At which source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// As whom there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// What the source calls the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accessor: Option<String>,
    /// The secrets that it is about, by their names in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The path at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What the server calls the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The rollout that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The unit of systemd that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What that unit calls its credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Of a head: the link before it, so that it can be checked without what was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Of a head: what was not as Squire had left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Of what is lost: how many entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The word of the lines that begin a file or a run.
pub const HEAD: &str = "audit";

impl Entry {
    /// What the audit keeps of this. Its number comes when it is written.
    pub fn of(record: Record, at: SystemTime) -> Self {
        let Record {
            what,
            outcome,
            source,
            login,
            accessor,
            secrets,
            path,
            lease,
            generation,
            request,
            trace,
            unit,
            credential,
        } = record;
        Self {
            at: time(at),
            what: what.to_owned(),
            outcome: outcome.to_owned(),
            source: source.map(|source| source.to_string()),
            login: login.map(|login| (*login).to_owned()),
            accessor: accessor.map(|accessor| accessor.to_string()),
            secrets: secrets.iter().map(ToString::to_string).collect(),
            path,
            lease: lease.map(|lease| lease.to_string()),
            generation: generation.map(crate::names::Generation::number),
            request_id: request.map(|request| request.to_string()),
            trace: trace.map(|trace| trace.to_string()),
            unit,
            credential,
            ..Self::default()
        }
    }

    /// The first line of a file, or of a run. `outcome` says which.
    pub fn head(outcome: &str, found: Option<String>, at: SystemTime) -> Self {
        Self { at: time(at), what: HEAD.to_owned(), outcome: outcome.to_owned(), found, ..Self::default() }
    }

    /// So many entries could not be kept until they could be written.
    pub fn lost(count: u64, at: SystemTime) -> Self {
        Self { count: Some(count), ..Self::head("lost", None, at) }
    }

    fn is_head(&self) -> bool {
        self.what == HEAD
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// A line as it was read.
#[derive(Debug)]
pub struct Line<'a> {
    /// What it says.
    pub entry: Entry,
    /// The link that stands at its end.
    pub link: Link,
    body: &'a [u8],
}

const BEFORE_LINK: &[u8] = b",\"link\":\"";
const AFTER_LINK: &[u8] = b"\"}";

impl<'a> Line<'a> {
    /// Reads a line, without its newline. `None` if it has not this form to the letter.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let rest = text.strip_suffix(AFTER_LINK)?;
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(2 * BEFORE_ALL.len())?)?;
        let body = rest.strip_suffix(BEFORE_LINK)?;
        let digits = std::str::from_utf8(digits).ok()?;
        // Two ways to write a link would be two lines that count as one.
        let link = unhex(digits).filter(|link| hex(link) == digits)?;
        let entry = serde_json::from_slice(text).ok()?;
        Some(Self { entry, link, body })
    }

    /// Whether it follows this point.
    pub fn follows(&self, chain: &Chain, before: &Point) -> bool {
        before.number.checked_add(1) == Some(self.entry.n) && self.link_after(chain, before) == self.link
    }

    /// The link that it had to have after this point.
    pub fn link_after(&self, chain: &Chain, before: &Point) -> Link {
        let number = before.number.saturating_add(1);
        Spot { number, before: &before.link, writer: &chain.log }.link_under(&chain.key, self.body)
    }

    /// The point that a head says to follow, and follows.
    pub fn own_beginning(&self, chain: &Chain) -> Option<Point> {
        let link = unhex(self.entry.after.as_deref().filter(|_| self.entry.is_head())?)?;
        let before = Point { number: self.entry.n.checked_sub(1)?, link };
        self.follows(chain, &before).then_some(before)
    }

    /// Where the chain is after it.
    pub fn point(&self) -> Point {
        Point { number: self.entry.n, link: self.link }
    }
}

/// Adds an entry to the text of a file, and moves the point on. A head says which point it follows.
pub fn write(chain: &Chain, tip: &mut Point, mut entry: Entry, text: &mut Vec<u8>) {
    entry.n = tip.number.saturating_add(1);
    if entry.is_head() {
        entry.after = Some(hex(&tip.link));
    }
    // Text and numbers can always be written.
    let body = serde_json::to_string(&entry).unwrap_or_default();
    // A server chooses the name of its lease, and people read the file on a terminal.
    let mut body = plain_json(&body).into_owned().into_bytes();
    body.pop();
    let link = Spot { number: entry.n, before: &tip.link, writer: &chain.log }.link_under(&chain.key, &body);
    text.append(&mut body);
    text.extend_from_slice(BEFORE_LINK);
    text.extend_from_slice(hex(&link).as_bytes());
    text.extend_from_slice(AFTER_LINK);
    text.push(b'\n');
    *tip = Point { number: entry.n, link };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain { key: ChainKey::new([1; 32]), log: [2; 16] }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_follows_what_was_before_it() {
        let (chain, mut tip, mut text) = (chain(), Point::NONE, Vec::new());
        let head = Entry::head("begun", None, SystemTime::UNIX_EPOCH);
        write(&chain, &mut tip, head, &mut text);
        let odd = Entry {
            path: Some("a\",\"link\":\"\n\u{1b}\u{202e}\u{9b}é".to_owned()),
            what: "fetch".to_owned(),
            ..Entry::default()
        };
        write(&chain, &mut tip, odd.clone(), &mut text);
        let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let [first, second] = lines[..] else { panic!("{text:?}") };
        let (first, second) = (Line::read(first).unwrap(), Line::read(second).unwrap());
        assert_eq!(first.own_beginning(&chain), Some(Point::NONE));
        assert!(text.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()));
        assert!(
            str::from_utf8(&text).unwrap().contains(r"\u202e\u009b"),
            "whoever reads the file is not deceived"
        );
        assert_eq!(second.entry, Entry { n: 2, ..odd });
        assert!(second.follows(&chain, &first.point()) && !second.follows(&chain, &Point::NONE));
        assert_eq!((second.own_beginning(&chain), second.point()), (None, tip));
        let other = Chain { key: ChainKey::new([3; 32]), ..chain };
        assert!(!second.follows(&other, &first.point()), "without the key nobody continues it");
    }

    #[test]
    fn what_has_not_the_form_to_the_letter_is_no_line() {
        let (mut tip, mut text) = (Point::NONE, Vec::new());
        write(&chain(), &mut tip, Entry::head("begun", None, SystemTime::UNIX_EPOCH), &mut text);
        let text = String::from_utf8(text).unwrap();
        let line = text.trim_end();
        let digits = hex(&tip.link);
        assert!(Line::read(line.as_bytes()).is_some());
        for odd in [
            "",
            "{}",
            &text,
            &format!("{line} "),
            &line.replace(&digits, &digits.to_uppercase()),
            &line.replace("\"n\":1", "\"n\":one"),
            &line[1..],
        ] {
            assert!(Line::read(odd.as_bytes()).is_none(), "{odd}");
        }
    }
}
