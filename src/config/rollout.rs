//! `[rollout]`: how a release is checked, tried and committed.
//!
//! *Invariant:* a check of the staged files needs relative files, and a probe asks exactly one thing.

use std::time::Duration;

use super::process::{RUN_TIMEOUT, command, count};
use super::reader::{Table, Value, every};
use super::value::{DURATION, Form, POSITIVE_DURATION};
use super::window;
use super::{HttpProbe, ProbeConfig, ProbeKind, Proof, RolloutConfig, RunCommand};

const SETTLE: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(30);
/// As for a readiness probe of Kubernetes: often enough to lose no time, seldom enough to cost nothing.
const PERIOD: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The placeholder for the staged directory in a check.
pub(super) const STAGED: &str = "{dir}";

/// Reads `[rollout]`. `has_dir` is whether there is a directory of relative files.
pub(super) fn rollout(table: Option<Table<'_>>, has_dir: bool) -> RolloutConfig {
    let mut rollout = RolloutConfig {
        settle: SETTLE,
        grace: GRACE,
        checks: Vec::new(),
        proof: Proof::default(),
        window: None,
    };
    let Some(mut table) = table else { return rollout };
    rollout.settle = table.read("settle", &DURATION).unwrap_or(SETTLE);
    rollout.grace = table.read("grace", &DURATION).unwrap_or(GRACE);
    rollout.checks = table.take("check").and_then(|value| checks(&value, has_dir)).unwrap_or_default();
    rollout.proof = table.take("probe").and_then(|value| proof(&value)).unwrap_or_default();
    rollout.window = table.take("window").and_then(|value| window::window(&value));
    table.finish();
    rollout
}

fn checks(value: &Value<'_>, has_dir: bool) -> Option<Vec<RunCommand>> {
    const EXPECTED: &str =
        "a list of commands, each a list: [[\"/usr/local/bin/app\", \"--check\", \"{dir}\"]]";
    let items = value.list(EXPECTED)?;
    every(items.iter().map(|item| check(item, has_dir)))
}

/// A command, or a table with its own timeout.
fn check(value: &Value<'_>, has_dir: bool) -> Option<RunCommand> {
    let check = if value.is_list() {
        RunCommand { command: command(value)?, timeout: RUN_TIMEOUT }
    } else {
        let mut table = value.table("a command such as [\"/usr/local/bin/app\", \"--check\", \"{dir}\"]")?;
        let run = table.require("run", "run = [\"/path/to/command\"]").and_then(|run| command(&run));
        let timeout = table.read("timeout", &POSITIVE_DURATION).unwrap_or(RUN_TIMEOUT);
        table.finish();
        RunCommand { command: run?, timeout }
    };
    if !has_dir && check.command.iter().any(|word| word.contains(STAGED)) {
        value.report("asks for the staged files with `{dir}`, and there are none; write [output] with dir = \"/run/secrets/app\"");
        return None;
    }
    Some(check)
}

fn proof(value: &Value<'_>) -> Option<Proof> {
    if value.is_text() { value.read(&NO_PROOF) } else { probe(value).map(Proof::Probe) }
}

const PROBE: &str =
    "\"none\", or a table such as { http = \"http://127.0.0.1:8080/healthz\", timeout = \"30s\" }";

const NO_PROOF: Form<Proof> = Form {
    expected: PROBE,
    shown: true,
    read: |text| match text {
        "none" => Ok(Proof::Nothing),
        _ => Err("is unknown; write \"none\", or a table such as { alive = \"5s\" }".to_owned()),
    },
};

fn probe(value: &Value<'_>) -> Option<ProbeConfig> {
    let mut table = value.table(PROBE)?;
    let kind = kind(&mut table);
    let mut duration = |key, default| table.read(key, &POSITIVE_DURATION).unwrap_or(default);
    let period = duration("period", PERIOD);
    let timeout = duration("timeout", TIMEOUT);
    let attempt_timeout = duration("attempt_timeout", ATTEMPT_TIMEOUT);
    let successes = table.take("successes").and_then(|number| count(&number)).unwrap_or(1);
    let failures = table.take("failures").and_then(|number| count(&number));
    let place = table.place().clone();
    table.finish();
    Some(ProbeConfig { kind: kind?, period, timeout, attempt_timeout, successes, failures, place })
}

/// Exactly one of them.
fn kind(table: &mut Table<'_>) -> Option<ProbeKind> {
    let asked = ["http", "tcp", "command", "alive", "notify"].map(|key| table.take(key));
    let written: Vec<_> = asked.iter().flatten().collect();
    match written.as_slice() {
        [_] => {}
        [] => {
            table.report("asks nothing; write one of http = \"http://…\", tcp = \"HOST:PORT\", command = [\"…\"], alive = \"5s\" or notify = true");
            return None;
        }
        [_, second, ..] => {
            second.report(
                "asks a second thing; a probe asks one: `http`, `tcp`, `command`, `alive` or `notify`",
            );
            return None;
        }
    }
    let (status, body) = (table.take("status"), table.take("body"));
    if asked[0].is_none() {
        for value in status.iter().chain(&body) {
            value.report("is about the answer to `http`, which is not asked");
        }
    }
    let [http, tcp, program, alive, notify] = asked;
    if let Some(url) = http {
        let (url, status) = (url.read(&PLAIN_URL), status.map(|status| self::status(&status)));
        let body = body.map(|body| body.text());
        let given = |option: Option<Option<String>>| option.map_or(Some(None), |value| value.map(Some));
        let status = status.map_or(Some(None), |value| value.map(Some));
        return Some(ProbeKind::Http(HttpProbe { url: url?, status: status?, body: given(body)? }));
    }
    tcp.and_then(|address| address.read(&HOST_AND_PORT))
        .map(ProbeKind::Tcp)
        .or_else(|| program.and_then(|program| command(&program)).map(ProbeKind::Command))
        .or_else(|| alive.and_then(|time| time.read(&POSITIVE_DURATION)).map(ProbeKind::Alive))
        .or_else(|| notify.and_then(|notify| self::notify(&notify)))
}

fn notify(value: &Value<'_>) -> Option<ProbeKind> {
    let is_asked = value.boolean()?;
    if !is_asked {
        value.report("asks nothing; write notify = true, or leave the probe out");
    }
    is_asked.then_some(ProbeKind::Notify)
}

fn status(value: &Value<'_>) -> Option<u16> {
    let status = value
        .integer()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|status| (100..600).contains(status));
    if status.is_none() {
        value.report("is no status of HTTP; write a number such as 200");
    }
    status
}

pub(super) const PLAIN_URL: Form<String> = Form {
    expected: "an address such as \"http://127.0.0.1:8080/healthz\"",
    shown: true,
    read: |text| {
        let host = text.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        match text.parse::<hyper::Uri>() {
            Ok(uri) if uri.host().is_some() && host.is_some_and(|host| !host.is_empty() && !host.contains('@')) => {
                Ok(text.to_owned())
            }
            Ok(_) | Err(_) => {
                Err("is no address that can be asked; write \"http://HOST:PORT/PATH\" (it is asked without TLS, so it should be on this machine)"
                    .to_owned())
            }
        }
    },
};

const HOST_AND_PORT: Form<String> = Form {
    expected: "a host and a port such as \"127.0.0.1:5432\"",
    shown: true,
    read: |text| match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err("is not a host and a port; write for example \"127.0.0.1:5432\"".to_owned()),
    },
};
