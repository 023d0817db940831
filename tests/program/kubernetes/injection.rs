//! The policies that add Squire to labelled pods, on pods of all kinds: what a pod becomes, and who is refused.
//!
//! Who attacks: whoever may create a pod in the cluster, by the annotation that names the `ConfigMap`, or by things of their own in Squire's place.

use serde_json::{Value, json};

use super::manifests::{VERSIONS, assert_valid, breaches, squire_of};
use super::tools::{ask, kustomize, of_kind, repository};

fn policies() -> Vec<Value> {
    kustomize(&repository("deploy/kubernetes/injection"))
}

/// What the API server makes of a new pod: the pod, or why it is refused.
fn admission(pod: &Value, with_mutation: bool) -> Value {
    let policies = policies();
    let mutating =
        if with_mutation { of_kind(&policies, "MutatingAdmissionPolicy").clone() } else { Value::Null };
    ask(
        "admission.py",
        &json!({ "mutating": mutating, "validating": of_kind(&policies, "ValidatingAdmissionPolicy"), "pod": pod }),
    )
}

/// The pod that is admitted.
#[track_caller]
pub(super) fn admitted(pod: &Value) -> Value {
    let answer = admission(pod, true);
    assert!(answer["refused"].is_null(), "{answer}");
    answer["pod"].clone()
}

#[track_caller]
fn assert_refused(pod: &Value, words: &str) {
    let answer = admission(pod, true);
    assert!(answer["refused"].as_str().is_some_and(|message| message.contains(words)), "{words}: {answer}");
}

/// A pod that asks for Squire and has nothing but its app, restricted.
pub(super) fn plain_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "shop", "labels": { "squire/inject": "true" }, "annotations": { "squire/config": "shop-squire" } },
        "spec": {
            "serviceAccountName": "shop",
            "containers": [{ "name": "shop", "image": "shop", "securityContext": restricted() }],
        },
    })
}

fn restricted() -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": 10001, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// A pod with everything that the policy could break.
fn full_pod() -> Value {
    let mut pod = plain_pod();
    let container = |name: &str, mounts: Value| json!({ "name": name, "image": name, "securityContext": restricted(), "volumeMounts": mounts });
    pod["metadata"]["annotations"]["prometheus.io/scrape"] = json!("false");
    pod["spec"]["securityContext"] = json!({ "fsGroup": 2000, "runAsUser": 1 });
    pod["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    pod["spec"]["initContainers"] =
        json!([container("migrate", json!([{ "name": "data", "mountPath": "/data" }]))]);
    let mut bare = container("bare", json!(null));
    bare.as_object_mut().unwrap().remove("volumeMounts");
    pod["spec"]["containers"] =
        json!([bare, container("app", json!([{ "name": "data", "mountPath": "/data" }]))]);
    pod
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn the_policies_are_valid_and_act_only_on_what_is_created() {
    let policies = policies();
    assert_valid(
        &policies,
        &[
            ("MutatingAdmissionPolicy", &VERSIONS[7..]),
            ("MutatingAdmissionPolicyBinding", &VERSIONS[7..]),
            ("ValidatingAdmissionPolicy", &VERSIONS[1..]),
        ],
    );
    // As `docs/deployment.md` says for a cluster that has it as beta.
    let text = serde_json::to_string(&policies)
        .unwrap()
        .replace("admissionregistration.k8s.io/v1\"", "admissionregistration.k8s.io/v1beta1\"");
    let beta: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_valid(
        &beta,
        &[("MutatingAdmissionPolicy", &VERSIONS[5..7]), ("MutatingAdmissionPolicyBinding", &VERSIONS[5..7])],
    );
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        let spec = &of_kind(&policies, kind)["spec"];
        assert_eq!(
            (&spec["failurePolicy"], &spec["matchConstraints"]["resourceRules"][0]["operations"]),
            (&json!("Fail"), &json!(["CREATE"]))
        );
    }
    assert_eq!(of_kind(&policies, "MutatingAdmissionPolicy")["spec"]["reinvocationPolicy"], "IfNeeded");
}

#[test]
fn a_pod_gets_squire_first_and_keeps_what_it_has() {
    let pod = admitted(&full_pod());
    assert_valid(std::slice::from_ref(&pod), &[("Pod", &VERSIONS)]);
    assert_eq!(breaches(&pod), Vec::<String>::new());
    let spec = &pod["spec"];
    assert_eq!(names(&spec["initContainers"]), ["squire", "migrate"]);
    assert_eq!(names(&spec["containers"]), ["bare", "app"]);
    assert_eq!(
        names(&spec["volumes"]),
        ["data", "squire-config", "squire-token", "squire-run", "squire-secrets"]
    );
    assert_eq!(spec["volumes"][1]["configMap"]["name"], "shop-squire");
    for (container, mounts) in [
        (&spec["containers"][0], &["squire-secrets"][..]),
        (&spec["containers"][1], &["data", "squire-secrets"]),
        (&spec["initContainers"][1], &["data", "squire-secrets"]),
    ] {
        assert_eq!(names(&container["volumeMounts"]), mounts);
        assert_eq!(container["volumeMounts"].as_array().unwrap().last().unwrap()["readOnly"], true);
    }
    assert_eq!(spec["securityContext"], json!({ "fsGroup": 2000, "runAsUser": 1 }), "it is the pod's own");
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/scrape"], "false");

    let plain = admitted(&plain_pod());
    assert_valid(std::slice::from_ref(&plain), &[("Pod", &VERSIONS)]);
    assert_eq!(
        (breaches(&plain), plain["metadata"]["annotations"]["prometheus.io/port"].clone()),
        (vec![], json!("9790"))
    );
}

#[test]
fn asked_again_it_adds_only_what_is_missing() {
    for pod in [plain_pod(), full_pod()] {
        let once = admitted(&pod);
        assert_eq!(admitted(&once), once);
        // Another admission plugin adds a container of its own, and the policy is asked again.
        let mut with_mesh = once.clone();
        let mesh = json!({ "name": "mesh", "image": "mesh", "securityContext": restricted() });
        with_mesh["spec"]["containers"].as_array_mut().unwrap().insert(0, mesh);
        let mut again = admitted(&with_mesh);
        let mesh = again["spec"]["containers"].as_array_mut().unwrap().remove(0);
        assert_eq!((names(&mesh["volumeMounts"]), &again), (vec!["squire-secrets"], &once));
    }
}

#[test]
fn a_pod_that_does_not_ask_stays_as_it_is() {
    for label in [json!(null), json!("false"), json!("")] {
        let mut pod = full_pod();
        pod["metadata"]["labels"]["squire/inject"] = label;
        assert_eq!(admitted(&pod), pod);
    }
}

#[test]
fn an_annotation_that_names_no_config_map_is_refused() {
    let long = "a".repeat(254);
    for hostile in [
        "",
        " ",
        "../shop",
        "shop/other",
        "Shop",
        "-shop",
        "shop-",
        "shop..a",
        "shop\n",
        "shop\nhostPath: /",
        "a\"}, hostPath: {path: \"/",
        "\\",
        "${HOME}",
        "shop\"}}] + [JSONPatch{op: \"add\", path: \"/spec/hostNetwork\", value: true}] + [",
        "ähop",
        long.as_str(),
    ] {
        let mut pod = plain_pod();
        pod["metadata"]["annotations"]["squire/config"] = json!(hostile);
        assert_refused(&pod, "has to name the ConfigMap");
    }
    let mut pod = plain_pod();
    pod["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_refused(&pod, "has to name the ConfigMap");
    // What looks odd and is a name stays one.
    for odd in ["1", "shop.squire-2", &long[..253]] {
        let mut pod = plain_pod();
        pod["metadata"]["annotations"]["squire/config"] = json!(odd);
        assert_eq!(admitted(&pod)["spec"]["volumes"][0]["configMap"]["name"], odd);
    }
}

/// Its owner may have any container and any volume. But what is called Squire's has to be like Squire's.
#[test]
fn a_pod_with_things_of_its_own_in_squires_place_is_refused() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut pod = plain_pod();
        change(&mut pod["spec"]);
        pod
    };
    let ours = squire_of(&admitted(&plain_pod()))["container"].clone();
    let squire = |key: &str, value: Value| {
        let mut squire = ours.clone();
        squire[key] = value;
        with(&|spec| spec["initContainers"] = json!([squire]))
    };
    assert_refused(&squire("restartPolicy", json!(null)), "was not added to this pod as a sidecar");
    assert_refused(&squire("securityContext", json!({ "privileged": true })), "may gain privileges");
    assert_refused(&with(&|spec| spec["initContainers"] = json!([ours, ours])), "was not added");
    for volume in [
        json!({ "hostPath": { "path": "/" } }),
        json!({ "emptyDir": {} }),
        json!({ "persistentVolumeClaim": { "claimName": "x" } }),
    ] {
        for name in ["squire-secrets", "squire-run"] {
            let mut volume = volume.clone();
            volume["name"] = json!(name);
            assert_refused(&with(&|spec| spec["volumes"] = json!([volume])), "have to be in memory");
        }
    }
    let foreign = json!([{ "name": "squire-config", "configMap": { "name": "another" } }]);
    assert_refused(
        &with(&|spec| spec["volumes"] = foreign.clone()),
        "is not the ConfigMap that the annotation",
    );
    // Where the other policy is not bound, the pod does not start without its secrets.
    let answer = admission(&plain_pod(), false);
    assert!(answer["refused"].as_str().unwrap().contains("is the policy squire-inject bound"), "{answer}");
}
