//! The status as text for a terminal.
//!
//! *Invariants:* pure, apart from [`width`]. No line is longer than the terminal is wide, and what others wrote (names, messages of servers)
//! is harmless on it.

use std::time::Duration;

use crate::plain::plain;
use crate::status::{
    CredentialPlace, CredentialStatus, Moment, Next, Outcome, ProcessStatus, RolloutStatus, SecretStatus,
    SourceState, SourceStatus, Status, UnitCredentialStatus,
};

/// The width where nobody says it.
const USUAL_WIDTH: usize = 100;

/// So many rollouts are shown.
const ROLLOUTS: usize = 5;

/// How many columns there are: of the terminal on stdout, else `COLUMNS`.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    terminal.filter(|width| *width > 0).or(columns).unwrap_or(USUAL_WIDTH).max(40)
}

/// The whole of it.
pub(super) fn table(status: &Status, width: usize) -> String {
    let at = status.at;
    let mut lines = vec![head(status)];
    lines.extend(status.ready.reasons.iter().map(|reason| format!("  {reason}")));
    if let Some(since) = status.on_hold_since {
        lines.push(format!("rollouts    on hold for {}, by order", ago(since, at)));
    }
    if status.configuration.is_former {
        lines.push("config      the one before holds: what was asked for last is not reloaded".to_owned());
        lines.extend(status.configuration.problems.iter().map(|problem| format!("  {problem}")));
    }
    lines.extend(status.process.as_ref().map(|process| process_line(process, at)));
    lines.push(String::new());
    lines.extend(rows(SOURCES, status.sources.iter().map(|source| source_row(source, at)).collect()));
    lines.push(String::new());
    lines.extend(rows(SECRETS, status.secrets.iter().map(|secret| secret_row(secret, at)).collect()));
    if !status.credentials.is_empty() {
        lines.push(String::new());
        lines.extend(rows(CREDENTIALS, status.credentials.iter().map(credential_row).collect()));
    }
    let troubles = troubles(status);
    if !troubles.is_empty() {
        lines.push(String::new());
        lines.extend(troubles);
    }
    if !status.rollouts.is_empty() {
        lines.push(String::new());
        let rollouts = status.rollouts.iter().take(ROLLOUTS);
        lines.extend(rows(ROLLOUT, rollouts.map(|rollout| rollout_row(rollout, at)).collect()));
    }
    let lines = lines.iter().map(|line| clipped(&plain(line), width));
    lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn head(status: &Status) -> String {
    let word = if status.ready.is_ready { "ready" } else { "NOT READY" };
    let number = |generation: Option<crate::names::Generation>| {
        generation.map_or("none".to_owned(), |generation| generation.to_string())
    };
    let (live, wanted) = (number(status.generation.live), number(status.generation.wanted));
    let generation = if live == wanted { live } else { format!("{live}, {wanted} is wanted") };
    format!(
        "{word}: generation {generation}; squire {} runs for {} as {}",
        status.version,
        ago(status.since, status.at),
        status.pid
    )
}

fn process_line(process: &ProcessStatus, at: Moment) -> String {
    let ids: Vec<_> = process.pids.iter().map(ToString::to_string).collect();
    let state = match (process.since, process.again_at) {
        (Some(since), _) => format!("{} runs for {}", ids.join(" and "), ago(since, at)),
        (None, Some(again)) => format!("does not run; is started {}", ahead(again, at)),
        (None, None) => "does not run".to_owned(),
    };
    let ending = process.last_ending.as_ref().map(|ending| format!("; the last one ended: {ending}"));
    format!("process     {state}; {} started so far{}", process.starts, ending.unwrap_or_default())
}

const SOURCES: [&str; 6] = ["SOURCE", "TYPE", "STATE", "TOKEN ENDS", "NEXT", "CREDENTIAL"];

fn source_row(source: &SourceStatus, at: Moment) -> Vec<String> {
    let state = match source.state {
        SourceState::LoggedIn => "logged in",
        SourceState::LoggingIn => "logging in",
        SourceState::LoginFailing => "login fails",
        SourceState::Unreachable => "unreachable",
        SourceState::Busy => "busy",
        SourceState::Stopping => "stopping",
    };
    let ends = match &source.token {
        Some(token) => token.ends.map_or("never".to_owned(), |ends| ahead(ends, at)),
        None => "–".to_owned(),
    };
    let next = source.token.as_ref().and_then(|token| token.next);
    let credential = source.credential.as_ref().map_or("–".to_owned(), |held| credential(held, at));
    vec![source.name.to_string(), source.kind.clone(), state.to_owned(), ends, planned(next, at), credential]
}

fn credential(held: &CredentialStatus, at: Moment) -> String {
    let uses = held.uses_left.map(|uses| format!("{uses} uses left"));
    let ends = held.ends.map(|ends| format!("ends {}", ahead(ends, at)));
    let place = match held.from {
        CredentialPlace::File => held.written_in.clone(),
        CredentialPlace::Memory | CredentialPlace::Ledger => format!("in {}", held.from.word()),
    };
    [Some(place), uses, ends].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

const SECRETS: [&str; 7] = ["SECRET", "STATE", "VALUE", "CHANGED", "ENDS", "NEXT", "PATH"];

fn secret_row(secret: &SecretStatus, at: Moment) -> Vec<String> {
    let value = match secret.live {
        Some(live) if live == secret.revision => format!("#{live}"),
        Some(live) => format!("#{live} of {}", secret.revision),
        None => "–".to_owned(),
    };
    vec![
        secret.name.to_string(),
        secret.state.word().to_owned(),
        value,
        secret.changed.map_or("–".to_owned(), |changed| format!("{} ago", ago(changed, at))),
        secret.ends.map_or("never".to_owned(), |ends| ahead(ends, at)),
        planned(secret.next, at),
        format!("{}: {}", secret.source, secret.path),
    ]
}

const CREDENTIALS: [&str; 4] = ["CREDENTIAL", "HELD BY", "OUTDATED", "FOR"];

fn credential_row(credential: &UnitCredentialStatus) -> Vec<String> {
    let listed = |units: &[String]| if units.is_empty() { "–".to_owned() } else { units.join(", ") };
    let UnitCredentialStatus { name, units, held_by, outdated } = credential;
    vec![name.clone(), listed(held_by), listed(outdated), listed(units)]
}

/// What is wrong, a line each.
fn troubles(status: &Status) -> Vec<String> {
    let sources = status.sources.iter().filter_map(|source| {
        source.trouble.as_ref().map(|trouble| format!("source {}: {trouble}", source.name))
    });
    let secrets = status.secrets.iter().filter_map(|secret| {
        secret.trouble.as_ref().map(|trouble| format!("secret {}: {trouble}", secret.name))
    });
    let unrendered = status.unrendered.iter().map(|why| format!("the newest values make no release: {why}"));
    sources.chain(secrets).chain(unrendered).collect()
}

const ROLLOUT: [&str; 6] = ["GENERATION", "OUTCOME", "WHEN", "TOOK", "NEW", "REASON"];

fn rollout_row(rollout: &RolloutStatus, at: Moment) -> Vec<String> {
    let doing = rollout.steps.last().map_or("begins", |step| step.step.word());
    let names: Vec<_> = rollout.secrets.iter().map(ToString::to_string).collect();
    vec![
        rollout.generation.to_string(),
        rollout.outcome.map_or_else(|| doing.to_owned(), |outcome: Outcome| outcome.word().to_owned()),
        format!("{} ago", ago(rollout.began, at)),
        rollout.ended.and_then(|ended| ended.since(rollout.began)).map_or("–".to_owned(), short),
        names.join(", "),
        rollout.reason.clone().unwrap_or_default(),
    ]
}

fn planned(next: Option<Next>, at: Moment) -> String {
    next.map_or("–".to_owned(), |next| format!("{} {}", next.action.word(), ahead(next.at, at)))
}

fn ago(then: Moment, now: Moment) -> String {
    short(now.since(then).unwrap_or_default())
}

fn ahead(then: Moment, now: Moment) -> String {
    match then.since(now) {
        Some(left) if !left.is_zero() => format!("in {}", short(left)),
        _ => match now.since(then).unwrap_or_default() {
            late if late < Duration::from_secs(1) => "now".to_owned(),
            late => format!("{} ago", short(late)),
        },
    }
}

/// A duration in its two largest units: `3 h 20 min` says enough.
fn short(duration: Duration) -> String {
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Columns as wide as what is in them, with two blanks between.
fn rows<const N: usize>(head: [&str; N], rows: Vec<Vec<String>>) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let all: Vec<_> = std::iter::once(head).chain(rows).collect();
    let wide =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| wide(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        row.iter().zip(&widths).fold(String::new(), |line, (cell, width)| line + &format!("{cell:width$}  "))
    };
    all.iter().map(line).collect()
}

fn clipped(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}
