//! The pod with Squire as the parent of the app, in the app's own container: for variables, which cannot change in a running process.
//!
//! As `deploy/kubernetes/bases/wrapper` has it: an init container brings the program into a volume, and the container's command follows it.
//!
//! *Invariant:* the command is that of the manifest. One that is only in the image is not known, so such a pod is not changed.

use super::super::bank_vaults;
use super::super::block::Reading;
use super::super::yaml::{Node, Yaml};
use super::super::{Place, bank_vaults::refers};
use super::pod::{IMAGE, USER, mount, remove_annotations, security};

/// Whether the container's command is known; if not, that is a note.
pub(super) fn is_possible(pod: &Node, owner: &str, reading: &mut Reading<'_>) -> bool {
    let containers = pod.get(&["spec", "containers"]).map(Node::items).unwrap_or_default();
    let container = containers.iter().find(|container| is_named(container, owner));
    let is_known = container
        .and_then(|container| container.get(&["command"]))
        .is_some_and(|command| !command.items().is_empty());
    if !is_known {
        let at = container.map_or(pod.at, |container| container.at);
        let place = Place { file: reading.file.to_owned(), line: at.line, column: at.column };
        let advice = "the pod is not changed, since its command is in the image: write it into the container, and import again; Squire has to be \
                      the parent of the program, as in deploy/kubernetes/bases/wrapper";
        reading.notes.left(place, format!("container {owner:?}"), advice);
    }
    is_known
}

fn is_named(container: &Node, name: &str) -> bool {
    container.get(&["name"]).and_then(Node::as_text) == Some(name)
}

/// Puts Squire before the command of a container.
pub(super) fn change(pod: &mut Node, config: &Node, owner: &str) {
    let config = config.get(&["metadata", "name"]).and_then(Node::as_text).unwrap_or_default().to_owned();
    remove_annotations(pod, bank_vaults::PREFIXES);
    let Some(spec) = pod.get_mut(&["spec"]) else { return };
    if let Some(Node { is: Yaml::List(containers), .. }) = spec.entry("initContainers", Node::list([])) {
        containers.insert(0, installer());
    }
    if let Some(Node { is: Yaml::List(containers), .. }) = spec.get_mut(&["containers"])
        && let Some(container) = containers.iter_mut().find(|container| is_named(container, owner))
    {
        wrap(container);
    }
    if let Some(volumes) = spec.entry("volumes", Node::list([])) {
        let size = |size| Node::map([("sizeLimit", Node::plain(size))]);
        let memory = Node::map([("medium", Node::plain("Memory")), ("sizeLimit", Node::plain("4Mi"))]);
        for (name, kind, value) in [
            ("squire-bin", "emptyDir", size("64Mi")),
            ("squire-config", "configMap", Node::map([("name", Node::text(&config))])),
            ("squire-run", "emptyDir", memory),
        ] {
            volumes.push(Node::map([("name", Node::plain(name)), (kind, value)]));
        }
    }
}

fn wrap(container: &mut Node) {
    let program = ["/squire-bin/squire", "run", "-c", "/etc/squire/squire.toml", "--"].map(Node::text);
    if let Some(Node { is: Yaml::List(command), .. }) = container.get_mut(&["command"]) {
        command.splice(0..0, program);
    }
    if let Some(Node { is: Yaml::List(env), .. }) = container.get_mut(&["env"]) {
        env.retain(|entry| !entry.get(&["value"]).and_then(Node::as_text).is_some_and(refers));
    }
    if let Some(mounts) = container.entry("volumeMounts", Node::list([])) {
        mounts.push(mount("squire-bin", "/squire-bin", true));
        mounts.push(mount("squire-config", "/etc/squire", true));
        mounts.push(mount("squire-run", "/run/squire", false));
    }
}

/// Copies the program into the volume.
fn installer() -> Node {
    Node::map([
        ("name", Node::plain("squire-install")),
        ("image", Node::text(IMAGE)),
        ("args", Node::list([Node::text("install"), Node::text("/squire-bin")])),
        ("securityContext", security(USER, USER)),
        ("volumeMounts", Node::list([mount("squire-bin", "/squire-bin", false)])),
    ])
}
