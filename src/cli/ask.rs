//! The commands for a Squire that runs: they ask it by its socket.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::admin::{self, SOCKET};
use super::load::{Origin, complain, configuration_of};
use super::output::say;
use super::{ConfigFile, USAGE, status};
use crate::admin::client;
use crate::admin::place::Place;
use crate::admin::refresh::Refreshed;
use crate::agent::{Summary, chain};
use crate::plain::{plain, plain_json};
use crate::status::{Readiness, Status};

/// The exit code where the answer is no.
const NO: u8 = 1;

/// Which Squire is asked.
#[derive(Args, Debug)]
pub(super) struct Which {
    #[command(flatten)]
    file: ConfigFile,
    /// Its socket, instead of the one of the configuration
    #[arg(long, value_name = "PATH", env = SOCKET)]
    socket: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Show how everything stands: secrets, leases, rollouts, the process
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: How,
    },
    /// Fetch secrets now, and roll out what changed
    #[command(after_help = REFRESH_EXAMPLES)]
    Refresh {
        #[command(flatten)]
        which: Which,
        /// The secrets to fetch [default: all]
        #[arg(value_name = "NAME")]
        secrets: Vec<String>,
        /// Wait for the outcome of the rollout; the exit code is 1 if it is not good
        #[arg(long)]
        wait: bool,
        /// How long to wait for it
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Read the configuration anew, and say what changed, or every reason why nothing did
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload {
        #[command(flatten)]
        which: Which,
        /// How long to wait for the outcome; the reload goes on after that
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Begin no rollout until `squire release`: what is live stays as it is during an incident
    Hold {
        #[command(flatten)]
        which: Which,
    },
    /// Begin rollouts again
    Release {
        #[command(flatten)]
        which: Which,
    },
    /// Go back to the values that the process had before
    Rollback {
        #[command(flatten)]
        which: Which,
    },
}

/// What of the status is shown, and how.
#[derive(Args, Debug)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct How {
    /// As JSON, as `GET /v1/status` has it
    #[arg(long)]
    json: bool,
    /// Again each second, until it is interrupted
    #[arg(long)]
    watch: bool,
    /// Nothing but the exit code, 0 or 1, and the reasons: can what it serves be relied on?
    #[arg(long)]
    ready: bool,
    /// Nothing but the exit code, 0 or 1: does it answer?
    #[arg(long)]
    live: bool,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  squire status -c /etc/squire/squire.toml
  squire status -c squire.toml --json | jq '.secrets[] | select(.state != \"fresh\")'
  squire status -c squire.toml --ready      as an exec probe, in an image without a shell

The state of a secret:
  fresh             all is well
  renewing          the question for a newer value or a longer life is out
  stale but valid   it could not be read or renewed; its value is still valid
  held              a new value was taken back; the last good one is used
  awaited           there is no value yet
  denied            the policy does not allow to read it
  gone              the source no longer has it
  expired           its value is past its end: what is published no longer works";

const REFRESH_EXAMPLES: &str = "\
Examples:
  squire refresh -c squire.toml                 ask for every secret
  squire refresh -c squire.toml db --wait       and tell whether its new value is live

What is held at its last good value is tried again.";

const RELOAD_EXAMPLES: &str = "\
Examples:
  squire reload -c squire.toml

Only what differs is fetched, written and reacted to. It waits for the rollout that follows. If the
configuration has problems, or the process is not well with it, the one before holds, and the exit
code is 1. Without a process SIGHUP does the same; agent.reload = \"watch\" does it by itself.";

/// Asks; answers with the exit code.
pub(super) fn perform(asked: Ask) -> u8 {
    let (which, result) = match asked {
        Ask::Status { which, how } => return status(&which, &how),
        Ask::Refresh { which, secrets, wait, timeout } => {
            return refresh(&which, &secrets, wait.then_some(timeout));
        }
        Ask::Reload { which, timeout } => return reload(&which, timeout),
        Ask::Hold { which } => (which, ("/v1/hold", "rollouts are on hold")),
        Ask::Release { which } => (which, ("/v1/release", "rollouts are released")),
        Ask::Rollback { which } => (which, ("/v1/rollback", "going back to the values before")),
    };
    let (path, word) = result;
    match order(&which, path, Duration::ZERO) {
        Ok((StatusCode::OK, _)) => say(&format!("{word}\n")),
        Ok((_, why)) => refused(&why),
        Err(code) => code,
    }
}

fn refused(why: &str) -> u8 {
    complain(&[why.trim_end().to_owned()]);
    NO
}

/// Whose socket is meant; or the exit code.
fn place(which: &Which) -> Result<Place, u8> {
    if let Some(socket) = &which.socket {
        return Ok(Place::parse(socket));
    }
    let origin = which.file.origin(Vec::new());
    let Origin::File(file) = &origin else {
        complain(&[format!(
            "which squire? name its configuration with -c FILE, or its socket with --socket or {SOCKET}"
        )]);
        return Err(USAGE);
    };
    let config = configuration_of(file).map_err(|mut problems| {
        problems.push(format!("so its socket is not known: name it with --socket PATH, or by {SOCKET}"));
        complain(&problems);
        USAGE
    })?;
    admin::place(&config, &origin).ok_or_else(|| {
        complain(&[format!("{}: agent.socket is \"none\", so nobody can ask this squire", file.display())]);
        USAGE
    })
}

fn order(which: &Which, target: &str, patience: Duration) -> Result<(StatusCode, String), u8> {
    ask(&place(which)?, Method::POST, target, patience)
}

fn ask(place: &Place, method: Method, target: &str, patience: Duration) -> Result<(StatusCode, String), u8> {
    client::ask(place, method, target, patience).map_err(|error| {
        complain(&[chain(&error)]);
        NO
    })
}

fn status(which: &Which, how: &How) -> u8 {
    let place = match place(which) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let result = if how.live {
        ask(&place, Method::GET, "/livez", Duration::ZERO)
            .map(|(code, _)| if code.is_success() { 0 } else { NO })
    } else if how.ready {
        ready(&place)
    } else if how.watch {
        watch(&place)
    } else {
        show(&place, how.json)
    };
    result.unwrap_or_else(|code| code)
}

fn ready(place: &Place) -> Result<u8, u8> {
    let (code, body) = ask(place, Method::GET, "/readyz", Duration::ZERO)?;
    let readiness: Readiness = read(&body)?;
    let reasons: Vec<_> = readiness.reasons.iter().map(ToString::to_string).collect();
    if !reasons.is_empty() {
        complain(&reasons);
    }
    Ok(if code.is_success() { 0 } else { NO })
}

fn show(place: &Place, as_json: bool) -> Result<u8, u8> {
    let (_, body) = ask(place, Method::GET, "/v1/status", Duration::ZERO)?;
    if as_json {
        return Ok(say(&(plain_json(body.trim_end()).into_owned() + "\n")));
    }
    Ok(say(&status::table(&read::<Status>(&body)?, status::width())))
}

/// Writes it anew each second, over the one before.
fn watch(place: &Place) -> Result<u8, u8> {
    loop {
        let (_, body) = ask(place, Method::GET, "/v1/status", Duration::ZERO)?;
        let table = status::table(&read::<Status>(&body)?, status::width());
        let code = say(&format!("\x1b[H\x1b[2J{table}"));
        if code != 0 {
            return Ok(code);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, u8> {
    serde_json::from_str(body).map_err(|error| {
        complain(&[format!(
            "the squire that runs is of another version than this one: {error}: {}",
            body.trim_end()
        )]);
        NO
    })
}

fn refresh(which: &Which, secrets: &[String], wait: Option<Duration>) -> u8 {
    let names = secrets.iter().map(|name| format!("secret={}", utf8_percent_encode(name, NON_ALPHANUMERIC)));
    let wait_for = wait.map(|wait| format!("wait={}ms", wait.as_millis()));
    let query: Vec<_> = names.chain(wait_for).collect();
    let target = format!("/v1/refresh?{}", query.join("&"));
    match order(which, &target, wait.unwrap_or_default()) {
        Ok((StatusCode::ACCEPTED, _)) => say("asked for\n"),
        Ok((StatusCode::OK | StatusCode::CONFLICT, body)) => match read::<Refreshed>(&body) {
            Ok(refreshed) => told(&refreshed),
            Err(code) => code,
        },
        Ok((_, why)) => refused(&why),
        Err(code) => code,
    }
}

fn reload(which: &Which, timeout: Duration) -> u8 {
    match order(which, "/v1/reload", timeout) {
        Ok((StatusCode::OK, body)) => match read::<Summary>(&body) {
            Ok(summary) => reloaded(&summary),
            Err(code) => code,
        },
        Ok((_, why)) => refused(&why),
        Err(code) => code,
    }
}

fn reloaded(Summary { added, removed, changed }: &Summary) -> u8 {
    let lines = [("added", added), ("removed", removed), ("changed", changed)];
    let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
    let line = |names: &[String]| plain(&names.join(", ")).into_owned();
    let text: String = lines.map(|(word, names)| word.to_owned() + ": " + &line(names) + "\n").collect();
    say(if text.is_empty() { "nothing differs\n" } else { &text })
}

fn told(refreshed: &Refreshed) -> u8 {
    if !refreshed.is_done {
        complain(&refreshed.problems);
        return NO;
    }
    let names: Vec<_> = refreshed.changed.iter().map(|name| plain(name.as_str()).into_owned()).collect();
    say(&match &refreshed.rollout {
        Some(rollout) => format!("{} changed; generation {} is live\n", names.join(", "), rollout.generation),
        None if names.is_empty() => "nothing changed\n".to_owned(),
        None => format!("{} fetched anew; nothing that is published changed\n", names.join(", ")),
    })
}
