//! `squire check`: finds every problem without asking a server, or with that.

mod online;

use std::io::Write;
use std::path::Path;

use clap::Args;
use nix::unistd::{getegid, geteuid};

use super::load::{Origin, Reader, complain, load};
use super::run::NOTHING_TO_DO;
use super::visit::Online;
use super::{USAGE, proxy};
use crate::agent::publisher::Premises;
use crate::agent::{Setup, chain};
use crate::config::{Config, ProxyConfig};
use crate::memory;
use crate::plan::{Plan, Setting};
use crate::supervise;

/// What is asked for beside the configuration.
#[derive(Args, Debug)]
pub(super) struct CheckAsked {
    #[command(flatten)]
    online: Online,
    /// Ask only this source
    #[arg(long, value_name = "NAME", requires = "online")]
    source: Option<String>,
}

/// Checks a configuration; returns the exit code.
pub(super) fn check(origin: &Origin, command: Option<Vec<String>>, asked: &CheckAsked) -> u8 {
    let loaded = match load(&Reader::at_start(), origin, command) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return USAGE;
        }
    };
    let problems = places(&loaded);
    if !problems.is_empty() {
        complain(&problems);
        return USAGE;
    }
    let Setup { plan, config, .. } = &loaded;
    for exposure in Premises::new(config.output.clone(), plan, None, false).examine().unwrap_or_default() {
        complain(&[format!("warning: {exposure}")]);
    }
    if let Some(Err(refusal)) = plan
        .process
        .as_ref()
        .and_then(|process| process.command.first())
        .map(|program| supervise::find(program))
    {
        complain(&[format!("warning: {}", chain(&refusal))]);
    }
    complain_of_setting(plan);
    for warning in plan.unused() {
        complain(&[format!("warning: {warning}")]);
    }
    if plan.files.iter().any(|file| file.path.is_absolute())
        && config.output.dir.is_none()
        && config.agent.ledger.is_none()
    {
        complain(&["warning: after a kill, a run with other paths will not know what to remove: nothing remembers absolute paths without \
                    output.dir or agent.ledger"
            .to_owned()]);
    }
    complain_of_audit(config);
    if let Some(proxy) = &config.proxy {
        complain_of_users(proxy);
    }
    if plan.is_idle() && config.proxy.is_none() {
        complain(&[format!("warning: {NOTHING_TO_DO}")]);
    }
    for (name, source) in &config.sources {
        for caution in source.cautions() {
            complain(&[format!("warning: source {name}: {caution}")]);
        }
    }
    let secrets: usize = plan.wants.values().map(Vec::len).sum();
    let (files, variables) = (plan.files.len(), plan.env.len());
    let summary = format!("{origin}: no problems: {secrets} secrets, {files} files, {variables} variables\n");
    drop(std::io::stdout().write_all(summary.as_bytes()));
    if asked.online.online { online::online(origin, &loaded, asked) } else { 0 }
}

/// A reboot may take the anchor away, and with it what is known of the audit.
fn complain_of_audit(config: &Config) {
    let is_in_memory = |path: &Path| memory::require(path, false).is_ok();
    if let Some(audit) =
        config.audit.as_ref().filter(|audit| is_in_memory(&audit.anchor) && !is_in_memory(&audit.file))
    {
        let anchor = audit.anchor.display();
        complain(&[format!(
            "warning: the audit's anchor {anchor} is gone after a reboot, and the audit then begins anew: name audit.anchor on a disk"
        )]);
    }
}

/// A user who is not there cannot be let in. The configuration may be meant for another machine.
fn complain_of_users(proxy: &ProxyConfig) {
    for name in proxy::strangers(proxy) {
        complain(&[format!(
            "warning: proxy.users: there is no user {name} on this machine, and without that one squire run does not start here"
        )]);
    }
}

/// What `run` may not be able to do for the process on this machine. The configuration may be meant for another machine, so these are no
/// problems.
fn complain_of_setting(plan: &Plan) {
    let Some(process) = &plan.process else { return };
    let Setting { person, working_dir, .. } = &*process.setting;
    if let Some(person) = person
        && !geteuid().is_root()
        && (person.user, person.group) != (geteuid().as_raw(), getegid().as_raw())
    {
        complain(&["warning: only root, or a user with CAP_SETUID, CAP_SETGID and CAP_KILL, can run the process as another user".to_owned()]);
    }
    if let Some(directory) = working_dir.as_ref().filter(|directory| !directory.is_dir()) {
        complain(&[format!("warning: process.working_dir {} is no directory here", directory.display())]);
    }
}

/// Whether the configured places for secrets are on file systems that may hold them.
fn places(loaded: &Setup) -> Vec<String> {
    let output = &loaded.config.output;
    let absolute = loaded.plan.files.iter().filter(|file| file.path.is_absolute());
    // A directory that Squire mounts a tmpfs on is in memory.
    let dir = output.dir.as_deref().filter(|_| loaded.config.mount.is_none());
    let places = dir.into_iter().chain(absolute.filter_map(|file| file.path.parent()));
    let places = places.chain(loaded.config.agent.ledger.as_ref().map(|ledger| ledger.directory.as_path()));
    let refusals = places.filter_map(|place| memory::require(place, output.allow_disk).err());
    let mut problems: Vec<String> = refusals.map(|error| chain(&error)).collect();
    if problems.is_empty() {
        let premises = Premises::new(output.clone(), &loaded.plan, None, false);
        problems.extend(premises.look().iter().map(|error| chain(error)));
    }
    problems
}
