//! One test's private directory on tmpfs: the configuration, the credentials, the outputs, and the logs of Squire.
//!
//! *Invariant:* when a rig is dropped, no process that was started in it is left.

use std::cell::{Cell, RefCell};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::canary::Hunt;
use super::daemon::send;
use super::squire::{Outcome, Squire};
use super::{Canaries, SOON, Tenant, canary, scratch};

/// The variable that marks every process of a rig.
const MARK: &str = "RIG_DIRECTORY";

/// A directory with everything for one run of Squire.
///
/// ```text
/// squire.toml  role-id  secret-id     what Squire is given
/// out/                                the output directory
/// seen/                               what children write; secrets are allowed here
/// stdout.N  stderr.N                  what the Nth run said
/// ```
pub(crate) struct Rig {
    directory: TempDir,
    address: String,
    tenant: String,
    canaries: Canaries,
    environment: RefCell<Vec<(String, String)>>,
    may_hold_secrets: RefCell<Vec<PathBuf>>,
    runs: Cell<usize>,
    secrets_in_environment: Cell<bool>,
    person: Cell<Option<[&'static str; 3]>>,
}

impl Rig {
    /// A rig with the credentials of this tenant.
    pub(crate) fn new(tenant: &Tenant<'_>) -> Self {
        let rig = Self::empty(tenant.bao().address(), tenant.name(), tenant.canaries().clone());
        rig.write("role-id", tenant.role_id());
        rig.write("secret-id", &tenant.secret_id());
        rig
    }

    /// A rig with made-up credentials for whatever is at this address.
    pub(crate) fn at(address: &str) -> Self {
        let rig = Self::empty(address, "nobody", Canaries::default());
        rig.write("role-id", "some-role");
        let secret_id = canary::fresh("secret-id");
        rig.canaries.add(&secret_id);
        rig.write("secret-id", &secret_id);
        rig
    }

    /// The same rig with the server behind another address.
    pub(crate) fn through(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    fn empty(address: &str, tenant: &str, canaries: Canaries) -> Self {
        let directory = scratch::on_tmpfs("test");
        let rig = Self {
            directory,
            address: address.to_owned(),
            tenant: tenant.to_owned(),
            canaries,
            environment: RefCell::default(),
            may_hold_secrets: RefCell::default(),
            runs: Cell::new(0),
            secrets_in_environment: Cell::new(false),
            person: Cell::new(None),
        };
        std::fs::create_dir(rig.path("seen")).unwrap();
        for given in ["role-id", "secret-id", "token", "out", "seen"] {
            rig.allow_secrets_in(given);
        }
        rig
    }

    /// Writes the configuration: the rig's source (re-read each second) and output directory, then this.
    pub(crate) fn config(&self, rest: &str) {
        self.config_of_source("address = \"@address@\"\nrefresh = \"1s\"", rest);
    }

    /// Writes the configuration: a source with these settings, the rig's output directory, then the rest.
    pub(crate) fn config_of_source(&self, source: &str, rest: &str) {
        let beginning = r#"
            [source.vault.auth.approle]
            role_id_file   = "@dir@/role-id"
            secret_id_file = "@dir@/secret-id"
            [output]
            dir = "@dir@/out"
        "#;
        self.whole_config(&format!("[source.vault]\n{source}\n{beginning}{rest}"));
    }

    /// Writes the configuration, whole.
    pub(crate) fn whole_config(&self, text: &str) {
        self.write("squire.toml", text);
    }

    /// Writes a file of the private directory. `@dir@` becomes the directory, `@address@` the server's address and
    /// `@tenant@` the tenant's name.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let directory = self.directory.path().to_str().unwrap();
        let text = text.replace("@dir@", directory).replace("@address@", &self.address);
        // By a rename, so that no reader finds half of it.
        let new = self.path(&format!("{name}.new"));
        std::fs::write(&new, text.replace("@tenant@", &self.tenant)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// What is in a file of the private directory; empty if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A path in the private directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The secrets that must not leak from this rig.
    pub(crate) fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// Declares that a file or directory of the rig may contain secrets.
    pub(crate) fn allow_secrets_in(&self, name: &str) {
        self.may_hold_secrets.borrow_mut().push(self.path(name));
    }

    /// Sets a variable of Squire's environment, which otherwise has only `PATH`.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.environment.borrow_mut().push((name.to_owned(), value.to_owned()));
    }

    /// Declares that Squire is started with secrets in its environment: the test itself has to check what happens to them.
    pub(crate) fn start_with_secrets_in_environment(&self) {
        self.secrets_in_environment.set(true);
    }

    /// Whether that was declared.
    pub(crate) fn has_secrets_in_environment(&self) -> bool {
        self.secrets_in_environment.get()
    }

    /// From now on Squire runs as this user, with this group and these supplementary groups, and all files of the rig belong to them.
    pub(crate) fn become_person(&self, person: [&'static str; 3]) {
        let owner = format!("{}:{}", person[0], person[1]);
        let changed = Command::new("chown").args(["-R", &owner]).arg(self.directory()).status().unwrap();
        assert!(changed.success(), "chown (are we root?)");
        self.person.set(Some(person));
    }

    /// The user of Squire, if it is not the user of the tests.
    pub(crate) fn person(&self) -> Option<[&'static str; 3]> {
        self.person.get()
    }

    /// Starts `squire run` on the configuration.
    pub(crate) fn run(&self) -> Squire<'_> {
        self.start(&["run", "-c", self.path("squire.toml").to_str().unwrap()])
    }

    /// Starts `squire run` on the configuration with a command line for the child.
    pub(crate) fn run_command(&self, command: &[&str]) -> Squire<'_> {
        let configuration = self.path("squire.toml");
        let before = ["run", "-c", configuration.to_str().unwrap(), "--"];
        self.start(&[&before, command].concat())
    }

    /// Starts Squire with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Squire<'_> {
        self.runs.set(self.runs.get() + 1);
        Squire::start(self, self.runs.get(), arguments)
    }

    /// Runs `squire render` to its end.
    pub(crate) fn render(&self) -> Outcome {
        self.start(&["render", "-c", self.path("squire.toml").to_str().unwrap()]).outcome(SOON)
    }

    /// Runs `squire render` until it has logged this; its secret is missing, so it would wait for ever.
    #[track_caller]
    pub(crate) fn render_says(&self, words: &str) {
        let mut squire = self.start(&["render", "-c", self.path("squire.toml").to_str().unwrap()]);
        let log = format!("stderr.{}", self.runs.get());
        squire.wait_until(words, || self.read(&log).contains(words));
        squire.stop();
    }

    /// Runs `squire check` to its end.
    pub(crate) fn check(&self) -> Outcome {
        self.start(&["check", "-c", self.path("squire.toml").to_str().unwrap()]).outcome(SOON)
    }

    /// The environment of Squire.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mark = (MARK.to_owned(), self.directory.path().to_str().unwrap().to_owned());
        let log = [("SQUIRE_LOG", "trace"), ("SQUIRE_LOG_FORMAT", "json")];
        let mut variables = vec![mark];
        variables.extend(log.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables.extend(self.environment.borrow().iter().cloned());
        variables
    }

    /// Every process that was started in this rig: Squire and all its descendants.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = [MARK.as_bytes(), b"=", self.directory.path().as_os_str().as_bytes()].concat();
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|process| {
                std::fs::read(format!("/proc/{process}/environ"))
                    .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark))
            })
            .collect()
    }

    /// The first leak: in the output of Squire, or in any file that may not contain secrets.
    pub(crate) fn leak(&self, hunt: &Hunt) -> Option<String> {
        hunt.find_below(self.directory.path(), &self.may_hold_secrets.borrow())
    }

    /// The private directory itself.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for process in self.processes() {
            send(process, Signal::SIGKILL);
        }
    }
}
