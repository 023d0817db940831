//! What two agents rendered → what differs, in words that anybody may read.
//!
//! *Invariant:* pure. Of what was rendered nothing is said but the numbers of lines, and the beginning and end of a line as far as they stand
//! in the template: those are no secret.

use std::fmt::Write as _;

use crate::import::Subject;
use crate::plain::plain;

/// Shorter ones are not looked for as values: they are found in any text.
const SHORTEST: usize = 4;

/// A file or a variable on both sides.
pub(super) struct Compared<'a> {
    pub(super) subject: &'a Subject,
    /// What Squire rendered.
    pub(super) here: Option<&'a [u8]>,
    pub(super) there: There<'a>,
    /// In Squire's language.
    pub(super) template: &'a str,
    /// Paths at which each reader gets something of its own.
    pub(super) made_for_each: &'a [String],
}

/// What the agent has of it.
#[derive(Clone, Copy)]
pub(super) enum There<'a> {
    /// This.
    Text(&'a [u8]),
    /// It was to render it, and did not.
    Nothing,
    /// It was not asked: a template there writes this file beside its own, or is such a template, or one that asks others than the server.
    NotAsked,
}

impl<'a> Compared<'a> {
    /// What was rendered of it.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a [u8]> {
        let there = match self.there {
            There::Text(text) => Some(text),
            There::Nothing | There::NotAsked => None,
        };
        self.here.into_iter().chain(there)
    }
}

/// What of it could be a value: what its template does not say.
pub(super) fn unknown(part: &Compared<'_>) -> Vec<String> {
    let pieces = pieces(part.template);
    let lines = part.texts().flat_map(|text| text.split(|byte| *byte == b'\n'));
    let unknown = lines.flat_map(|line| {
        let (start, end) = known(line, &pieces);
        let inside = line.get(start.len()..line.len() - end.len()).unwrap_or_default();
        let words = inside.split(|byte| byte.is_ascii_whitespace() || b"\"'=,;".contains(byte));
        std::iter::once(inside)
            .chain(words)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect::<Vec<_>>()
    });
    unknown.filter(|value| value.len() >= SHORTEST).collect()
}

/// A line or more for each, and whether everything is the same.
pub(super) fn report(parts: &[Compared<'_>]) -> (String, bool) {
    let mut text = String::new();
    let mut is_same = true;
    for part in parts {
        let name = match part.subject {
            Subject::File(path) => plain(path).into_owned(),
            Subject::Variable(name) => format!("variable {}", plain(name)),
        };
        let verdict = match (part.here, part.there) {
            (Some(here), There::Text(there)) if here == there => "same",
            (Some(_), There::Text(_)) => "differs",
            (None, There::Text(_)) => "only there",
            (Some(_), There::Nothing) => "only here",
            (None, There::Nothing) => "nowhere",
            (_, There::NotAsked) => "not compared",
        };
        // Writing to a `String` cannot fail.
        writeln!(text, "{verdict:<12}  {name}").unwrap_or_default();
        is_same &= matches!(verdict, "same" | "not compared");
        if let (Some(here), There::Text(there)) = (part.here, part.there)
            && here != there
        {
            text.push_str(&difference(here, there, part));
        }
        if matches!(part.there, There::NotAsked) {
            text.push_str(
                "    a template there writes files by itself or starts a program, which a comparison does not let it do, or asks Consul or Nomad\n",
            );
        }
    }
    (text, is_same)
}

fn difference(here: &[u8], there: &[u8], part: &Compared<'_>) -> String {
    let lines = |text| <[u8]>::split_inclusive(text, |byte| *byte == b'\n').collect::<Vec<_>>();
    let [here, there]: [Vec<&[u8]>; 2] = [lines(here), lines(there)];
    // They differ, so one line does, or one of them is longer.
    let at = here.iter().zip(&there).take_while(|(here, there)| here == there).count();
    let pieces = pieces(part.template);
    let line = |lines: &[&[u8]]| match lines.get(at) {
        Some(line) => shown(line, &pieces),
        None => "(it has ended)".to_owned(),
    };
    let mut text =
        format!("    from line {} on ({} lines there, {} here)\n", at + 1, there.len(), here.len());
    if let (Some(here), Some(there)) = (here.get(at), there.get(at))
        && let Some(how) = how(here, there)
    {
        writeln!(text, "    {how}").unwrap_or_default();
    }
    writeln!(text, "    there: {}\n    here:  {}", line(&there), line(&here)).unwrap_or_default();
    for path in part.made_for_each {
        writeln!(
            text,
            "    {} makes something of its own for each reader, so this differs by nature",
            plain(path)
        )
        .unwrap_or_default();
    }
    text
}

/// What kind of difference it is, if that can be told.
fn how(here: &[u8], there: &[u8]) -> Option<&'static str> {
    let without_end = |line: &[u8]| line.strip_suffix(b"\n").map_or(line.to_vec(), <[u8]>::to_vec);
    if without_end(here) == without_end(there) {
        return Some("one of them has no newline at its end");
    }
    let dense =
        |line: &[u8]| line.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
    (dense(here) == dense(there)).then_some("only white space differs")
}

/// What stands literally in a template of Squire's, by lines.
fn pieces(template: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    loop {
        let start = rest.find("{{").unwrap_or(rest.len());
        let (literal, tag) = rest.split_at(start);
        pieces.extend(literal.split('\n').filter(|piece| !piece.trim().is_empty()));
        let end = if tag.starts_with("{{!--") { "--}}" } else { "}}" };
        match tag.find(end).and_then(|at| tag.get(at + end.len()..)) {
            Some(after) => rest = after,
            None => return pieces,
        }
    }
}

/// The longest beginning and end of a line that stand in the template, apart from each other.
fn known<'l>(line: &'l [u8], pieces: &[&str]) -> (&'l [u8], &'l [u8]) {
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let starts = |piece: &&&str| line.starts_with(piece.as_bytes());
    let start = longest(&mut pieces.iter().filter(starts).map(|piece| piece.len()));
    let rest = line.get(start..).unwrap_or_default();
    let ends = |piece: &&&str| rest.ends_with(piece.as_bytes());
    let end = longest(&mut pieces.iter().filter(ends).map(|piece| piece.len()));
    line.split_at_checked(start)
        .map_or((&[], &[]), |(start, _)| (start, rest.get(rest.len() - end..).unwrap_or_default()))
}

/// A line without what could be a value.
fn shown(line: &[u8], pieces: &[&str]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (start, end) = known(line, pieces);
    let hidden = if start.len() + end.len() < line.len() { "***" } else { "" };
    let text = format!("{}{hidden}{}", String::from_utf8_lossy(start), String::from_utf8_lossy(end));
    if text.is_empty() { "(an empty line)".to_owned() } else { plain(&text).into_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: &str =
        "# the database\nuser={{db.user}}\npassword=\"{{db.password}}\"\n{{!-- LEFT OUT: {{x}} --}}";

    fn of(here: Option<&str>, there: There<'_>, made_for_each: &[String]) -> (String, bool) {
        let subject = Subject::File("/run/a".to_owned());
        let here = here.map(str::as_bytes);
        report(&[Compared { subject: &subject, here, there, template: TEMPLATE, made_for_each }])
    }

    #[test]
    fn what_differs_is_said_without_a_value() {
        let text = |text: &'static str| There::Text(text.as_bytes());
        let leased = ["database/creds/app".to_owned()];
        let cases = [
            (Some("a\n"), text("a\n"), &[][..], true, "same          /run/a\n"),
            (Some("a"), There::Nothing, &[], false, "only here     /run/a\n"),
            (None, text("a"), &[], false, "only there    /run/a\n"),
            (None, There::Nothing, &[], false, "nowhere       /run/a\n"),
            (
                Some("user=hunter2\n"),
                text("user=hunter3\n"),
                &leased,
                false,
                "differs       /run/a\n    from line 1 on (1 lines there, 1 here)\n    there: user=***\n    here:  user=***\n    \
                 database/creds/app makes something of its own for each reader, so this differs by nature\n",
            ),
            (
                Some("# the database\npassword=\"hunter2\""),
                text("# the database\npassword=\"hunter2\"\n\n"),
                &[],
                false,
                "differs       /run/a\n    from line 2 on (3 lines there, 2 here)\n    one of them has no newline at its end\n    \
                 there: password=\"***\"\n    here:  password=\"***\"\n",
            ),
            (
                Some("user= hunter2\n"),
                text("user=hunter2\n"),
                &[],
                false,
                "differs       /run/a\n    from line 1 on (1 lines there, 1 here)\n    only white space differs\n    \
                 there: user=***\n    here:  user=***\n",
            ),
            (
                Some("# the database\n"),
                text("# the database\nhunter2\n"),
                &[],
                false,
                "differs       /run/a\n    from line 2 on (2 lines there, 1 here)\n    there: ***\n    here:  (it has ended)\n",
            ),
        ];
        for (here, there, made_for_each, is_same, expected) in cases {
            assert_eq!(of(here, there, made_for_each), (expected.to_owned(), is_same));
        }
        let (said, is_same) = of(Some("a"), There::NotAsked, &[]);
        assert!(said.starts_with("not compared  /run/a\n") && is_same);
    }

    proptest! {
        /// Values of letters that neither the template nor our words have.
        #[test]
        fn no_value_is_shown(here in "(\n|user=|[QXZ]{1,9}| |\"){0,12}", there in "(\n|user=|[QXZ]{1,9}|\"){0,12}") {
            let (said, is_same) = of(Some(&here), There::Text(there.as_bytes()), &[]);
            prop_assert!(!said.contains(['Q', 'X', 'Z']), "{said}");
            prop_assert_eq!(is_same, here == there);
        }

        #[test]
        fn any_template_has_pieces(template in "(\\{\\{|\\}\\}|--|!|a|\n|é){0,20}", line in "\\PC{0,12}") {
            prop_assert!(shown(line.as_bytes(), &pieces(&template)).len() <= line.len() * 8 + 20);
        }
    }
}
