//! What a grammar cannot carry: a helper refuses it, because what it wrote would be read as something else.
//!
//! *Invariant:* a complaint names the helper and the place in the template, never a value.

use std::borrow::Cow;

use super::{Arguments, Complaint};

/// Something that a text may have and a grammar has no way to write.
pub(super) struct Ban {
    /// As in "`db.password` has …".
    what: &'static str,
    is_in: fn(&str) -> bool,
}

/// C programs end a text there, and so would read another one.
pub(super) const NUL: Ban = Ban { what: "a NUL character", is_in: |text| text.contains('\0') };

/// Where a line is the whole entry.
pub(super) const LINE_BREAK: Ban = Ban { what: "a line break", is_in: |text| text.contains(['\n', '\r']) };

/// Where readers strip it. What they take for white space differs: this is the most.
pub(super) const OUTER_SPACE: Ban = Ban {
    what: "white space at an end",
    is_in: |text| {
        let strippable = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
        text.starts_with(strippable) || text.ends_with(strippable)
    },
};

/// Where a word ends at it.
pub(super) const SPACE: Ban = Ban { what: "white space", is_in: |text| text.contains(char::is_whitespace) };

pub(super) const CONTROL: Ban =
    Ban { what: "a control character", is_in: |text| text.contains(char::is_control) };

pub(super) const COLON: Ban = Ban { what: "a colon", is_in: |text| text.contains(':') };

impl<'a> Arguments<'a> {
    /// Text that has none of this.
    pub(super) fn text_without(&self, index: usize, bans: &[Ban]) -> Result<Cow<'a, str>, Complaint> {
        let text = self.text(index)?;
        match bans.iter().find(|ban| (ban.is_in)(&text)) {
            Some(ban) => Err(self.refuse(index, ban.what)),
            None => Ok(text),
        }
    }

    /// The complaint that this argument has what the helper cannot write.
    pub(super) fn refuse(&self, index: usize, what: &str) -> Complaint {
        Complaint::new(format_args!("{} has {what}, which `{}` cannot write", self.label(index), self.name()))
    }
}

impl Ban {
    pub(super) const fn new(what: &'static str, is_in: fn(&str) -> bool) -> Self {
        Self { what, is_in }
    }
}

/// The text with each of its characters as this writes it.
pub(super) fn each(text: &str, write: impl Fn(char, &mut String)) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    text.chars().for_each(|c| write(c, &mut written));
    written
}

/// With a backslash before each of these characters.
pub(super) fn escaped(text: &str, special: &[char]) -> String {
    each(text, |c, written| {
        if special.contains(&c) {
            written.push('\\');
        }
        written.push(c);
    })
}
