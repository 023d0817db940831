//! The programs that `tests/run` put into `target/kubernetes`: kubectl, Helm, and a Python with the schemas and with CEL.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize as _;
use serde_json::Value;

/// The shapes that a pod can have.
pub(super) const BASES: [&str; 5] = ["sidecar", "init", "wrapper", "job", "cronjob"];

/// A file or directory of the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// One of the programs.
fn tool(name: &str) -> Command {
    let path = repository("target/kubernetes").join(name);
    assert!(path.exists(), "there is no {}: start the tests with tests/run", path.display());
    Command::new(path)
}

/// What a program prints; it has to succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The objects that kustomize makes of a directory.
pub(super) fn kustomize(directory: &Path) -> Vec<Value> {
    objects(&output(tool("kubectl").arg("kustomize").arg(directory)))
}

/// The objects of a base.
pub(super) fn base(name: &str) -> Vec<Value> {
    kustomize(&repository("deploy/kubernetes/bases").join(name))
}

/// Helm in a home of its own; what it prints.
pub(super) fn helm(home: &Path, arguments: &[&str]) -> String {
    output(tool("helm").args(arguments).env("HOME", home).current_dir(home))
}

/// A text of YAML with several documents.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// The one object of this kind.
#[track_caller]
pub(super) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The template of the pods that a workload makes, as a pod.
pub(super) fn pod_of(objects: &[Value]) -> Option<Value> {
    let template = objects.iter().find_map(|object| match object["kind"].as_str()? {
        "Deployment" | "Job" => Some(&object["spec"]["template"]),
        "CronJob" => Some(&object["spec"]["jobTemplate"]["spec"]["template"]),
        _ => None,
    })?;
    let mut pod = template.clone();
    (pod["apiVersion"], pod["kind"]) = ("v1".into(), "Pod".into());
    pod["metadata"]["name"] = "shop".into();
    Some(pod)
}

/// Asks one of the Python programs beside this file, in JSON.
#[track_caller]
pub(super) fn ask(program: &str, question: &Value) -> Value {
    let mut python = tool("venv/bin/python");
    python.arg(repository("tests/program/kubernetes").join(program));
    let mut child =
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
