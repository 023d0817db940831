//! `squire store policy` and `rotate`: sets how secrets are rotated, and rotates them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::place::Place;
use super::{Failed, output, secret_path};
use crate::agent::chain;
use crate::config::Limit;
use crate::store::{Generator, Hooks, How, Policy, Rotated, SecretPath, Standing, Store};

/// How long a hook may take by default.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
#[command(after_help = POLICY_EXAMPLES)]
pub(super) struct PolicyAsked {
    /// ENVIRONMENT/NAME…
    path: String,
    /// The interval: 30d, 12h; without it the secret is rotated only when asked
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// How a new value is made: password, hex, base64, uuid, ed25519, rsa, command
    #[arg(long, value_name = "KIND[:OPTIONS]")]
    generate: Option<String>,
    /// The field for the new value [default: password, or the only one]
    #[arg(long)]
    field: Option<String>,
    /// Only in these hours: "Mon-Fri 02:00-04:00 UTC"
    #[arg(long = "window", value_name = "SPAN")]
    windows: Vec<String>,
    /// How long the previous version stays readable
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Each rotation needs an approval
    #[arg(long)]
    approval: bool,
    /// The commands of each rotation: a hook in the file of whoever rotates
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// How long each command may take, up to 1h [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Remove the policy
    #[arg(long, conflicts_with = "generate")]
    none: bool,
    /// Remove it even during a rotation
    #[arg(long, requires = "none")]
    force: bool,
}

const POLICY_EXAMPLES: &str = "\
Examples:
  squire store policy prod/app/token --every 30d --generate hex:bytes=32 --grace 1h
  squire store policy prod/app/db --every 7d --generate password:length=24,classes=lower+digit \\
      --window 'Sun 03:00-04:00 UTC' --hook postgres
  squire store policy prod/app/db            shows it

What a hook executes is said by whoever rotates, not here: see `squire store rotate --help`.";

#[derive(Args, Debug)]
#[command(after_help = ROTATE_EXAMPLES)]
pub(super) struct RotateAsked {
    /// These, now; with --emergency all if none is named
    paths: Vec<String>,
    /// All secrets that are due
    #[arg(long, conflicts_with_all = ["paths", "emergency"])]
    due: bool,
    /// Now, and without waiting for an approval
    #[arg(long)]
    emergency: bool,
    /// The file with the commands of the hooks that policies name
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_HOOKS")]
    hooks: Option<PathBuf>,
}

const ROTATE_EXAMPLES: &str = "\
Examples:
  squire store rotate prod/app/db       now, whatever its interval and window
  squire store rotate --due             for cron; a running agent that may rotate does it by itself
  squire store rotate --emergency       everything that has a policy

A policy names a hook; the file that --hooks names says what it is. Only you or root may be able to
write that file:
  [hook.postgres]
  paths = [\"prod/app/*\"]               the secrets whose policies may name it
  set = [\"/usr/local/bin/alter-role\"]  also create, test, finish: words, without a shell
  env = [\"ADMIN_URL\"]                  the variables that they get, beside PATH, HOME and LANG

A command reads one line of JSON: step, path, version, the new fields and the current ones; what it
writes to stderr when it fails is shown without their values.";

impl PolicyAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        let path = secret_path(&self.path)?;
        let mut store = place.open()?;
        if self.none {
            store.set_policy(&path, None, self.force)?;
            return place.tell(
                &format!("{path}: has no policy any more"),
                &json!({ "path": path.as_str(), "policy": null }),
            );
        }
        match self.policy()? {
            Some(policy) => store.set_policy(&path, Some(&policy), self.force)?,
            None if self.says_something() => {
                return Err(Failed::Usage(
                    "a policy needs to know how a new value is made: add for example --generate password"
                        .to_owned(),
                ));
            }
            None => {}
        }
        output::policy(&store.history(&path)?, place.json)
    }

    fn says_something(&self) -> bool {
        let times = [self.every, self.grace, self.timeout];
        self.approval
            || self.field.is_some()
            || !self.windows.is_empty()
            || self.hook.is_some()
            || times.iter().any(Option::is_some)
    }

    fn policy(&self) -> Result<Option<Policy>, Failed> {
        let Some(generate) = &self.generate else { return Ok(None) };
        let generator: Generator =
            generate.parse().map_err(|why| Failed::Usage(format!("--generate {generate:?} {why}")))?;
        Ok(Some(Policy {
            every: self.every,
            generator,
            field: self.field.clone(),
            windows: self.windows.clone(),
            grace: self.grace,
            needs_approval: self.approval,
            hook: self.hook.clone(),
            timeout: self.timeout.unwrap_or(TIMEOUT),
        }))
    }
}

impl RotateAsked {
    pub(super) fn perform(&self, place: &Place, limits: &[Limit]) -> Result<(), Failed> {
        let hooks = self.hooks.as_deref().map_or_else(|| Ok(Hooks::default()), Hooks::load)?;
        let hooks = hooks.giving_back(limits);
        let mut store = place.open()?;
        let how = match (self.due, self.emergency) {
            (true, _) => How::Due,
            (false, true) => How::Emergency,
            (false, false) => How::Asked,
        };
        let mut all_done = true;
        let paths = self.meant(&mut store, &mut all_done)?;
        for path in paths {
            // A failure of one must not stop the others.
            match store.rotate(&path, how, &hooks) {
                Ok(rotated) => all_done &= say(place, &path, &rotated)?,
                Err(error) => {
                    all_done = false;
                    super::complain(&format!("{path}: {}", chain(&error)));
                }
            }
        }
        if all_done { Ok(()) } else { Err(Failed::Findings) }
    }

    fn meant(&self, store: &mut Store, all_done: &mut bool) -> Result<Vec<SecretPath>, Failed> {
        if self.due {
            let due = store.due()?;
            for path in &due.forged {
                *all_done = false;
                super::complain(&format!(
                    "{path}: not rotated: its policy was written by somebody who may not; `squire store verify` looks at all of it"
                ));
            }
            return Ok(due.now);
        }
        if !self.paths.is_empty() {
            return self.paths.iter().map(|path| secret_path(path)).collect();
        }
        if !self.emergency {
            return Err(Failed::Usage("name what to rotate, or write --due or --emergency".to_owned()));
        }
        let heads = store.list("")?;
        let with_policy = heads.iter().filter(|head| head.policy.is_some() && head.is_live());
        with_policy.map(|head| secret_path(&head.path)).collect()
    }
}

/// Whether it is a success. It also is if the secret is not due, or another process is rotating it.
fn say(place: &Place, path: &SecretPath, rotated: &Rotated) -> Result<bool, Failed> {
    match rotated {
        Rotated::Done { version } => {
            let told = json!({ "path": path.as_str(), "rotated": true, "version": version });
            place.tell(&format!("{path}: rotated, version {version}"), &told).map(|()| true)
        }
        Rotated::Not(standing) => {
            let (why, is_fine) = match standing {
                Standing::Due => ("is due".to_owned(), true),
                Standing::Later { at: Some(at) } => (format!("is not due before {at}"), true),
                Standing::Later { at: None } => ("is rotated only when asked".to_owned(), true),
                Standing::Closed { until } => (format!("waits for its window, which opens at {until}"), true),
                Standing::Resting { until } => (format!("failed, and is tried again at {until}"), true),
                Standing::Claimed { until } => (format!("somebody is at it, until {until} at most"), true),
                Standing::Unapproved => {
                    (format!("waits for an approval: `squire store approve {path}`"), false)
                }
            };
            let told = json!({ "path": path.as_str(), "rotated": false, "why": why });
            place.tell(&format!("{path}: {why}"), &told).map(|()| is_fine)
        }
        Rotated::Failed { step, why, again } => {
            super::complain(&format!(
                "{path}: not rotated, and still the same: the step {} {why}; tried again at {again} by itself",
                step.word()
            ));
            Ok(false)
        }
    }
}
