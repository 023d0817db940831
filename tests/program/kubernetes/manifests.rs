//! What is rendered: valid in each version, restricted, and the same Squire in each way to get one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::tools::{BASES, ask, base, helm, kustomize, objects, of_kind, pod_of, repository};

/// Every version since native sidecars are there by default.
pub(super) const VERSIONS: [&str; 9] =
    ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

/// Asserts that the objects are valid, and that each of these kinds was looked at in each of these versions.
#[track_caller]
pub(super) fn assert_valid(objects: &[Value], looked_at: &[(&str, &[&str])]) {
    let answer = ask("validate.py", &json!({ "versions": VERSIONS, "objects": objects }));
    assert_eq!(answer["problems"], json!([]));
    for (kind, versions) in looked_at {
        for version in *versions {
            assert!(
                answer["checked"][format!("{kind} {version}")].is_u64(),
                "no schema of {kind} {version}: {answer}"
            );
        }
    }
}

/// Every breach of the restricted profile (Pod Security Standards) in a pod.
pub(super) fn breaches(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut breaches = Vec::new();
    let mut check = |holds: bool, what: String| breaches.extend((!holds).then_some(what));
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        check(spec[shared] != json!(true), format!("{shared} is shared"));
    }
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in list(&spec["volumes"]) {
        let kinds: Vec<_> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
        check(kinds.iter().all(|kind| allowed.contains(&kind.as_str())), format!("volume {volume}"));
    }
    for container in list(&spec["initContainers"]).chain(list(&spec["containers"])) {
        let (name, own) = (&container["name"], &container["securityContext"]);
        // A container's own setting comes before the pod's.
        let setting = |key: &str| if own[key].is_null() { &spec["securityContext"][key] } else { &own[key] };
        check(own["privileged"] != json!(true), format!("{name} is privileged"));
        check(own["allowPrivilegeEscalation"] == json!(false), format!("{name} may gain privileges"));
        check(own["capabilities"]["drop"] == json!(["ALL"]), format!("{name} keeps capabilities"));
        check(own["capabilities"]["add"].is_null(), format!("{name} has more capabilities"));
        check(*setting("runAsNonRoot") == json!(true), format!("{name} may be root"));
        check(*setting("runAsUser") != json!(0), format!("{name} is root"));
        check(
            setting("seccompProfile")["type"] == "RuntimeDefault",
            format!("{name} has no seccomp profile"),
        );
        for port in list(&container["ports"]) {
            check(port["hostPort"].is_null(), format!("{name} has a port of the host"));
        }
    }
    breaches
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What the profile does not ask for, and we do: a read-only root, resources, memory for secrets, no token of the API server.
fn lapses(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut lapses = Vec::new();
    let mut check = |holds: bool, what: String| lapses.extend((!holds).then_some(what));
    check(spec["automountServiceAccountToken"] == json!(false), "a token of the API server".into());
    check(spec["securityContext"]["fsGroup"].is_u64(), "no fsGroup".into());
    for container in list(&spec["initContainers"]).chain(list(&spec["containers"])) {
        let name = &container["name"];
        check(
            container["securityContext"]["readOnlyRootFilesystem"] == json!(true),
            format!("{name} can write to its root"),
        );
        for needed in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            check(container["resources"].pointer(needed).is_some(), format!("{name} has no {needed}"));
        }
    }
    for volume in list(&spec["volumes"]) {
        let (name, empty) = (&volume["name"], &volume["emptyDir"]);
        check(empty.is_null() || empty["sizeLimit"].is_string(), format!("{name} has no size"));
        // The program is no secret.
        check(
            empty.is_null() || empty["medium"] == "Memory" || name == "squire-bin",
            format!("{name} is on a disk"),
        );
        let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
        check(
            volume["projected"].is_null() || token["audience"] == "vault",
            format!("{name} is for anybody"),
        );
    }
    lapses
}

#[test]
fn each_base_is_valid_in_every_version_and_restricted() {
    for name in BASES {
        let objects = base(name);
        let kind = match name {
            "job" => "Job",
            "cronjob" => "CronJob",
            _ => "Deployment",
        };
        assert_valid(&objects, &[(kind, &VERSIONS), ("ConfigMap", &VERSIONS), ("ServiceAccount", &VERSIONS)]);
        let pod = pod_of(&objects).unwrap();
        assert_eq!((breaches(&pod), lapses(&pod)), (vec![], vec![]), "{name}");
    }
}

/// The check itself, against a pod that does everything that it must not.
#[test]
fn the_restricted_profile_is_checked_at_each_point() {
    let bad = json!({ "metadata": { "name": "bad" }, "spec": {
        "hostNetwork": true, "hostPID": true, "hostIPC": true, "securityContext": { "runAsUser": 0 },
        "volumes": [{ "name": "host", "hostPath": { "path": "/" } }],
        "containers": [{ "name": "bad", "ports": [{ "hostPort": 1 }], "securityContext": {
            "privileged": true, "allowPrivilegeEscalation": true, "capabilities": { "add": ["SYS_ADMIN"] } } }] } });
    assert_eq!(breaches(&bad).len(), 12, "{:#?}", breaches(&bad));
}

/// Helm has no way to the network here, and needs none: the library chart is a directory beside the example.
fn rendered_by_helm(home: &Path) -> Vec<Value> {
    let copied =
        Command::new("cp").arg("-r").arg(repository("deploy/kubernetes/helm")).arg(home).status().unwrap();
    assert!(copied.success());
    for arguments in [
        &["lint", "--strict", "helm/squire"][..],
        &["dependency", "build", "helm/example"],
        &["lint", "--strict", "helm/example"],
    ] {
        let said = helm(home, arguments);
        assert!(!said.contains("[ERROR]") && !said.contains("[WARNING]"), "{said}");
    }
    objects(&helm(home, &["template", "shop", "helm/example"]))
}

#[test]
fn the_helm_chart_is_clean_valid_and_restricted() {
    let home = tempfile::tempdir().unwrap();
    let objects = rendered_by_helm(home.path());
    assert_valid(&objects, &[("Deployment", &VERSIONS), ("ConfigMap", &VERSIONS)]);
    let pod = pod_of(&objects).unwrap();
    assert_eq!((breaches(&pod), lapses(&pod)), (vec![], vec![]));
}

/// The container `squire` of a pod, its volumes by their names, and how the app mounts the secrets; without what names the `ConfigMap`.
pub(super) fn squire_of(pod: &Value) -> Value {
    let spec = &pod["spec"];
    let by_name = |name: &str| list(&spec["volumes"]).find(|volume| volume["name"] == name).cloned();
    let mut volumes: Vec<_> =
        ["squire-config", "squire-token", "squire-run", "squire-secrets"].map(by_name).into();
    volumes[0] = None;
    let mount = list(&spec["containers"][0]["volumeMounts"]).find(|mount| mount["name"] == "squire-secrets");
    let scraped =
        ["scrape", "port", "path"].map(|key| &pod["metadata"]["annotations"][format!("prometheus.io/{key}")]);
    json!({ "scraped": scraped, "container": spec["initContainers"][0], "volumes": volumes, "mount": mount, "group": spec["securityContext"]["fsGroup"] })
}

/// Kustomize, Helm and the policy each have the container written down, so a change to one of them has to be made to all.
#[test]
fn each_way_adds_the_same_squire() {
    let home = tempfile::tempdir().unwrap();
    let by_kustomize = squire_of(&pod_of(&base("sidecar")).unwrap());
    assert!(
        by_kustomize["container"]["restartPolicy"] == "Always"
            && by_kustomize["mount"]["readOnly"] == json!(true)
    );
    assert_eq!(squire_of(&pod_of(&rendered_by_helm(home.path())).unwrap()), by_kustomize, "Helm");
    assert_eq!(squire_of(&pod_of(&base("job")).unwrap()), by_kustomize, "the Job");
    let pod = super::injection::admitted(&super::injection::plain_pod());
    assert_eq!(squire_of(&pod), by_kustomize, "the policy");
}

/// The lines of the page that add Squire, for these files.
fn documented_lines(files: &str) -> String {
    let page = fs::read_to_string(repository("docs/deployment.md")).unwrap();
    let block = page.split("```yaml\n# kustomization.yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block.lines().count(), 4, "the page says that there are four: {block}");
    block.replacen("[deployment.yaml]", files, 1)
}

/// What a user has: a Deployment and a `DaemonSet` with two containers, one of them without mounts, and a `StatefulSet` with a group of its own.
#[test]
fn a_few_lines_add_it_to_what_is_there() {
    let overlay = tempfile::tempdir_in(repository("target")).unwrap();
    let write = |name: &str, text: &str| fs::write(overlay.path().join(name), text).unwrap();
    let containers = r#"[{"name": "app", "image": "app", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}, {"name": "log", "image": "log"}]"#;
    let workload = |kind: &str, service: &str, context: &str| {
        format!(
            r#"{{"apiVersion": "apps/v1", "kind": "{kind}", "metadata": {{"name": "app"}}, "spec": {{{service} "selector": {{"matchLabels": {{"a": "b"}}}},
            "template": {{"metadata": {{"labels": {{"a": "b"}}}}, "spec": {{{context} "initContainers": [{{"name": "migrate", "image": "app"}}],
            "volumes": [{{"name": "tmp", "emptyDir": {{}}}}], "containers": {containers}}}}}}}}}"#
        )
    };
    write("deployment.json", &workload("Deployment", "", ""));
    write("daemonset.json", &workload("DaemonSet", "", ""));
    write(
        "statefulset.json",
        &workload("StatefulSet", r#""serviceName": "app","#, r#""securityContext": {"fsGroup": 1},"#),
    );
    write("squire.toml", "");
    write(
        "kustomization.yaml",
        &(documented_lines("[deployment.json, daemonset.json, statefulset.json]")
            + "patches:\n- target: {kind: StatefulSet}\n  patch: '[{\"op\": \"replace\", \"path\": \"/spec/template/spec/securityContext/fsGroup\", \"value\": 1}]'\n"),
    );
    let objects = kustomize(overlay.path());
    assert_valid(
        &objects,
        &[("Deployment", &VERSIONS), ("DaemonSet", &VERSIONS), ("StatefulSet", &VERSIONS)],
    );
    for kind in ["Deployment", "DaemonSet", "StatefulSet"] {
        let spec = &of_kind(&objects, kind)["spec"]["template"]["spec"];
        let names = |of: &str, key: &str| {
            list(&spec[of]).map(|item| item[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("initContainers", "name"), ["squire", "migrate"], "Squire comes first");
        assert_eq!(names("initContainers", "image")[0], "registry.example/squire:0.1.0");
        assert_eq!(names("containers", "name"), ["app", "log"]);
        for container in list(&spec["containers"]) {
            let mount = json!({ "name": "squire-secrets", "mountPath": "/secrets", "readOnly": true });
            assert!(list(&container["volumeMounts"]).any(|found| *found == mount), "{container}");
        }
        let generated = of_kind(&objects, "ConfigMap")["metadata"]["name"].clone();
        assert!(
            list(&spec["volumes"]).any(|volume| volume["configMap"]["name"] == generated),
            "{generated} is not mounted"
        );
        assert_eq!(spec["securityContext"]["fsGroup"], if kind == "StatefulSet" { 1 } else { 65532 });
    }
    assert!(
        objects.iter().all(|object| object["kind"] != "Mount"),
        "what is for kustomize alone is sent to the cluster"
    );
}

/// A schema of the Prometheus operator is in no package, so this is compared with what its API says: `selector` and `podMetricsEndpoints`.
#[test]
fn monitoring_finds_the_port_of_squire() {
    let overlay = tempfile::tempdir_in(repository("target")).unwrap();
    let kustomization = "resources: [../../deploy/kubernetes/bases/sidecar]\ncomponents: [../../deploy/kubernetes/components/monitoring]\n";
    fs::write(overlay.path().join("kustomization.yaml"), kustomization).unwrap();
    let objects = kustomize(overlay.path());
    let monitor = of_kind(&objects, "PodMonitor");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    let pod = pod_of(&objects).unwrap();
    let port = &pod["spec"]["initContainers"][0]["ports"][0];
    assert_eq!(endpoint["port"], port["name"]);
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], port["containerPort"].to_string());
    assert_eq!(
        (&annotations["prometheus.io/scrape"], &annotations["prometheus.io/path"]),
        (&json!("true"), &endpoint["path"])
    );
    let config = of_kind(&objects, "ConfigMap")["data"]["squire.toml"].as_str().unwrap().to_owned();
    assert!(config.contains(&format!("0.0.0.0:{}", port["containerPort"])), "nobody listens there: {config}");
}
