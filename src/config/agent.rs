//! `[agent]`: the ledger, the limits and the stop of Squire itself.
//!
//! *Invariant:* the ledger and the output are in different directories: only Squire may read the ledger, others read the output.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::output;
use super::reader::{Table, Value};
use super::value::Form;
use super::{AgentConfig, LedgerConfig, OnStop, ReloadWhen, SocketConfig};

/// Reads `[agent]`. `output` is the output directory.
pub(super) fn agent(table: Option<Table<'_>>, output: Option<&Path>) -> AgentConfig {
    let mut agent = AgentConfig {
        ledger: None,
        on_stop: None,
        confine: true,
        mlock: false,
        socket: SocketConfig::Usual,
        listen: None,
        reload: ReloadWhen::Asked,
    };
    let Some(mut table) = table else { return agent };
    agent.ledger = ledger(&mut table, output);
    agent.on_stop = table.read("on_stop", &ON_STOP);
    agent.confine = table.boolean("confine").unwrap_or(agent.confine);
    agent.mlock = table.boolean("mlock").unwrap_or(agent.mlock);
    agent.socket = table.read("socket", &SOCKET).unwrap_or(agent.socket);
    agent.listen = table.read("listen", &LISTEN);
    agent.reload = table.read("reload", &RELOAD).unwrap_or(agent.reload);
    table.finish();
    agent
}

fn ledger(table: &mut Table<'_>, output: Option<&Path>) -> Option<LedgerConfig> {
    let written = table.take("ledger");
    let key_file = table.take("ledger_key_file");
    if let (None, Some(key_file)) = (&written, &key_file) {
        key_file.report("there is no ledger to seal; write ledger = \"/run/squire/ledger\" beside it");
    }
    let key_file = key_file.and_then(|key_file| output::absolute(&key_file));
    Some(LedgerConfig { directory: directory(&written?, output)?, key_file })
}

fn directory(value: &Value<'_>, output: Option<&Path>) -> Option<PathBuf> {
    let directory = output::absolute(value)?;
    if output.is_some_and(|output| directory.starts_with(output) || output.starts_with(&directory)) {
        value.report(
            "is, or is above or below, `output.dir`, which others read; give the ledger a directory of its own, \
             such as \"/run/squire/ledger\"",
        );
        return None;
    }
    Some(directory)
}

const SOCKET: Form<SocketConfig> = Form {
    expected: "an absolute path, such as \"/run/squire/squire.sock\", or \"none\"",
    shown: true,
    read: |text| match text {
        "none" => Ok(SocketConfig::Nowhere),
        path if Path::new(path).is_absolute() => Ok(SocketConfig::At(path.into())),
        _ => {
            Err("is no absolute path; write one, such as \"/run/squire/squire.sock\", or \"none\"".to_owned())
        }
    },
};

const LISTEN: Form<SocketAddr> = Form {
    expected: "an address and a port, such as \"127.0.0.1:9790\"",
    shown: true,
    read: |text| {
        text.parse().map_err(|_| "is no address with a port; write for example \"127.0.0.1:9790\"".to_owned())
    },
};

const ON_STOP: Form<OnStop> = Form {
    expected: "\"give_back\" or \"leave\"",
    shown: true,
    read: |text| {
        match text {
        "give_back" => Ok(OnStop::GiveBack),
        "leave" => Ok(OnStop::Leave),
        _ => Err("is unknown; write \"give_back\" to end the token and its leases and to remove the files, or \"leave\"".to_owned()),
    }
    },
};

const RELOAD: Form<ReloadWhen> = Form {
    expected: "\"asked\" or \"watch\"",
    shown: true,
    read: |text| {
        match text {
        "asked" => Ok(ReloadWhen::Asked),
        "watch" => Ok(ReloadWhen::Watch),
        _ => Err("is unknown; write \"asked\" to read the configuration anew when somebody asks for it, or \"watch\" to do so when a file of it changes, too".to_owned()),
    }
    },
};
