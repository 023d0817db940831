//! How the process runs on this machine: `user`, `limits`, `env_pass` and similar keys, and the sockets it gets.
//!
//! *Invariant:* pure: names are looked up by the plan.

use crate::ordered::Order as _;
use std::collections::BTreeMap;

use nix::sys::resource::Resource;

use super::output::account;
use super::reader::{Table, Value, every};
use super::value::{self, Form, PATH, WORD};
use super::{Limit, Listen, SettingConfig};

/// Reads these keys of `[process]`.
pub(super) fn setting(table: &mut Table<'_>) -> SettingConfig {
    SettingConfig {
        user: table.take("user").and_then(|user| account(&user)),
        group: table.take("group").and_then(|group| account(&group)),
        groups: table.take("groups").and_then(|groups| {
            every(groups.list("a list of groups, such as [\"ssl-cert\", 1000]")?.iter().map(account))
        }),
        working_dir: table.take("working_dir").and_then(|dir| super::output::absolute(&dir)),
        umask: table.read("umask", &UMASK),
        env_clear: table.boolean("env_clear").unwrap_or(false),
        env_pass: globs(table.take("env_pass")),
        env_deny: globs(table.take("env_deny")),
        limits: table.table("limits", "a table such as { nofile = 4096 }").map(limits).unwrap_or_default(),
        no_new_privs: table.boolean("no_new_privs").unwrap_or(false),
        place: table.place().clone(),
    }
}

/// Reads `listen`.
pub(super) fn listen(table: &mut Table<'_>) -> Vec<Listen> {
    let sockets = |value: Value<'_>| {
        let items =
            value.list("a list of sockets, such as [\"tcp://0.0.0.0:8080\", \"unix:/run/app.sock\"]")?;
        every(items.iter().map(|item| item.read(&LISTEN)))
    };
    table.take("listen").and_then(sockets).unwrap_or_default()
}

fn globs(value: Option<Value<'_>>) -> Vec<String> {
    let globs = |value: Value<'_>| {
        let items = value.list("a list of names with `*` and `?`, such as [\"LC_*\", \"TZ\"]")?;
        every(items.iter().map(|item| item.read(&WORD)))
    };
    value.and_then(globs).unwrap_or_default()
}

/// The names in the configuration are those of `setrlimit`, without `RLIMIT_`.
const RESOURCES: [(&str, Resource); 10] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("stack", Resource::RLIMIT_STACK),
];

fn limits(mut table: Table<'_>) -> BTreeMap<&'static str, Limit> {
    let limit = |(name, resource): (&'static str, Resource)| {
        let (soft, hard) = bounds(&table.take(name)?)?;
        Some((name, Limit { resource, soft, hard }))
    };
    let limits = RESOURCES.into_iter().filter_map(limit).ordered();
    table.finish_as("limit");
    limits
}

/// One number sets both limits.
fn bounds(value: &Value<'_>) -> Option<(u64, u64)> {
    if value.is_table() {
        let mut table = value.table("a number, \"unlimited\", or { soft = 1024, hard = 4096 }")?;
        let soft = table.require("soft", "soft = 1024").and_then(|soft| bound(&soft));
        let hard = table.require("hard", "hard = 4096").and_then(|hard| bound(&hard));
        table.finish();
        let (soft, hard) = (soft?, hard?);
        if soft > hard {
            value.report("has a soft limit above the hard one");
            return None;
        }
        return Some((soft, hard));
    }
    bound(value).map(|bound| (bound, bound))
}

fn bound(value: &Value<'_>) -> Option<u64> {
    if value.is_text() {
        return value.read(&UNLIMITED);
    }
    let bound = value.integer().and_then(|number| u64::try_from(number).ok());
    if bound.is_none() {
        value.expected("a number from 0 up, or \"unlimited\"");
    }
    bound
}

const UNLIMITED: Form<u64> = Form {
    expected: "a number, or \"unlimited\"",
    shown: true,
    read: |text| match text {
        "unlimited" => Ok(nix::libc::RLIM_INFINITY),
        _ => Err("is no limit; write a number without quotes, or \"unlimited\"".to_owned()),
    },
};

const UMASK: Form<u32> = Form {
    expected: "a mask in quotes, such as \"0077\"",
    shown: true,
    read: |text| match value::octal(text) {
        Some(mask @ 0..=0o777) => Ok(mask),
        Some(_) | None => {
            Err("is not a mask; write three or four digits from 0 to 7, such as \"0077\"".to_owned())
        }
    },
};

const LISTEN: Form<Listen> = Form {
    expected: "a socket such as \"tcp://0.0.0.0:8080\" or \"unix:/run/app.sock\"",
    shown: true,
    read: |text| {
        if let Some(address) = text.strip_prefix("tcp://") {
            return match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Listen::Tcp(address.to_owned()))
                }
                Some(_) | None => {
                    Err("names no host and port; write for example \"tcp://0.0.0.0:8080\"".to_owned())
                }
            };
        }
        match text.strip_prefix("unix:") {
            Some(path) => {
                let path = (PATH.read)(path)?;
                value::absolute_path(&path).map(Listen::Unix)
            }
            None => Err("is no socket; write \"tcp://HOST:PORT\" or \"unix:/PATH\"".to_owned()),
        }
    },
};
