//! Small configurations, written as an operator would.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use crate::agent::Setup;
use crate::plan::{Surroundings, compile};
use crate::template::{self, Engine};

/// What differs between configurations.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Of the two sources.
    pub(super) addresses: [u8; 2],
    /// Three secrets, if they are there: which source, and which path.
    pub(super) secrets: [Option<(u8, u8)>; 3],
    /// Three files, if they are there: the secrets that they show, and a text.
    pub(super) files: [Option<(Vec<u8>, String)>; 3],
    /// The secrets in the environment.
    pub(super) env: Vec<u8>,
    /// The command's argument.
    pub(super) argument: u8,
    /// Nothing but another place of everything.
    pub(super) remark: bool,
}

/// Any small configuration.
pub(super) fn written() -> impl Strategy<Value = Written> {
    let shown = || proptest::collection::vec(0_u8..3, 0..3);
    let file = || proptest::option::of((shown(), "[ab]"));
    (
        [0_u8..2, 0_u8..2],
        [0; 3].map(|_: u8| proptest::option::weighted(0.8, (0_u8..2, 0_u8..2))),
        [file(), file(), file()],
        shown(),
        0_u8..2,
        any::<bool>(),
    )
        .prop_map(|(addresses, secrets, files, env, argument, remark)| Written {
            addresses,
            secrets,
            files,
            env,
            argument,
            remark,
        })
}

impl Written {
    /// One that has something of everything.
    pub(super) fn sample() -> Self {
        Self {
            addresses: [0, 0],
            secrets: [Some((0, 0)), Some((1, 0)), None],
            files: [Some((vec![0], "a".to_owned())), Some((vec![1], "b".to_owned())), None],
            env: vec![0],
            argument: 0,
            remark: false,
        }
    }

    /// Read and compiled.
    pub(super) fn setup(&self) -> Arc<Setup> {
        let config = crate::config::parse(Path::new("/etc/squire.toml"), &self.text(), &|_| None).unwrap();
        let surroundings = Surroundings {
            read: &|_| Err(io::ErrorKind::NotFound.into()),
            user: &|_| None,
            group: &|_| None,
            person: &|_| None,
            own: (0, 0),
        };
        let plan = compile(&config, None, &surroundings).unwrap();
        let engine = Engine::new(template::Surroundings {
            env: Box::new(|_| None),
            file: Box::new(|_| Err(io::ErrorKind::NotFound.into())),
        });
        Arc::new(Setup { config, plan, engine })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.remark.then(|| "# a remark\n".to_owned()));
        for (number, address) in self.addresses.iter().enumerate() {
            lines.push(format!("[source.s{number}]\ntype = \"vault\"\naddress = \"https://{address}:1\""));
            lines.push(format!("[source.s{number}.auth.token]\nfile = \"/run/token\""));
        }
        for (number, secret) in self.secrets.iter().enumerate() {
            let Some((source, path)) = secret else { continue };
            lines.push(format!("[secret.x{number}]\nsource = \"s{source}\"\npath = \"secret/{path}\""));
        }
        lines.push("[output]\ndir = \"/run/out\"".to_owned());
        for (number, file) in self.files.iter().enumerate() {
            let Some((shown, word)) = file else { continue };
            let shown = self.shown(shown);
            lines.push(format!("[[file]]\npath = \"f{number}\"\ninline = \"{word} {shown}\""));
        }
        let (argument, env) = (self.argument, self.shown(&self.env));
        lines.push(format!("[process]\ncommand = [\"app\", \"{argument}\"]\nenv = {{ ALL = \"{env}\" }}"));
        lines.push("[rollout]\ngrace = \"10s\"\n".to_owned());
        lines.join("\n")
    }

    /// Only secrets that are there can be shown.
    fn shown(&self, secrets: &[u8]) -> String {
        let is_there = |number: &&u8| self.secrets[usize::from(**number)].is_some();
        let tags = secrets.iter().filter(is_there).map(|number| format!("{{{{x{number}.value}}}}"));
        tags.collect::<Vec<_>>().join(" ")
    }
}
