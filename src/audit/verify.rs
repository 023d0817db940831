//! Whether the lines of an audit are those that Squire wrote: all of them, unchanged, in their order, up to the anchor; and if not, where.
//!
//! A line that does not follow the one before it may have been edited, or lines between may be gone, or it may have been moved. The next line
//! tells which: it follows only one of the states that each of these would leave. So the verifier remembers those states, and says what
//! happened when it knows it.
//!
//! *Invariant:* pure, and one pass over the lines. Whatever was done to the lines up to the anchor, there is at least one finding.

use std::cmp::Ordering;
use std::fmt;

use super::line::{Chain, Entry, Line};
use crate::chain::Point;

/// What is remembered outside of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The number of the oldest line that is kept.
    pub oldest: u64,
    /// The newest line.
    pub newest: Point,
    /// Whether Squire has ended, so that nothing may come after it.
    pub is_closed: bool,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// In this file.
    pub file: String,
    /// At this line of it, from 1 on.
    pub line: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that is not as Squire wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where; `None` for what is not there at all.
    pub spot: Option<Spot>,
    /// What.
    pub harm: Harm,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is no line of an audit.
    Unreadable,
    /// The entry of this number was edited, or put there.
    Changed(u64),
    /// The entries with these numbers, both included, are not there.
    Missing(u64, u64),
    /// The entry of this number stands where another one has to.
    Misplaced(u64),
    /// From the entry of this number on it is another history than the one that is remembered.
    Forked(u64),
    /// Entries follow the one of this number, which was the last when Squire ended.
    Continued(u64),
    /// Squire itself found then that something was wrong before this entry.
    Noted(u64),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(spot) = &self.spot {
            write!(f, "{spot}: ")?;
        }
        match self.harm {
            Harm::Unreadable => f.write_str("is no line of the audit"),
            Harm::Changed(number) => write!(f, "entry {number} was changed, or put there by somebody else"),
            Harm::Missing(from, to) if from == to => write!(f, "entry {from} is missing before it"),
            Harm::Missing(from, to) => write!(f, "entries {from} to {to} are missing before it"),
            Harm::Misplaced(number) => write!(f, "entry {number} stands in the place of another one"),
            Harm::Forked(number) => write!(f, "entry {number} is not the one that the anchor knows"),
            Harm::Continued(number) => {
                write!(f, "follows entry {number}, which was the last when squire ended")
            }
            Harm::Noted(number) => {
                write!(f, "squire noted in entry {number} that the audit was not as it had left it")
            }
        }
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, in the order of the lines.
    pub findings: Vec<Finding>,
    /// How many lines there are.
    pub lines: u64,
    /// The last line.
    pub last: Point,
    /// How many lines were written and not yet in the anchor: Squire writes them now, or was killed just then.
    pub after_anchor: u64,
    /// How many bytes of a line follow the last one, which is the same.
    pub unfinished: usize,
}

/// A state of the chain, and what was done if this is the one.
#[derive(Debug)]
struct State {
    number: u64,
    /// `None` behind a line that cannot be read.
    link: Option<[u8; 32]>,
    finding: Option<Finding>,
}

/// Takes one line after the other.
#[derive(Debug)]
pub struct Verifier<'a> {
    chain: &'a Chain,
    remembered: Remembered,
    /// The likeliest one first; empty before the first line.
    states: Vec<State>,
    findings: Vec<Finding>,
    lines: u64,
    knows_newest: bool,
    unfinished: usize,
}

impl<'a> Verifier<'a> {
    /// A verifier of the chain that is remembered so.
    pub fn new(chain: &'a Chain, remembered: Remembered) -> Self {
        let knows_newest = remembered.newest.number == 0;
        Self {
            chain,
            remembered,
            states: Vec::new(),
            findings: Vec::new(),
            lines: 0,
            knows_newest,
            unfinished: 0,
        }
    }

    /// The next line, without its newline.
    pub fn line(&mut self, spot: Spot, bytes: &[u8]) -> Option<Entry> {
        self.lines += 1;
        let Some(line) = Line::read(bytes) else {
            self.unreadable(spot);
            return None;
        };
        if let Some(at) = self.states.iter().position(|state| state.is_followed_by(&line, self.chain)) {
            self.resolve(at);
            self.go_on(&line);
        } else if let Some(before) = line.own_beginning(self.chain) {
            self.begin(&line, before, spot.clone());
            self.go_on(&line);
        } else {
            self.break_at(&line, &spot);
        }
        if line.entry.found.is_some() {
            self.findings.push(Finding { spot: Some(spot), harm: Harm::Noted(line.entry.n) });
        }
        Some(line.entry)
    }

    /// What is behind the last newline. It is no harm if the anchor does not know of it.
    pub fn unfinished(&mut self, spot: Spot, bytes: &[u8]) {
        let number = self.states.first().map_or(0, |state| state.number);
        if number < self.remembered.newest.number || self.remembered.is_closed {
            self.unreadable(spot);
        } else {
            self.unfinished = bytes.len();
        }
    }

    /// The end of the last line.
    pub fn finish(mut self) -> Verdict {
        let Remembered { oldest, newest, is_closed } = self.remembered;
        let before = oldest.saturating_sub(1);
        let last = self.states.first();
        let last = Point {
            number: last.map_or(before, |state| state.number),
            link: last.and_then(|state| state.link).unwrap_or_default(),
        };
        if !self.states.is_empty() {
            self.resolve(0);
        }
        if last.number < newest.number {
            self.findings.push(Finding { spot: None, harm: Harm::Missing(last.number + 1, newest.number) });
        } else if !self.knows_newest && self.findings.is_empty() {
            self.findings.push(Finding { spot: None, harm: Harm::Forked(newest.number) });
        }
        let after_anchor = last.number.saturating_sub(newest.number);
        if is_closed && after_anchor > 0 {
            self.findings.push(Finding { spot: None, harm: Harm::Continued(newest.number) });
        }
        Verdict {
            findings: self.findings,
            lines: self.lines,
            last,
            after_anchor,
            unfinished: self.unfinished,
        }
    }

    /// The line is right, and so this is the state.
    fn go_on(&mut self, line: &Line<'_>) {
        let Point { number, link } = line.point();
        let Point { number: newest, link: anchored } = self.remembered.newest;
        if number == newest {
            self.knows_newest = link == anchored;
            if !self.knows_newest {
                self.findings.push(Finding { spot: None, harm: Harm::Forked(number) });
            }
        }
        self.states = vec![State { number, link: Some(link), finding: None }];
    }

    /// Says what was done in this state; the first one is the likeliest, where no later line told.
    fn resolve(&mut self, at: usize) {
        let finding = self.states.get_mut(at).and_then(|state| state.finding.take());
        self.findings.extend(finding);
    }

    /// A head that follows the point which it names, and not what is before it here.
    fn begin(&mut self, line: &Line<'_>, before: Point, spot: Spot) {
        self.resolve(0);
        let number = line.entry.n;
        let last = self.states.first().map_or(self.remembered.oldest.saturating_sub(1), |state| state.number);
        let harm = match number.cmp(&last.saturating_add(1)) {
            Ordering::Greater => Some(Harm::Missing(last + 1, number - 1)),
            Ordering::Less if self.states.is_empty() => None,
            Ordering::Less => Some(Harm::Misplaced(number)),
            Ordering::Equal => {
                let known = self.states.first().and_then(|state| state.link);
                known.filter(|known| *known != before.link).map(|_| Harm::Changed(last))
            }
        };
        self.findings.extend(harm.map(|harm| Finding { spot: Some(spot), harm }));
    }

    /// A line that follows none of the states.
    fn break_at(&mut self, line: &Line<'_>, spot: &Spot) {
        self.resolve(0);
        let Point { number, link: claimed } = line.point();
        let claimed = Some(claimed);
        let finding = |harm| Some(Finding { spot: Some(spot.clone()), harm });
        let oldest = self.remembered.oldest.saturating_sub(1);
        let (base, before) = self.states.first().map_or((oldest, None), |state| (state.number, state.link));
        let here = base.saturating_add(1);
        let made = before.map(|link| line.link_after(self.chain, &Point { number: base, link }));
        let edited = |link| State { number: here, link, finding: finding(Harm::Changed(here)) };
        let misplaced = |at, link| State { number: at, link, finding: finding(Harm::Misplaced(number)) };
        self.states = match number.cmp(&here) {
            Ordering::Equal => vec![edited(claimed), edited(made)],
            Ordering::Greater => {
                let gap = finding(Harm::Missing(here, number - 1));
                vec![State { number, link: claimed, finding: gap }, edited(claimed)]
            }
            Ordering::Less => vec![misplaced(base, before), misplaced(number, claimed), edited(claimed)],
        };
    }

    fn unreadable(&mut self, spot: Spot) {
        self.resolve(0);
        let oldest = self.remembered.oldest.saturating_sub(1);
        let (number, link) = self.states.first().map_or((oldest, None), |state| (state.number, state.link));
        let finding = Some(Finding { spot: Some(spot), harm: Harm::Unreadable });
        let in_place = State { number: number.saturating_add(1), link: None, finding: finding.clone() };
        self.states = vec![in_place, State { number, link, finding }];
    }
}

impl State {
    fn is_followed_by(&self, next: &Line<'_>, chain: &Chain) -> bool {
        match self.link {
            Some(link) => next.follows(chain, &Point { number: self.number, link }),
            // Nobody can tell whether it is unchanged, which the finding before it says.
            None => self.number.checked_add(1) == Some(next.entry.n),
        }
    }
}

#[cfg(test)]
mod tests;
