//! Manifests of Kubernetes with the injector's annotations → the configuration, and the pod with Squire as its sidecar.
//!
//! *Invariant:* one pod a configuration. Whatever else is in the documents is written out as it was read, without comments.

mod annotations;
mod pod;
mod wrapper;

use super::Place;
use super::block::Reading;
use super::entry::TemplateFile;
use super::foreign::Pod;
use super::hcl::{Dialect, Flaw, parse};
use super::yaml::{self, Node};
use annotations::Annotations;
use pod::Plan;

/// The documents, and what has to be done to one of them.
#[derive(Debug)]
pub(super) struct Manifest {
    documents: Vec<Node>,
    /// Which document, and where its pod is.
    pod: Option<(usize, &'static [&'static str])>,
    change: Change,
}

/// What is done to the pod.
#[derive(Debug)]
enum Change {
    /// Squire beside the app.
    Sidecar(Box<Plan>),
    /// Squire as the parent of the app in this container.
    Wrapper(String),
}

/// Where the pod is, from the kind on.
const PLACES: &[&[&str]] = &[&["spec", "jobTemplate", "spec", "template"], &["spec", "template"], &[]];

/// Reads every document, and takes over the first pod that the injector would change.
pub(super) fn read(text: &str, reading: &mut Reading<'_>) -> Result<Manifest, Flaw> {
    let documents: Vec<Node> = yaml::parse(text)?.into_iter().flat_map(unlisted).collect();
    let mut manifest = Manifest { documents, pod: None, change: Change::Sidecar(Box::default()) };
    for at in 0..manifest.documents.len() {
        let Some(document) = manifest.documents.get(at) else { continue };
        let Some(place) = pod_of(document) else { continue };
        let Some(template) = document.get(place) else { continue };
        let Some(annotations) = Annotations::of(template, reading) else { continue };
        if manifest.pod.is_some() {
            let advice = "a second pod with the injector's annotations; import its manifest by itself, since it has a configuration of its own";
            reading.notes.left(annotations.place(), "agent-inject", advice);
            continue;
        }
        manifest.pod = Some((at, place));
        let plan = taken_over(annotations, &manifest.documents, template, reading);
        manifest.change = Change::Sidecar(Box::new(plan));
    }
    if manifest.pod.is_none() && !manifest.refers(reading) {
        let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
        let advice = "no pod here has an annotation of the injector (vault.hashicorp.com/agent-inject) or of bank-vaults \
                      (vault-env-from-path), or a variable with a reference of bank-vaults (vault:PATH#FIELD), so there is nothing to import";
        reading.notes.left(place, "manifest", advice);
    }
    Ok(manifest)
}

/// The documents of a `kind: List`, or the document itself.
fn unlisted(document: Node) -> Vec<Node> {
    let is_list = document.get(&["kind"]).and_then(Node::as_text) == Some("List");
    match document.get(&["items"]) {
        Some(items) if is_list => items.items().to_vec(),
        Some(_) | None => vec![document],
    }
}

fn pod_of(document: &Node) -> Option<&'static [&'static str]> {
    PLACES
        .iter()
        .copied()
        .find(|place| document.get(place).is_some_and(|pod| pod.get(&["spec", "containers"]).is_some()))
}

fn taken_over(
    mut annotations: Annotations,
    documents: &[Node],
    template: &Node,
    reading: &mut Reading<'_>,
) -> Plan {
    reading.foreign.is_open_by_default = true;
    reading.foreign.pod = Some(Pod::default());
    let plan = annotations.read(template, reading);
    if let Some(name) = &plan.config_map {
        configured(name, documents, reading);
    }
    plan
}

/// `agent-configmap`: the agent's whole configuration in another document.
fn configured(name: &str, documents: &[Node], reading: &mut Reading<'_>) {
    let is_it = |document: &&Node| {
        document.get(&["kind"]).and_then(Node::as_text) == Some("ConfigMap")
            && document.get(&["metadata", "name"]).and_then(Node::as_text) == Some(name)
    };
    let found = documents.iter().find(is_it);
    let data = |key| found.and_then(|map| map.get(&["data", key]));
    let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
    let Some(text) = data("config.hcl").or_else(|| data("config-init.hcl")) else {
        let advice =
            "this ConfigMap is not among the documents; give it too: kubectl get configmap NAME -o yaml";
        reading.notes.left(place, format!("agent-configmap {name:?}"), advice);
        return;
    };
    let written = text.as_text().unwrap_or_default();
    match parse(written, Dialect::of(written)) {
        Ok(body) => {
            let file = format!("{}: config.hcl", reading.file);
            let mut inner = Reading {
                file: &file,
                open: reading.open,
                notes: &mut *reading.notes,
                wants: &mut *reading.wants,
                foreign: &mut *reading.foreign,
            };
            super::agent::read(&body, &mut inner);
        }
        Err(Flaw { at, message }) => {
            let place = Place { line: text.at.line + at.line - 1, ..place };
            reading.notes.left(place, "config.hcl", format!("it cannot be read: {message}"));
        }
    }
}

impl Manifest {
    /// Takes over the first pod with references of bank-vaults in its environment.
    fn refers(&mut self, reading: &mut Reading<'_>) -> bool {
        for at in 0..self.documents.len() {
            let Some(document) = self.documents.get(at) else { continue };
            let Some(place) = pod_of(document) else { continue };
            let Some(pod) = document.get(place) else { continue };
            let Some(owner) = super::bank_vaults::read_pod(pod, reading) else { continue };
            if wrapper::is_possible(pod, &owner, reading) {
                reading.foreign.pod = Some(Pod { gives_back: true });
                self.pod = Some((at, place));
                self.change = Change::Wrapper(owner);
            }
            return true;
        }
        false
    }

    /// All documents with the pod changed, after a `ConfigMap` that holds the configuration.
    pub(super) fn written(&self, toml: &str, templates: &[TemplateFile]) -> Option<String> {
        let (at, place) = self.pod?;
        let mut documents = self.documents.clone();
        let document = documents.get_mut(at)?;
        let metadata = |key| document.get(&["metadata", key]).and_then(Node::as_text).map(ToOwned::to_owned);
        let config =
            pod::config_map(metadata("name").as_deref(), metadata("namespace").as_deref(), toml, templates);
        let pod = document.get_mut(place)?;
        match &self.change {
            Change::Sidecar(plan) => pod::change(pod, &config, plan),
            Change::Wrapper(container) => wrapper::change(pod, &config, container),
        }
        documents.insert(at, config);
        // What a reader of the original would look for.
        let head = format!(
            "# Squire in place of what injected the secrets. Its image is {}: write yours.\n",
            pod::IMAGE
        );
        Some(format!("{head}# Comments of the original are not here.\n{}", yaml::write(&documents)))
    }
}
