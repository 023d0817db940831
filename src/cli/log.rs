//! Logs on stderr: text on a terminal, JSON otherwise. stdout is the process's.

mod queue;

use std::io::{self, IsTerminal};
use std::panic;
use std::thread;

use tracing_subscriber::EnvFilter;

pub(super) use queue::Queue;

/// Starts logging, as `SQUIRE_LOG` and `SQUIRE_LOG_FORMAT` say. Without a thread there is no log.
pub(super) fn start() -> Option<Queue> {
    let wanted = std::env::var("SQUIRE_LOG").unwrap_or_default();
    // What a library thinks worth telling is seldom what an operator of Squire has to know.
    let directives = if wanted.trim().is_empty() { "warn,squire=info" } else { &wanted };
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .parse_lossy(directives);
    let text = match std::env::var("SQUIRE_LOG_FORMAT").as_deref() {
        Ok("text") => true,
        Ok("json") => false,
        Ok(_) | Err(_) => io::stderr().is_terminal(),
    };
    let queue = Queue::start(if text { missing_as_text } else { missing_as_json }).ok()?;
    // What the layer itself has to say it would write to stderr, and panic where that cannot be written.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let subscriber = subscriber.with_writer(queue.clone());
    // It can only fail where a log was started already, which then serves as well.
    drop(if text {
        subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    } else {
        subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    });
    panic::set_hook(Box::new(panicked));
    Some(queue)
}

/// In one line, by the log. What the panic itself says may quote a value.
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
