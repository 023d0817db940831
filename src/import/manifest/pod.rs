//! The pod with Squire as a native sidecar, or as an init container that renders once.
//!
//! *Invariant:* what was in the pod stays, but for the injector's annotations.

use super::super::entry::TemplateFile;
use super::super::yaml::{Node, Yaml};

/// What is to be done to a pod.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Renders once, before the app.
    pub(super) is_once: bool,
    /// Before the other init containers.
    pub(super) is_first: bool,
    pub(super) shares_processes: bool,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    /// Mounted at `/vault/tls`.
    pub(super) tls_secret: Option<String>,
    /// Mounted at `/vault/custom`.
    pub(super) extra_secret: Option<String>,
    /// A volume with a service account's token, and where the app mounts it.
    pub(super) token_volume: Option<(String, String)>,
    /// The containers that see the files; all, if nothing is said.
    pub(super) containers: Option<Vec<String>>,
    pub(super) config_map: Option<String>,
    /// What is requested, and the limit.
    pub(super) cpu: [Option<String>; 2],
    pub(super) memory: [Option<String>; 2],
    /// Where files are; each is a volume in memory.
    pub(super) directories: Vec<String>,
}

impl Plan {
    /// Whether the agent's configuration is in a document of its own.
    pub(super) fn has_configuration(&self) -> bool {
        self.config_map.is_some()
    }
}

/// Where the user has to write the name of the image.
pub(super) const IMAGE: &str = "registry.example/squire:0.1.0";
/// The user of Squire's image.
pub(super) const USER: &str = "65532";

/// A `ConfigMap` with the configuration and its templates.
pub(super) fn config_map(
    name: Option<&str>,
    namespace: Option<&str>,
    toml: &str,
    templates: &[TemplateFile],
) -> Node {
    let name = format!("{}-squire", name.unwrap_or("app"));
    let mut metadata = vec![("name", Node::text(&name))];
    metadata.extend(namespace.map(|namespace| ("namespace", Node::text(namespace))));
    let mut data = vec![("squire.toml", Node::text(toml))];
    data.extend(templates.iter().map(|template| (template.name.as_str(), Node::text(&template.text))));
    Node::map([
        ("apiVersion", Node::plain("v1")),
        ("kind", Node::plain("ConfigMap")),
        ("metadata", Node::map(metadata)),
        ("data", Node::map(data)),
    ])
}

/// Puts Squire into a pod, or into the template of one.
pub(super) fn change(pod: &mut Node, config: &Node, plan: &Plan) {
    let config = config.get(&["metadata", "name"]).and_then(Node::as_text).unwrap_or_default().to_owned();
    remove_annotations(pod, super::annotations::PREFIXES);
    let Some(spec) = pod.get_mut(&["spec"]) else { return };
    if let Some(context) = spec.entry("securityContext", Node::map([])) {
        context.entry("fsGroup", Node::plain(USER));
    }
    if plan.shares_processes {
        spec.entry("shareProcessNamespace", Node::plain("true"));
    }
    if let Some(Node { is: Yaml::List(containers), .. }) = spec.entry("initContainers", Node::list([])) {
        let at = if plan.is_first { 0 } else { containers.len() };
        containers.insert(at, container(plan));
    }
    mount_in_app(spec, plan);
    if let Some(volumes) = spec.entry("volumes", Node::list([])) {
        let memory = |name: &str, size| {
            let volume = Node::map([("medium", Node::plain("Memory")), ("sizeLimit", Node::plain(size))]);
            Node::map([("name", Node::plain(name)), ("emptyDir", volume)])
        };
        let secret = |name: &str, of: &str| {
            Node::map([("name", Node::plain(name)), ("secret", Node::map([("secretName", Node::text(of))]))])
        };
        let config = Node::map([("name", Node::text(&config))]);
        volumes.push(Node::map([("name", Node::plain("squire-config")), ("configMap", config)]));
        volumes.push(memory("squire-run", "4Mi"));
        for at in 0..plan.directories.len() {
            volumes.push(memory(&volume_name(at), "16Mi"));
        }
        for (name, of) in [("squire-tls", &plan.tls_secret), ("squire-extra", &plan.extra_secret)] {
            if let Some(of) = of {
                volumes.push(secret(name, of));
            }
        }
    }
}

fn volume_name(at: usize) -> String {
    if at == 0 { "squire-secrets".to_owned() } else { format!("squire-secrets-{}", at + 1) }
}

/// Without the annotations that begin so.
pub(super) fn remove_annotations(pod: &mut Node, prefixes: &[&str]) {
    let is_one =
        |key: &Node| key.as_text().is_some_and(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)));
    if let Some(Node { is: Yaml::Map(pairs), .. }) = pod.get_mut(&["metadata", "annotations"]) {
        pairs.retain(|(key, _)| !is_one(key));
    }
}

/// The app only reads the files.
fn mount_in_app(spec: &mut Node, plan: &Plan) {
    let Some(Node { is: Yaml::List(containers), .. }) = spec.get_mut(&["containers"]) else { return };
    for container in containers {
        let name = container.get(&["name"]).and_then(Node::as_text).unwrap_or_default();
        if plan.containers.as_ref().is_some_and(|only| !only.iter().any(|one| one == name)) {
            continue;
        }
        let Some(mounts) = container.entry("volumeMounts", Node::list([])) else { continue };
        for (at, directory) in plan.directories.iter().enumerate() {
            mounts.push(mount(&volume_name(at), directory, true));
        }
    }
}

pub(super) fn mount(name: &str, path: &str, is_read_only: bool) -> Node {
    let mut pairs = vec![("name", Node::plain(name)), ("mountPath", Node::text(path))];
    if is_read_only {
        pairs.push(("readOnly", Node::plain("true")));
    }
    Node::map(pairs)
}

/// Squire's container, as `deploy/kubernetes/components/sidecar` has it.
fn container(plan: &Plan) -> Node {
    let words = |words: &[&str]| Node::list(words.iter().map(|word| Node::text(word)));
    let command = if plan.is_once { "render" } else { "run" };
    let mut pairs = vec![
        ("name", Node::plain("squire")),
        ("image", Node::text(IMAGE)),
        ("args", words(&[command, "-c", "/etc/squire/squire.toml"])),
    ];
    if !plan.is_once {
        let probe = |what: &str, times: &[(&'static str, &str)]| {
            let command = words(&["squire", "status", what, "-c", "/etc/squire/squire.toml"]);
            let mut probe = vec![("exec", Node::map([("command", command)]))];
            probe.extend(times.iter().map(|(key, value)| (*key, Node::plain(value))));
            Node::map(probe)
        };
        pairs.push(("restartPolicy", Node::plain("Always")));
        let start = [("periodSeconds", "2"), ("timeoutSeconds", "5"), ("failureThreshold", "302400")];
        pairs.push(("startupProbe", probe("--ready", &start)));
        let live = [("periodSeconds", "20"), ("timeoutSeconds", "10"), ("failureThreshold", "6")];
        pairs.push(("livenessProbe", probe("--live", &live)));
    }
    pairs.push(("resources", resources(plan)));
    let user = plan.user.as_deref().unwrap_or(USER);
    pairs.push(("securityContext", security(user, plan.group.as_deref().unwrap_or(user))));
    pairs.push(("volumeMounts", Node::list(mounts(plan))));
    Node::map(pairs)
}

/// What a container of Squire may do.
pub(super) fn security(user: &str, group: &str) -> Node {
    Node::map([
        ("runAsNonRoot", Node::plain(if user == "0" { "false" } else { "true" })),
        ("runAsUser", Node::plain(user)),
        ("runAsGroup", Node::plain(group)),
        ("allowPrivilegeEscalation", Node::plain("false")),
        ("readOnlyRootFilesystem", Node::plain("true")),
        ("capabilities", Node::map([("drop", Node::list([Node::text("ALL")]))])),
        ("seccompProfile", Node::map([("type", Node::plain("RuntimeDefault"))])),
    ])
}

fn resources(plan: &Plan) -> Node {
    let [requested_cpu, cpu] = &plan.cpu;
    let [requested_memory, memory] = &plan.memory;
    let or = |value: &Option<String>, usual: &str| Node::text(value.as_deref().unwrap_or(usual));
    let mut limits = vec![("memory", or(memory, "64Mi"))];
    limits.extend(cpu.as_deref().map(|cpu| ("cpu", Node::text(cpu))));
    let requests = [("cpu", or(requested_cpu, "10m")), ("memory", or(requested_memory, "32Mi"))];
    Node::map([("requests", Node::map(requests)), ("limits", Node::map(limits))])
}

fn mounts(plan: &Plan) -> Vec<Node> {
    let mut mounts =
        vec![mount("squire-config", "/etc/squire", true), mount("squire-run", "/run/squire", false)];
    mounts.extend(
        plan.directories.iter().enumerate().map(|(at, directory)| mount(&volume_name(at), directory, false)),
    );
    if plan.tls_secret.is_some() {
        mounts.push(mount("squire-tls", "/vault/tls", true));
    }
    if plan.extra_secret.is_some() {
        mounts.push(mount("squire-extra", "/vault/custom", true));
    }
    mounts.extend(plan.token_volume.as_ref().map(|(volume, path)| mount(volume, path, true)));
    mounts
}
