//! A real collector of OpenTelemetry, which writes down each span and each metric that it gets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::{SOON, free_port, scratch, wait_until};

/// A running collector.
pub(crate) struct Rotel {
    // Dropped in this order: the program ends before its directory goes.
    _daemon: Daemon,
    directory: TempDir,
}

impl Rotel {
    /// Listens on this port of this machine.
    pub(crate) fn start(port: u16) -> Self {
        let directory = scratch::on_disk("rotel");
        let log = directory.path().join("log");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/rotel-agent");
        let mut command = Command::new(program);
        command.arg("start").arg("--pid-file").arg(directory.path().join("pid"));
        command.args([
            "--debug-log",
            "traces",
            "--debug-log",
            "metrics",
            "--debug-log-verbosity",
            "detailed",
            "--exporter",
            "blackhole",
        ]);
        command.arg(format!("--otlp-http-endpoint=127.0.0.1:{port}"));
        command.arg(format!("--otlp-grpc-endpoint=127.0.0.1:{}", free_port()));
        let daemon = Daemon::start(&command, &log, Signal::SIGTERM);
        let rotel = Self { _daemon: daemon, directory };
        wait_until(SOON, "rotel listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        rotel
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// What it got so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The spans of this trace, each as the collector wrote it.
    pub(crate) fn spans(&self, trace: &str) -> Vec<String> {
        let said = self.said();
        let spans = said.split("Span #").skip(1).map(|span| {
            // Up to the next request.
            let span = span.split("ResourceSpans #").next().unwrap_or_default();
            span.lines().fold(String::new(), |mut text, line| {
                writeln!(text, "{}", line.trim()).unwrap();
                text
            })
        });
        spans.filter(|span| field(span, "Trace ID") == trace).collect()
    }
}

/// A field of a span.
pub(crate) fn field<'a>(span: &'a str, name: &str) -> &'a str {
    let fields = span.lines().filter_map(|line| line.split_once(':'));
    let mut found = fields.filter(|(field, _)| field.trim_start_matches("->").trim() == name);
    found.next().map(|(_, value)| value.trim()).unwrap_or_default()
}
