//! Logs on stderr: text on a terminal, JSON otherwise. stdout belongs to the process.

mod queue;

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal};
use std::panic;
use std::thread;

use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::plain::{plain, plain_json};

pub(super) use queue::Queue;

/// Starts logging, as configured by `SQUIRE_LOG` and `SQUIRE_LOG_FORMAT`. If no thread can be started, there is no log.
pub(super) fn start() -> Option<Queue> {
    let (wanted, format) = (variable("SQUIRE_LOG"), variable("SQUIRE_LOG_FORMAT"));
    let (filter, no_filter) =
        filter(&wanted).map_or_else(|why| (default_filter(), Some(why)), |good| (good, None));
    let (text, no_format) = match format.as_str() {
        "text" => (true, None),
        "json" => (false, None),
        "" => (io::stderr().is_terminal(), None),
        other => {
            let why = format!("SQUIRE_LOG_FORMAT: {other:?} is unknown; write text or json");
            (io::stderr().is_terminal(), Some(why))
        }
    };
    let queue = if text {
        Queue::start(missing_as_text, |line| line)
    } else {
        Queue::start(missing_as_json, harmless)
    };
    let queue = queue.ok()?;
    // The layer would write its own errors to stderr, and panic if it cannot.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(queue.clone());
    let filter =
        filter.or(filter_fn(is_own_error).with_max_level_hint(Level::ERROR)).and(filter_fn(holds_no_body));
    // This fails only if a log was started already, and then that one is used.
    drop(if text {
        let layer = layer.fmt_fields(debug_fn(field).delimited(" "));
        let layer = layer.with_ansi(io::stderr().is_terminal()).with_target(false);
        registry().with(layer.with_filter(filter)).try_init()
    } else {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry().with(layer.with_filter(filter)).try_init()
    });
    panic::set_hook(Box::new(panicked));
    for why in no_filter.into_iter().chain(no_format) {
        tracing::warn!(why, "the log is as if this variable were not set");
    }
    Some(queue)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default().trim().to_owned()
}

/// An error that ends Squire is logged whatever the filter is.
fn is_own_error(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR && metadata.target().starts_with("squire")
}

/// The SDK for AWS logs whole requests and answers if its own variable asks for that. Our log never contains a value, whoever asks for it.
fn holds_no_body(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE
        || !metadata.target().starts_with("aws_smithy_runtime::client::orchestrator")
}

/// Most messages of libraries are of no use to an operator of Squire.
fn default_filter() -> Targets {
    Targets::new().with_default(Level::WARN).with_target("squire", Level::INFO)
}

/// Levels, and modules with a level. A word alone has to be a level: the library would take a misspelt one for a module, which silences
/// everything.
fn filter(wanted: &str) -> Result<Targets, String> {
    if wanted.is_empty() {
        return Ok(default_filter());
    }
    for directive in wanted.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "SQUIRE_LOG: {level:?} is no level; write error, warn, info, debug, trace or off, or a module with one, such as \
                 squire::session=debug"
            ));
        }
    }
    let wanted = wanted.replace(char::is_whitespace, "");
    wanted.parse().map_err(|_| {
        format!("SQUIRE_LOG: {wanted:?} cannot be read; write a level, or modules with one, such as squire::session=debug")
    })
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// One field of a line for people: a duration with its unit, and no character that controls a terminal.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = plain(&value);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => match name.strip_suffix("_s") {
            Some(name) => write!(writer, "{name}={value}s"),
            None => write!(writer, "{name}={value}"),
        },
    }
}

/// A line of JSON with the same meaning, and without a character that acts on whoever reads it on a terminal.
fn harmless(line: Vec<u8>) -> Vec<u8> {
    match str::from_utf8(&line).map(|text| plain_json(text.trim_end_matches('\n'))) {
        Ok(Cow::Owned(text)) => (text + "\n").into_bytes(),
        Ok(Cow::Borrowed(_)) | Err(_) => line,
    }
}

/// Logs a panic in one line. Its message is left out, because it may quote a value.
fn panicked(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current().name().unwrap_or("a thread").to_owned();
    tracing::error!(place, thread, "this is a bug in squire: it panicked; please report it");
}

fn missing_as_text(lines: u64) -> String {
    format!("WARN {lines} lines of the log are missing: they could not be written in time\n")
}

fn missing_as_json(lines: u64) -> String {
    let message = "lines of the log are missing: they could not be written in time";
    format!("{}\n", serde_json::json!({ "level": "WARN", "message": message, "missing": lines }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_does_nothing_to_a_terminal_and_means_the_same() {
        let text = "a\u{202e}b\u{2028}\u{feff}\u{9b}31m\u{7f} Zürich";
        let line = format!("{}\n", serde_json::json!({ "error": text, "n": 1 }));
        let shown = String::from_utf8(harmless(line.into_bytes())).unwrap();
        let (body, end) = shown.split_at(shown.len() - 1);
        assert!(body.chars().all(crate::plain::is_seen) && body.contains("\\u202e"), "{body}");
        assert_eq!(
            (serde_json::from_str::<serde_json::Value>(body).unwrap()["error"].as_str(), end),
            (Some(text), "\n")
        );
        assert_eq!(harmless(b"{\"a\":1}\n".to_vec()), b"{\"a\":1}\n");
    }

    #[test]
    fn a_word_alone_is_a_level() {
        for good in ["", "info", "DEBUG", "off", "warn,squire::session=debug", "squire=trace, hyper=off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["information", "infoo,debug", "squire=verbose", "hyper", "info,", "squire::session"] {
            let why = filter(bad).unwrap_err();
            assert!(why.contains("error, warn, info, debug, trace or off"), "{why}");
        }
    }
}
