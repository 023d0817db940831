//! A real Prometheus that scrapes one Squire each second, with the alerts of `deploy/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::{Daemon, free_port};
use super::{SOON, scratch, wait_until};

/// `prometheus` or `promtool`: what `tests/run` unpacked, or what is installed.
pub(crate) fn prometheus_program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus/usr/bin").join(name);
    if unpacked.exists() { unpacked } else { PathBuf::from(name) }
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    // Dropped in this order: the program ends before its directory goes.
    _daemon: Daemon,
    _directory: TempDir,
    port: u16,
}

impl Prometheus {
    /// One that scrapes whatever listens on this port of this machine, and evaluates these rules.
    pub(crate) fn scraping(target: u16, rules: &Path) -> Self {
        let directory = scratch::on_disk("prometheus");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs: [{{job_name: squire, \
             static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n",
            rules.display()
        );
        std::fs::write(path("prometheus.yml"), config).unwrap();
        let port = free_port();
        let mut command = Command::new(prometheus_program("prometheus"));
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let daemon = Daemon::start(&command, Path::new(&path("log")), Signal::SIGTERM);
        let prometheus = Self { _daemon: daemon, _directory: directory, port };
        wait_until(SOON, "Prometheus answers", || prometheus.get("/-/ready", &[]).is_some());
        prometheus
    }

    /// The series that answer a query.
    ///
    /// # Panics
    /// If it is no query.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.get("/api/v1/query", &[("query", query)]).unwrap_or_default();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// Every rule, as it stands.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.get("/api/v1/rules", &[]).unwrap()).unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// An answer, whatever its status; but none while it is not ready.
    fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<String> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
        let agent: ureq::Agent = config.http_status_as_error(path.starts_with("/-")).build().into();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = agent.get(&url).query_pairs(query.iter().copied());
        request.call().ok()?.body_mut().read_to_string().ok()
    }
}
