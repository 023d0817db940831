//! A machine with a real systemd: the files of this one below a layer of its own, booted in a container (systemd-nspawn).
//!
//! *Invariant:* nothing of this machine is changed, and the container ends with the test: its file system is mounted in a mount namespace of its own,
//! and its control groups are below one of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Canaries, Daemon, SOON, holds_within, on_tmpfs, skipped};

/// It boots in less than a second where nothing else runs.
const BOOTED_WITHIN: Duration = Duration::from_mins(1);

/// Mounts the layer and becomes the container. The first control group of its own keeps two containers apart, whose systemds would otherwise end each
/// other's services.
const START: &str = r#"
    for group in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e "$group/cgroup.procs" ] || continue
        mkdir "$group/$NAME" && echo $$ > "$group/$NAME/cgroup.procs" || exit 77
    done
    mount -t overlay overlay -o "lowerdir=/,upperdir=$AT/upper,workdir=$AT/work" "$AT/root" || exit 77
    # A state of this machine that is not the container's: its identity, and the services that its administrator wants.
    rm -rf "$AT/root/etc/machine-id" "$AT/root"/etc/systemd/system/*.wants "$AT/root/etc/squire" "$AT/root"/var/lib/*/squire
    : > "$AT/root/etc/machine-id"
    mkdir -p "$AT/root/etc/squire"
    printf '[Unit]\n' > "$AT/root/etc/systemd/system/bare.target"
    cp "$UNITS"/squire@.* "$UNITS"/squire-credentials.* "$AT/root/etc/systemd/system/"
    : > "$AT/root/usr/bin/squire"
    exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --machine="$NAME" --directory="$AT/root" \
        --bind-ro="$SQUIRE:/usr/bin/squire" \
        --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" systemd.unit=bare.target
"#;

/// The secret and its store, in the machine.
const STORE: &str = "/var/lib/private/squire/shop/app.store";
const KEY: &str = "/root/app.store.key";

/// The store of `squire-credentials`, in the machine.
const CREDENTIALS_STORE: &str = "/var/lib/squire/credentials/app.store";

/// A booted machine.
pub(crate) struct Machine {
    leader: String,
    canaries: Canaries,
    // Dropped in this order: the container ends before its directory goes.
    container: Daemon,
    _groups: Groups,
    _directory: TempDir,
}

/// The control groups of the container, which are empty when it has ended.
struct Groups(String);

/// A connection to the socket of the unit.
pub(crate) struct Connection(Child);

impl Machine {
    /// Boots one; says why if this machine cannot.
    pub(crate) fn boot() -> Option<Self> {
        let skipped = |why: &str| {
            skipped(&format!("a real systemd: {why}"));
            None
        };
        if Command::new("systemd-nspawn").arg("--version").output().is_err() {
            return skipped("there is no systemd-nspawn (Debian: apt-get install systemd-container)");
        }
        if !nix::unistd::geteuid().is_root() {
            return skipped("systemd-nspawn needs root");
        }
        let directory = on_tmpfs("machine");
        for name in ["upper", "work", "root"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let name = format!("squire-{:08x}", fastrand::u32(..));
        let mut command = Command::new("unshare");
        // With process numbers of its own, so that everything in the container ends with the first of them, however that ends.
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.args(["sh", "-c", START]);
        command.env("AT", directory.path()).env("NAME", &name).env("SQUIRE", env!("CARGO_BIN_EXE_squire"));
        command.env("UNITS", Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd"));
        let log = directory.path().join("log");
        let groups = Groups(name);
        let mut container = Daemon::start(&command, &log, Signal::SIGKILL);
        let mut leader = None;
        holds_within(BOOTED_WITHIN, || {
            leader = leader_of(container.id());
            leader.as_ref().is_some_and(|leader| is_up(leader)) || container.ended().is_some()
        });
        let said = fs::read_to_string(&log).unwrap_or_default();
        match (container.ended(), leader) {
            (None, Some(leader)) => {
                assert!(is_up(&leader), "systemd did not boot within {BOOTED_WITHIN:?}: {said}");
                Some(Self {
                    leader,
                    canaries: Canaries::default(),
                    container,
                    _groups: groups,
                    _directory: directory,
                })
            }
            (ended, _) => skipped(&format!("this machine cannot run systemd-nspawn: {ended:?}, {said}")),
        }
    }

    /// A store with a role whose secret-id is the credential of `squire@NAME`, and the configuration of that unit, with a file, a ledger and the rest.
    pub(crate) fn store(&self, name: &str, rest: &str) {
        self.run(&["mkdir", "-p", "-m", "700", "/var/lib/private", "/var/lib/private/squire/shop"]);
        self.squire(&["store", "init"], "");
        self.run(&["mv", &STORE.replace(".store", ".store.key"), KEY]);
        let secret_id = format!("/etc/squire/{name}.secret-id");
        let made = self.squire(
            &["store", "role", "add", "web", "--read", "prod/app/*", "--secret-id-to", &secret_id, "--json"],
            "",
        );
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let role = made["role_id"].as_str().unwrap();
        self.write(
            &format!("/etc/squire/{name}.toml"),
            &format!(
                r#"
                [source.store]
                file = "/var/lib/squire/{name}/app.store"
                role_id = "{role}"
                [secret.db]
                path = "prod/app/db"
                [output]
                dir = "/run/squire/{name}/secrets"
                [[file]]
                path = "password"
                inline = "{{{{db.password}}}}"
                [agent]
                ledger = "/run/squire/{name}/ledger"
                {rest}"#
            ),
        );
    }

    /// A store of `squire-credentials` without a secret, with a role, and the configuration of that unit with the rest.
    pub(crate) fn store_of_credentials(&self, rest: &str) {
        self.run(&["mkdir", "-p", "-m", "700", "/var/lib/squire/credentials"]);
        self.squire_at(&["store", "init"], CREDENTIALS_STORE, "");
        let add = ["store", "role", "add", "web", "--read", "prod/app/*", "--json", "--secret-id-to"];
        let words = [&add[..], &["/etc/squire/credentials.secret-id"]].concat();
        let made: serde_json::Value =
            serde_json::from_str(&self.squire_at(&words, CREDENTIALS_STORE, "")).unwrap();
        let role = made["role_id"].as_str().unwrap();
        let beginning = format!("[source.store]\nfile = \"{CREDENTIALS_STORE}\"\nrole_id = \"{role}\"\n");
        let agent = "[agent]\nledger = \"/run/squire/credentials/ledger\"\n";
        let secret = "[secret.db]\npath = \"prod/app/db\"\n";
        self.write("/etc/squire/credentials.toml", &format!("{beginning}{secret}{agent}{rest}"));
    }

    /// Stores a new value of that secret.
    pub(crate) fn put_for_credentials(&self, password: &str) {
        self.canaries.add(password);
        let secret = serde_json::json!({ "password": password }).to_string();
        self.squire_at(&["store", "put", "prod/app/db"], CREDENTIALS_STORE, &secret);
    }

    /// Stores a new value of the secret, which must not be in any log.
    pub(crate) fn put(&self, password: &str) {
        self.canaries.add(password);
        self.squire(
            &["store", "put", "prod/app/db"],
            &serde_json::json!({ "password": password }).to_string(),
        );
    }

    /// As the owner of a store whose key is beside it.
    fn squire_at(&self, arguments: &[&str], store: &str, stdin: &str) -> String {
        let variables = [format!("SQUIRE_STORE={store}"), format!("SQUIRE_STORE_KEY_FILE={store}.key")];
        let words = [&["env", &variables[0], &variables[1], "squire"], arguments].concat();
        self.say(&words, stdin)
    }

    fn squire(&self, arguments: &[&str], stdin: &str) -> String {
        let key = if self.try_run(&["test", "-e", KEY]) {
            KEY.to_owned()
        } else {
            STORE.replace(".store", ".store.key")
        };
        let variables = [format!("SQUIRE_STORE={STORE}"), format!("SQUIRE_STORE_KEY_FILE={key}")];
        let words: Vec<_> = ["env", &variables[0], &variables[1], "squire"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.say(&words, stdin)
    }

    /// Runs a command in the machine; it has to succeed.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        self.say(words, "")
    }

    /// Whether a command succeeds in the machine.
    pub(crate) fn try_run(&self, words: &[&str]) -> bool {
        inside(&self.leader, words).output().unwrap().status.success()
    }

    #[track_caller]
    fn say(&self, words: &[&str], stdin: &str) -> String {
        let mut command = inside(&self.leader, words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
        let output: Output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}\n{}", self.journal_of("squire*"));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file, with its directories.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.say(
            &[
                "sh",
                "-c",
                "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\" && systemctl daemon-reload",
                "sh",
                path,
            ],
            text,
        );
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> String {
        self.run(&["cat", path])
    }

    /// Replaces what stands in a file.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{from} in {text}");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// A property of `squire@NAME`.
    pub(crate) fn property(&self, name: &str, property: &str) -> String {
        self.property_of(&format!("squire@{name}"), property)
    }

    /// A property of a unit.
    pub(crate) fn property_of(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", property, unit]).trim().to_owned()
    }

    /// What `squire@NAME` logged, without any secret.
    pub(crate) fn journal(&self, name: &str) -> String {
        self.journal_of(&format!("squire@{name}.service"))
    }

    /// What a unit logged, without any secret.
    pub(crate) fn journal_of(&self, unit: &str) -> String {
        let output =
            inside(&self.leader, &["journalctl", "--no-pager", "-o", "cat", "-u", unit]).output().unwrap();
        let leak = self.canaries.hunt().find(&output.stdout);
        assert!(leak.is_none(), "a secret is in the journal: {}", leak.unwrap_or_default());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Connects to the socket of the unit.
    pub(crate) fn connect(&self) -> Connection {
        let client = r#"use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; $SIG{ALRM} = sub { die "no answer" }; alarm 60;
            connect($s, sockaddr_in(8080, inet_aton("127.0.0.1"))) or die "cannot connect: $!"; print <$s>;"#;
        let mut command = inside(&self.leader, &["/usr/bin/perl", "-e", client]);
        Connection(
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        )
    }

    /// Waits for a state; shows the journal if it does not come.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            holds_within(2 * SOON, condition),
            "waited in vain for: {what}\n{}",
            self.journal_of("squire*")
        );
    }
}

impl Connection {
    /// Everything that comes until the other side closes it.
    #[track_caller]
    pub(crate) fn answer(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.container.stop();
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // The kernel kills the processes one after the other, and a group goes when its last one has.
        let is_gone = || {
            ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
                .iter()
                .all(|parent| remove(&Path::new(parent).join(&self.0)))
        };
        if !holds_within(SOON, is_gone) {
            assert!(std::thread::panicking(), "the control group {} is left", self.0);
        }
    }
}

/// Removes a control group with those below it; tells whether it is gone.
fn remove(group: &Path) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in below.filter(|path| path.is_dir()) {
        remove(&path);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// The container's process 1, below this process and `systemd-nspawn`.
fn leader_of(container: u32) -> Option<String> {
    let nspawn =
        children(&container.to_string()).into_iter().find(|process| name_of(process) == "systemd-nspawn")?;
    children(&nspawn).into_iter().find(|process| name_of(process) == "systemd")
}

fn children(process: &str) -> Vec<String> {
    let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    listed.split_whitespace().map(str::to_owned).collect()
}

fn name_of(process: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}

/// Whether its systemd takes orders.
fn is_up(leader: &str) -> bool {
    let output = inside(leader, &["systemctl", "is-active", "bare.target"]).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"active"))
}

/// A command in the container, as its root.
fn inside(leader: &str, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args([
        "--target",
        leader,
        "--all",
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
    ]);
    command.args(words).stdin(Stdio::null());
    command
}
