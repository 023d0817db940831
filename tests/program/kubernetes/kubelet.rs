//! Does for one pod what a kubelet and a container runtime do: makes its volumes, starts its containers in their order with their restrictions, asks the
//! probes, exchanges each `ConfigMap` and token, and ends it all in the order of Kubernetes.
//!
//! A container is its own process tree (bwrap), with a root that is read-only where the pod says so, without a home, `/tmp` or `/etc/passwd`, as its user,
//! in the groups of the pod, without capabilities and without new privileges, and with its limit of memory. What is not restricted here: seccomp.
//!
//! *Invariant:* what the pod does not say, a container does not get, and it ends with the test.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Daemon, Rig, SOON, holds_within, on_disk, skipped, wait_until};

/// The image that Squire is in.
const SQUIRE_IMAGE: &str = "registry.example/squire:0.1.0";

/// Where that image, and here each other one, has its programs.
const BIN: &str = "/bin-of-the-image";

/// A pod on this machine.
pub(super) struct Kubelet<'a> {
    rig: &'a Rig,
    pod: Value,
    /// Containers by their names, in the order of their starts.
    running: Vec<(String, Daemon)>,
    /// The scripts of the containers that stand for an app.
    apps: BTreeMap<String, String>,
    volumes: BTreeMap<String, PathBuf>,
    exchanged: usize,
    /// The control groups that limit the memory of containers.
    groups: Vec<PathBuf>,
    _disk: TempDir,
}

impl<'a> Kubelet<'a> {
    /// Makes the volumes of a pod: its `ConfigMap` has this text as `squire.toml`. The app's containers run these scripts, by their names.
    pub(super) fn new(rig: &'a Rig, pod: Value, config: &str, apps: &[(&str, &str)]) -> Self {
        let apps = apps.iter().map(|(name, script)| ((*name).to_owned(), (*script).to_owned())).collect();
        let disk = on_disk("pod");
        rig.allow_secrets_in("volumes");
        for directory in ["volumes", "logs"] {
            fs::create_dir(rig.path(directory)).unwrap();
        }
        // Other users get to the volumes.
        for directory in [rig.directory(), disk.path()] {
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        }
        let volumes = list(&pod["spec"]["volumes"]).map(|volume| {
            let name = volume["name"].as_str().unwrap();
            // Only an emptyDir can be on a disk; the kubelet has the others in memory.
            let is_on_disk = volume["emptyDir"].is_object() && volume["emptyDir"]["medium"] != "Memory";
            (
                name.to_owned(),
                if is_on_disk { disk.path().join(name) } else { rig.path("volumes").join(name) },
            )
        });
        let volumes = volumes.collect();
        let mut kubelet = Self {
            rig,
            pod,
            running: Vec::new(),
            apps,
            volumes,
            exchanged: 0,
            groups: Vec::new(),
            _disk: disk,
        };
        for at in kubelet.volumes.values() {
            fs::create_dir(at).unwrap();
            kubelet.own(at, 0o2777);
        }
        kubelet.exchange("squire-config", "squire.toml", config, 0o644);
        kubelet
    }

    /// Where a volume is on this machine.
    pub(super) fn volume(&self, name: &str) -> PathBuf {
        self.volumes[name].clone()
    }

    fn group(&self) -> Option<u32> {
        self.pod["spec"]["securityContext"]["fsGroup"].as_u64().map(|group| group.try_into().unwrap())
    }

    fn own(&self, path: &Path, mode: u32) {
        chown(path, Some(0), Some(self.group().unwrap_or(0))).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a volume of one file a new content, as a kubelet does: in a directory of its own, to which the link `..data` changes at once.
    pub(super) fn exchange(&mut self, volume: &str, file: &str, content: &str, mode: u32) {
        self.exchanged += 1;
        let (at, new) = (self.volume(volume), format!("..{}", self.exchanged));
        fs::create_dir(at.join(&new)).unwrap();
        self.own(&at.join(&new), 0o755);
        fs::write(at.join(&new).join(file), content).unwrap();
        self.own(&at.join(&new).join(file), mode);
        symlink(&new, at.join("..data_tmp")).unwrap();
        let former = fs::read_link(at.join("..data"));
        fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
        match former {
            Ok(former) => fs::remove_dir_all(at.join(former)).unwrap(),
            Err(_) => symlink(Path::new("..data").join(file), at.join(file)).unwrap(),
        }
    }

    /// Gives the pod a token, with the mode that its volume says.
    pub(super) fn project(&mut self, token: &str) {
        self.rig.canaries().add(token);
        let volumes = self.pod["spec"]["volumes"].clone();
        let volume = list(&volumes).find(|volume| volume["name"] == "squire-token").unwrap();
        let mode = volume["projected"]["defaultMode"].as_u64().unwrap();
        self.exchange("squire-token", "token", token, mode.try_into().unwrap());
    }

    /// The audience that the pod asks a token for.
    pub(super) fn audience(&self) -> String {
        let sources =
            list(&self.pod["spec"]["volumes"]).find_map(|volume| volume["projected"]["sources"].get(0));
        sources.unwrap()["serviceAccountToken"]["audience"].as_str().unwrap().to_owned()
    }

    /// Starts the init containers, each when the one before has ended, or, for a sidecar, when its start-up probe is content; then the others.
    pub(super) fn start(&mut self) {
        let spec = self.pod["spec"].clone();
        for container in list(&spec["initContainers"]) {
            let name = container["name"].as_str().unwrap();
            if !self.runs(name) {
                self.launch(container);
            }
            if container["restartPolicy"] == "Always" {
                wait_until(2 * SOON, &format!("{name} is started\n{}", self.log(name)), || {
                    self.probe(name, "startupProbe")
                });
            } else {
                let code = self.wait(name);
                assert_eq!(code, 0, "{name}: {}", self.log(name));
            }
        }
        list(&spec["containers"]).for_each(|container| self.launch(container));
    }

    /// Starts only this container.
    pub(super) fn start_only(&mut self, name: &str) {
        let container = self.container(name).clone();
        self.launch(&container);
    }

    fn container(&self, name: &str) -> &Value {
        let spec = &self.pod["spec"];
        let found = list(&spec["initContainers"])
            .chain(list(&spec["containers"]))
            .find(|container| container["name"] == name);
        found.unwrap_or_else(|| panic!("no container {name}"))
    }

    fn launch(&mut self, container: &Value) {
        let name = container["name"].as_str().unwrap();
        let words = |key: &str| {
            list(&container[key]).map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let (mut command, arguments) = (words("command"), words("args"));
        let script =
            self.apps.get(name).map(|script| ["/bin/sh".to_owned(), "-c".to_owned(), script.clone()]);
        let program = match (container["image"] == SQUIRE_IMAGE, script) {
            (true, _) => {
                let entry = if command.is_empty() { vec!["squire".to_owned()] } else { command };
                [entry, arguments].concat()
            }
            // A wrapped app is the command in place of the configuration's.
            (false, Some(script)) => {
                if command.is_empty() {
                    self.rig.allow_secrets_in(&format!("logs/{name}"));
                } else {
                    command.push("--".to_owned());
                }
                command.extend(script);
                command
            }
            (false, None) => panic!("no script for {name}"),
        };
        let mut limited = self.limited(name, container);
        let command = self.command(container, &program);
        limited.arg(command.get_program()).args(command.get_args());
        let daemon = Daemon::start(&limited, &self.rig.path("logs").join(name), Signal::SIGKILL);
        self.running.retain(|(running, _)| running != name);
        self.running.push((name.to_owned(), daemon));
    }

    /// Runs the words that follow in a control group with the container's limit of memory, if it has one and this machine has such groups.
    fn limited(&mut self, name: &str, container: &Value) -> Command {
        // With process numbers of its own, so that everything in it ends with the first of them, whoever the others are.
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "sh"]);
        let limit =
            container["resources"]["limits"]["memory"].as_str().and_then(|limit| limit.strip_suffix("Mi"));
        let group =
            Path::new("/sys/fs/cgroup/memory").join(format!("squire-{:08x}-{name}", fastrand::u32(..)));
        let made = limit.map(|limit| {
            let bytes = limit.parse::<u64>().unwrap() << 20;
            fs::create_dir(&group)
                .and_then(|()| fs::write(group.join("memory.limit_in_bytes"), bytes.to_string()))
        });
        match made {
            Some(Ok(())) => {
                command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&group);
                self.groups.push(group);
                return command;
            }
            Some(Err(error)) => {
                skipped(&format!("{name} has no limit of memory: {}: {error}", group.display()));
            }
            None => {}
        }
        command.args(["-c", "exec \"$@\"", "sh"]);
        command
    }

    /// A program in a container of its own, as this one of the pod is.
    fn command(&self, container: &Value, program: &[String]) -> Command {
        let context = &container["securityContext"];
        let number =
            |key: &str| context[key].as_u64().or_else(|| self.pod["spec"]["securityContext"][key].as_u64());
        let mut bwrap = Command::new("bwrap");
        bwrap.args([
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--die-with-parent",
            "--as-pid-1",
            "--clearenv",
        ]);
        bwrap.args(["--proc", "/proc", "--dev", "/dev", "--setenv", "PATH", &format!("{BIN}:/usr/bin:/bin")]);
        bwrap.args(["--setenv", "SQUIRE_LOG", "trace"]);
        let is_ours = container["image"] == SQUIRE_IMAGE;
        // Squire's image has nothing but Squire; here also the libraries that a program of the tests is linked with.
        let bound = if is_ours { &["/usr/lib", "/usr/lib64"][..] } else { &["/usr"] };
        open_to_all(&mut bwrap, Path::new(BIN));
        for directory in bound.iter().filter(|directory| Path::new(directory).exists()) {
            open_to_all(&mut bwrap, Path::new(directory));
            bwrap.args(["--ro-bind", directory, directory]);
        }
        for link in ["lib", "lib64", "bin"] {
            bwrap.args(["--symlink", &format!("usr/{link}"), &format!("/{link}")]);
        }
        bwrap.args(["--ro-bind", "/usr/bin/setpriv", &format!("{BIN}/setpriv")]);
        if is_ours {
            bwrap.args(["--ro-bind", env!("CARGO_BIN_EXE_squire"), &format!("{BIN}/squire")]);
        }
        for mount in list(&container["volumeMounts"]) {
            let how = if mount["readOnly"] == true { "--ro-bind" } else { "--bind" };
            open_to_all(&mut bwrap, Path::new(mount["mountPath"].as_str().unwrap()));
            bwrap
                .arg(how)
                .arg(self.volume(mount["name"].as_str().unwrap()))
                .arg(mount["mountPath"].as_str().unwrap());
        }
        if context["readOnlyRootFilesystem"] == true {
            bwrap.args(["--remount-ro", "/"]);
        }
        let user = number("runAsUser").expect("the user of a container").to_string();
        let group = number("runAsGroup").unwrap_or(0).to_string();
        bwrap.args([
            "--",
            &format!("{BIN}/setpriv"),
            "--reuid",
            &user,
            "--regid",
            &group,
            "--bounding-set=-all",
            "--inh-caps=-all",
        ]);
        match self.group() {
            Some(group) => bwrap.args(["--groups", &group.to_string()]),
            None => bwrap.arg("--clear-groups"),
        };
        if context["allowPrivilegeEscalation"] == false {
            bwrap.arg("--no-new-privs");
        }
        bwrap.args(program);
        bwrap
    }

    /// Runs a program in a container like this one.
    pub(super) fn exec(&self, name: &str, program: &[&str]) -> Output {
        let program: Vec<_> = program.iter().map(|word| (*word).to_owned()).collect();
        self.command(self.container(name), &program).output().unwrap()
    }

    /// Whether a probe of a container is content.
    pub(super) fn probe(&self, name: &str, probe: &str) -> bool {
        let command = list(&self.container(name)[probe]["exec"]["command"]);
        let words: Vec<_> = command.map(|word| word.as_str().unwrap()).collect();
        assert!(!words.is_empty(), "{name} has no {probe}");
        self.exec(name, &words).status.success()
    }

    /// What a container said so far.
    pub(super) fn log(&self, name: &str) -> String {
        self.rig.read(&format!("logs/{name}"))
    }

    /// Waits for a state; shows the log of a container if it does not come.
    #[track_caller]
    pub(super) fn until(&self, name: &str, what: &str, condition: impl FnMut() -> bool) {
        assert!(holds_within(2 * SOON, condition), "waited in vain for: {what}\n{}", self.log(name));
    }

    fn daemon(&mut self, name: &str) -> &mut Daemon {
        let found = self.running.iter_mut().find(|(running, _)| running == name);
        &mut found.unwrap_or_else(|| panic!("{name} does not run")).1
    }

    /// Whether a container runs.
    pub(super) fn runs(&mut self, name: &str) -> bool {
        self.running.iter_mut().any(|(running, daemon)| running == name && daemon.ended().is_none())
    }

    /// The process of a container on this machine.
    pub(super) fn process(&mut self, name: &str) -> i32 {
        let child = |process: u32| -> u32 {
            let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
            listed.trim().parse().unwrap_or_else(|_| panic!("{name} is one process: {listed}"))
        };
        // unshare, bwrap, and what runs in the container.
        let unshare = self.daemon(name).id();
        child(child(unshare)).cast_signed()
    }

    /// Waits for the end of a container; its exit code.
    #[track_caller]
    pub(super) fn wait(&mut self, name: &str) -> i32 {
        let mut ended = None;
        let has_ended = holds_within(2 * SOON, || {
            ended = self.daemon(name).ended();
            ended.is_some()
        });
        assert!(has_ended, "{name} does not end: {}", self.log(name));
        ended.unwrap().code().unwrap()
    }

    /// Ends the pod as Kubernetes does: first the containers of the app, then the sidecars, the last one first. The exit codes, in that order.
    pub(super) fn stop(&mut self) -> Vec<(String, i32)> {
        let spec = self.pod["spec"].clone();
        let apps = list(&spec["containers"]);
        let sidecars =
            list(&spec["initContainers"]).filter(|container| container["restartPolicy"] == "Always");
        let mut codes = Vec::new();
        for container in apps.chain(sidecars.rev()) {
            let name = container["name"].as_str().unwrap();
            if self.runs(name) {
                kill(Pid::from_raw(self.process(name)), Signal::SIGTERM).unwrap();
            }
            codes.push((name.to_owned(), self.wait(name)));
        }
        codes
    }
}

impl Drop for Kubelet<'_> {
    fn drop(&mut self) {
        self.running.clear();
        // The kernel ends what is left one after the other.
        if !holds_within(SOON, || {
            self.groups.iter().all(|group| fs::remove_dir(group).is_ok() || !group.exists())
        }) {
            assert!(std::thread::panicking(), "control groups are left: {:?}", self.groups);
        }
    }
}

/// Makes a directory and those above it as an image has them; by itself bwrap makes those above for root alone.
fn open_to_all(bwrap: &mut Command, path: &Path) {
    let above: Vec<_> = path.ancestors().filter(|directory| *directory != Path::new("/")).collect();
    for directory in above.into_iter().rev() {
        bwrap.args(["--perms", "0755", "--dir"]).arg(directory);
    }
}

fn list(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}
