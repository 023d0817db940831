//! Running `deploy/server/setup`, and where everything is.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Bao, Postgres};

/// Time enough for a program to start, and for a rotation, on a machine that is busy with other tests.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A directory with what one application's set-up is told: a copy of `shop.toml` and its policies, for an application of another name.
#[derive(Clone)]
pub(crate) struct Setup {
    directory: PathBuf,
    address: String,
    variables: Vec<(&'static str, String)>,
}

/// How a set-up ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Setup {
    /// For the application `app`, with those tables of `shop.toml` whose names are in `tables` (all if it is empty).
    pub(crate) fn new(
        directory: &Path,
        bao: &Bao,
        postgres: Option<&Postgres>,
        app: &str,
        tables: &[&str],
    ) -> Self {
        let server = deployed("server");
        std::fs::create_dir_all(directory.join("policies")).unwrap();
        for policy in ["app", "reports", "migrate"] {
            let text = std::fs::read_to_string(server.join(format!("policies/{policy}.hcl"))).unwrap();
            let text = text.replace("/shop", &format!("/{app}"));
            std::fs::write(directory.join(format!("policies/{policy}.hcl")), text).unwrap();
        }
        let settings = std::fs::read_to_string(server.join("shop.toml")).unwrap();
        let settings = only(&settings, tables).replace("\"shop\"", &format!("\"{app}\""));
        let settings = match postgres {
            Some(postgres) => settings.replace("127.0.0.1:5432", &postgres.address()),
            None => settings,
        };
        let variables = vec![("PATH", std::env::var("PATH").unwrap())];
        let setup = Self { directory: directory.to_owned(), address: bao.address().to_owned(), variables };
        setup.write_settings(&settings.replace("\"prefer\"", "\"disable\""));
        setup
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> String {
        std::fs::read_to_string(self.directory.join("settings.toml")).unwrap()
    }

    /// Other settings.
    pub(crate) fn write_settings(&self, text: &str) {
        std::fs::write(self.directory.join("settings.toml"), text).unwrap();
    }

    /// The secrets that the set-up is given.
    pub(crate) fn give(&self, secrets: &Value) {
        let path = self.directory.join("secrets.json");
        std::fs::write(&path, secrets.to_string()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Another server, or none.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// With this variable in its environment.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut setup = self.clone();
        setup.variables.push((name, value.to_owned()));
        setup
    }

    /// Runs it to its end, as root of the server, with these arguments after the settings. `{dir}` in them is the directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with_token(Bao::root_token(), arguments)
    }

    /// The same with another token.
    pub(crate) fn run_with_token(&self, token: &str, arguments: &[&str]) -> Ended {
        ended(&self.command(token, arguments).output().unwrap())
    }

    /// The same as root, with this on its standard input.
    pub(crate) fn run_with_input(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(Bao::root_token(), arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        ended(&child.wait_with_output().unwrap())
    }

    fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(deployed("server/setup"));
        command.arg(self.directory.join("settings.toml"));
        for argument in arguments {
            command.arg(argument.replace("{dir}", self.directory.to_str().unwrap()));
        }
        command.env_clear().envs(self.variables.clone());
        command.env("VAULT_ADDR", &self.address).env("VAULT_TOKEN", token);
        command
    }

    /// Runs it, and it has to succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        ended.stdout
    }
}

pub(crate) fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// A path below `deploy`.
pub(crate) fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// The document with only these of its tables, and what is above the first one.
fn only(document: &str, tables: &[&str]) -> String {
    let mut keeps = true;
    let mut kept = Vec::new();
    for line in document.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            keeps = tables.is_empty() || tables.contains(&name);
        }
        if keeps {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

/// A file of the environment that `tests/run` makes.
pub(crate) fn tests_venv(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv").join(name)
}

/// Where the programs find `python3` with its packages, and `node`.
pub(crate) fn path() -> String {
    format!("{}:{}", tests_venv("bin").display(), std::env::var("PATH").unwrap())
}

/// Makes a directory with a program of this name, which writes its arguments into a file, a line each time, and then is the real one.
pub(crate) fn record_arguments(programs: &Path, name: &str, seen: &Path) {
    let path = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|path| path.join(name)).find(|path| path.exists()).unwrap();
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", seen.display(), real.display());
    std::fs::create_dir(programs).unwrap();
    std::fs::write(programs.join(name), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.join(name), executable).unwrap();
}
