//! A store in a private directory, with the real binary.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A private directory with a store in it.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(directory: TempDir) -> Self {
        let bench = Self { directory };
        assert_eq!(code(&bench.store(&["init"])), 0);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
        command.arg("store").args(arguments).current_dir(self.directory.path()).env_clear();
        command
    }

    pub(crate) fn store(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn store_with(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments does not read stdin.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn put(&self, path: &str, value: &str) {
        let output = self.store_with(&["put", path], value);
        assert_eq!(code(&output), 0, "{output:?}");
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let output = self.store(&["get", path, "--field", "value"]);
        assert_eq!(code(&output), 0, "{output:?}");
        stdout(&output).trim_end().to_owned()
    }

    /// The options for a role.
    pub(crate) fn role(&self, name: &str, arguments: &[&str]) -> Vec<String> {
        let file = format!("{name}.secret-id");
        let output =
            self.store(&[&["role", "add", name, "--json", "--secret-id-to", &file], arguments].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        let made: Value = serde_json::from_str(&stdout(&output)).unwrap();
        ["--role-id", made["role_id"].as_str().unwrap(), "--secret-id-file", &file].map(str::to_owned).into()
    }

    pub(crate) fn verified(&self) -> (i32, String) {
        let output = self.store(&["verify"]);
        (code(&output), format!("{}{}", stdout(&output), stderr(&output)))
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn as_role<'a>(role: &'a [String], arguments: &[&'a str]) -> Vec<&'a str> {
    role.iter().map(String::as_str).chain(arguments.iter().copied()).collect()
}
