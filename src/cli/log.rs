//! Logs on stderr: text on a terminal, JSON otherwise. stdout is the process's.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging, as `SQUIRE_LOG` and `SQUIRE_LOG_FORMAT` say.
pub(super) fn start() {
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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // It can only fail where a log was started already, which then serves as well.
    drop(if text {
        subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    } else {
        subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    });
}
