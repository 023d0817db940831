//! `[process]`: the child, and the reaction of a change.
//!
//! *Invariant:* a new value in the environment always leads to a restart: a running process cannot get it.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::output;
use super::reader::{Table, Value, every};
use super::rollout::PLAIN_URL;
use super::value::{self, Form, POSITIVE_DURATION, STOP_SIGNAL, WORD};
use super::{
    Act, Action, EnvConfig, EnvFrom, HttpCall, Place, ProcessConfig, ProcessTokenConfig, Reaction,
    RestartConfig, RestartMode, RestartPolicy, RunCommand, SettingConfig, SignalTarget, SignalTo, setting,
};
use crate::names::{SecretName, SourceName};
use crate::ordered::Order as _;

/// From the stop signal to SIGKILL; other supervisors and Kubernetes use the same.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const RUN_TIMEOUT: Duration = Duration::from_secs(30);
/// A process that fails this often in this time does not fail by chance.
const RESTART_LIMIT: u32 = 5;
const RESTART_PERIOD: Duration = Duration::from_mins(5);

/// Reads `[process]`.
pub(super) fn process(table: Option<Table<'_>>) -> ProcessConfig {
    let nothing = SettingConfig {
        user: None,
        group: None,
        groups: None,
        working_dir: None,
        umask: None,
        env_clear: false,
        env_pass: Vec::new(),
        env_deny: Vec::new(),
        limits: BTreeMap::new(),
        no_new_privs: false,
        place: Place::default(),
    };
    let mut process = ProcessConfig {
        command: None,
        env: BTreeMap::new(),
        env_from: Vec::new(),
        token: None,
        on_change: Reaction::Restart,
        stop_signal: Signal::SIGTERM,
        stop_timeout: STOP_TIMEOUT,
        restart: RestartConfig { policy: RestartPolicy::Never, limit: RESTART_LIMIT, period: RESTART_PERIOD },
        restart_mode: RestartMode::Replace,
        listen: Vec::new(),
        setting: nothing,
        said: None,
    };
    let Some(mut table) = table else { return process };
    let says_how = |key: &str| !matches!(key, "env" | "env_from");
    process.said =
        table.named().into_iter().find(|(key, _)| says_how(key)).map(|(_, value)| value.place().clone());
    // A wrong command was still meant as one, so there is no second problem that a command is missing.
    process.command = table.take("command").map(|command| self::command(&command).unwrap_or_default());
    let env = table.table("env", "a table such as { DATABASE_URL = \"{{db.url}}\" }");
    process.env_from = table.take("env_from").map(|from| env_from(&from)).unwrap_or_default();
    let variables_by = match (env.as_ref().is_some_and(|env| !env.is_empty()), process.env_from.as_slice()) {
        (true, _) => Some("process.env"),
        (false, [_, ..]) => Some("process.env_from"),
        (false, []) => None,
    };
    process.env = env.map(|env| variables(&env)).unwrap_or_default();
    if let Some(value) = table.take("on_change") {
        process.on_change = reaction(&value).unwrap_or(process.on_change);
        if let Some(key) = variables_by
            && matches!(process.on_change, Reaction::Signal(_) | Reaction::Act(_))
        {
            value.report(format!(
                "`{key}` is set, and a running process cannot be given a new environment; \
                 write \"restart\", or \"none\" to let changes wait for the next start"
            ));
        }
    }
    process.token = token(&mut table);
    process.stop_signal = table.read("stop_signal", &STOP_SIGNAL).unwrap_or(process.stop_signal);
    process.stop_timeout = table.read("stop_timeout", &POSITIVE_DURATION).unwrap_or(process.stop_timeout);
    process.restart = restart(&mut table, process.restart);
    process.restart_mode = table.read("restart_mode", &RESTART_MODE).unwrap_or(process.restart_mode);
    process.listen = setting::listen(&mut table);
    process.setting = setting::setting(&mut table);
    table.finish();
    process
}

/// `vault_token` and `restart_on_new_token`.
fn token(table: &mut Table<'_>) -> Option<ProcessTokenConfig> {
    let (source, restarts) = (table.take("vault_token"), table.take("restart_on_new_token"));
    let Some(source) = source else {
        if let Some(restarts) = restarts {
            restarts.report("needs `vault_token` beside it, which says whose token the process gets");
        }
        return None;
    };
    let restarts = restarts.map_or(Some(false), |restarts| restarts.boolean());
    let place = source.place().clone();
    let source = source.read(&WORD).map(|name| SourceName::new(&name));
    Some(ProcessTokenConfig { source: source?, restarts: restarts?, place })
}

fn restart(table: &mut Table<'_>, default: RestartConfig) -> RestartConfig {
    RestartConfig {
        policy: table.read("restart", &RESTART).unwrap_or(default.policy),
        limit: table.take("restart_limit").and_then(|limit| count(&limit)).unwrap_or(default.limit),
        period: table.read("restart_period", &POSITIVE_DURATION).unwrap_or(default.period),
    }
}

const RESTART: Form<RestartPolicy> = Form {
    expected: "\"never\", \"on-failure\" or \"always\"",
    shown: true,
    read: |text| match text {
        "never" => Ok(RestartPolicy::Never),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        _ => Err("is unknown; write \"never\", \"on-failure\" or \"always\"".to_owned()),
    },
};

const RESTART_MODE: Form<RestartMode> = Form {
    expected: "\"replace\" or \"overlap\"",
    shown: true,
    read: |text| match text {
        "replace" => Ok(RestartMode::Replace),
        "overlap" => Ok(RestartMode::Overlap),
        _ => Err("is unknown; write \"replace\" or \"overlap\"".to_owned()),
    },
};

/// A number of times: at least once.
pub(super) fn count(value: &Value<'_>) -> Option<u32> {
    let Some(number) = value.integer() else {
        value.expected("a number, such as 5");
        return None;
    };
    let count = u32::try_from(number).ok().filter(|count| *count > 0);
    if count.is_none() {
        value.report("has to be between 1 and 4294967295");
    }
    count
}

/// Reads an `on_change`.
pub(super) fn reaction(value: &Value<'_>) -> Option<Reaction> {
    if value.is_text() {
        return value.read(&REACTION);
    }
    let mut table = value.table(REACTION.expected)?;
    let kinds = ["run", "signal", "http"].map(|key| table.take(key).is_some());
    let act = match kinds {
        [false, true, false] => signal_to(&mut table).map(Act::SignalTo),
        [false, false, true] => call(&mut table).map(Act::Call),
        [_, false, false] => run(&mut table).map(Act::Run),
        [..] => {
            table.report("asks for more than one thing; write one of `run`, `signal` and `http`");
            return None;
        }
    };
    let is_required = table.take("required").map_or(Some(false), |required| required.boolean());
    table.finish();
    Some(Reaction::Act(Action { act: act?, is_required: is_required? }))
}

fn run(table: &mut Table<'_>) -> Option<RunCommand> {
    let command = table.require("run", "run = [\"/path/to/command\"]").and_then(|run| self::command(&run));
    let timeout = table.read("timeout", &POSITIVE_DURATION).unwrap_or(RUN_TIMEOUT);
    Some(RunCommand { command: command?, timeout })
}

fn signal_to(table: &mut Table<'_>) -> Option<SignalTo> {
    let signal = table.read("signal", &SIGNAL);
    let (pid_file, process) = (table.take("pid_file"), table.take("process"));
    let target = match (pid_file, process) {
        (Some(file), None) => output::absolute(&file).map(SignalTarget::PidFile),
        (None, Some(process)) => process.read(&value::WORD).map(SignalTarget::Process),
        (Some(_), Some(process)) => {
            process.report("`pid_file` is there too; keep one of the two");
            None
        }
        (None, None) => {
            table.report(
                "does not say whom to signal; write pid_file = \"/run/nginx.pid\" or process = \"nginx\"",
            );
            None
        }
    };
    Some(SignalTo { signal: signal?, target: target? })
}

fn call(table: &mut Table<'_>) -> Option<HttpCall> {
    let url = table.read("http", &PLAIN_URL);
    let method = table.read("method", &METHOD).unwrap_or_else(|| "POST".to_owned());
    let timeout = table.read("timeout", &POSITIVE_DURATION).unwrap_or(RUN_TIMEOUT);
    Some(HttpCall { method, url: url?, timeout })
}

const SIGNAL: Form<Signal> =
    Form { expected: "a signal in quotes, such as \"HUP\"", shown: true, read: value::signal };

const METHOD: Form<String> = Form {
    expected: "a method in quotes, such as \"POST\"",
    shown: true,
    read: |text| {
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_token {
            Ok(text.to_owned())
        } else {
            Err("is no method; write for example \"POST\"".to_owned())
        }
    },
};

const REACTION: Form<Reaction> = Form {
    expected: "\"restart\", \"none\", a signal such as \"SIGHUP\", or { run = [\"/path/to/command\"] }",
    shown: true,
    read: |text| match text {
        "restart" => Ok(Reaction::Restart),
        "none" => Ok(Reaction::Nothing),
        signal => value::signal(signal).map(Reaction::Signal),
    },
};

/// A program and its arguments. Arguments may be empty, the program may not.
pub(super) fn command(value: &Value<'_>) -> Option<Vec<String>> {
    let items = value.list(
        "a list of the program and each argument, such as [\"/usr/local/bin/app\", \"--port\", \"8080\"]",
    )?;
    let command: Option<Vec<String>> = every(items.iter().map(Value::text));
    let command = command?;
    if command.first().is_none_or(String::is_empty) {
        value.report("names no program; write it first, such as [\"/usr/local/bin/app\"]");
        return None;
    }
    Some(command)
}

/// Names of secrets, or tables that also say how the variables are called.
fn env_from(value: &Value<'_>) -> Vec<EnvFrom> {
    const EXPECTED: &str = "a list of secrets, such as [\"app\"] or [{ secret = \"db\", prefix = \"DB_\" }]";
    let items = value.list(EXPECTED).unwrap_or_default();
    items.iter().filter_map(|item| from_secret(item, EXPECTED)).collect()
}

fn from_secret(value: &Value<'_>, expected: &str) -> Option<EnvFrom> {
    let place = value.place().clone();
    let plain = |secret: String| EnvFrom {
        secret: SecretName::new(&secret),
        prefix: String::new(),
        suffix: String::new(),
        upper: false,
        sanitize: false,
        place,
    };
    if value.is_text() {
        return value.read(&WORD).map(plain);
    }
    let mut table = value.table(expected)?;
    let secret = table.require("secret", "secret = \"app\"").and_then(|secret| secret.read(&WORD));
    let (prefix, suffix) = (table.read("prefix", &WORD), table.read("suffix", &WORD));
    let (upper, sanitize) = (table.boolean("upper"), table.boolean("sanitize"));
    table.finish();
    Some(EnvFrom {
        prefix: prefix.unwrap_or_default(),
        suffix: suffix.unwrap_or_default(),
        upper: upper.unwrap_or_default(),
        sanitize: sanitize.unwrap_or_default(),
        ..plain(secret?)
    })
}

fn variables(table: &Table<'_>) -> BTreeMap<String, EnvConfig> {
    let variable = |(name, value): (&str, Value<'_>)| {
        // The kernel takes any character except `=`. No program looks for names with white space or control characters, and shells and
        // tools do not agree on them.
        let is_foreign = |c: char| c == '=' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.contains(is_foreign) {
            value.report(
                "is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character",
            );
        }
        let template = value.verbatim("a template in quotes")?;
        Some((name.to_owned(), EnvConfig { template, place: value.place().clone() }))
    };
    table.named().into_iter().filter_map(variable).ordered()
}
