//! Plan × Snapshot → Release: everything rendered, or an error; never some of it.
//!
//! *Invariant:* pure; a [`Release`] is whole by construction.

mod each;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::config::Place;
use crate::credential::{LARGEST, RenderedCredential};
use crate::names::{Generation, Revision, SecretName};
use crate::plan::{Attributes, Content, Plan, PlannedCredential, PlannedFile};
use crate::secret::{Digest, DigestKey, Secret};
use crate::snapshot::Snapshot;
use crate::template::{Data, Engine, TemplateError};
use crate::webhook::Key;

/// A generation rendered: every file and every environment value.
#[derive(Clone, Debug)]
pub struct Release {
    /// Which one.
    pub generation: Generation,
    /// Every file, in the order of the configuration; no path twice.
    pub files: Vec<RenderedFile>,
    /// Every rendered variable of the process.
    pub env: BTreeMap<String, Secret<str>>,
    /// Tells whether any variable changed.
    pub env_digest: Digest,
    /// The key of webhooks, if any are taken.
    pub webhook_key: Option<Key>,
    /// The credentials of units, in the order of the configuration.
    pub credentials: Vec<RenderedCredential>,
    /// Which value of each secret it was made from.
    pub revisions: BTreeMap<SecretName, Revision>,
    /// When the value that a secret's replaced stops being good, for those where it does.
    pub former_ends: BTreeMap<SecretName, Instant>,
}

/// One file of a release.
#[derive(Clone, Debug)]
pub struct RenderedFile {
    /// Relative and normalized: part of the generation directory. Absolute: replaced by one rename.
    pub path: PathBuf,
    /// What is in it.
    pub contents: Secret<[u8]>,
    /// Tells whether the contents changed.
    pub digest: Digest,
    /// Who may read it.
    pub attributes: Attributes,
}

/// Renders everything, or says everything that cannot be rendered.
pub fn render(
    plan: &Plan,
    snapshot: &Snapshot,
    engine: &Engine,
    key: &DigestKey,
) -> Result<Release, Vec<TemplateError>> {
    let data = Data::new(snapshot.values.iter().map(|(name, value)| (name, &value.fields)))
        .with_meta(snapshot.values.iter().map(|(name, value)| (name, &value.meta)));
    let mut errors = Vec::new();
    let mut files = Vec::new();
    for file in &plan.files {
        match contents(file, snapshot, engine, &data) {
            Ok(contents) => {
                let rendered = |(path, contents)| rendered_file(path, file, contents, key);
                files.extend(contents.into_iter().map(rendered));
            }
            Err(error) => errors.push(error),
        }
    }
    let mut env = BTreeMap::new();
    for from in &plan.env_from {
        let Some(value) = snapshot.values.get(&from.secret) else { continue };
        match variables::variables(from, &value.fields) {
            Ok(variables) => env.extend(variables),
            Err(message) => errors.push(in_configuration(&from.place, message)),
        }
    }
    for (name, template) in &plan.env {
        match engine.render(template, &data) {
            Ok(text) => drop(env.insert(name.clone(), text)),
            Err(error) => errors.push(error),
        }
    }
    let webhook_key = plan.webhook.as_ref().and_then(|webhook| {
        let rendered = engine.render(&webhook.key, &data);
        let made = rendered.and_then(|text| {
            Key::new(text.expose(), key).map_err(|too_short| webhook.key.refuse(too_short.to_string()))
        });
        made.map_err(|error| errors.push(error)).ok()
    });
    let mut credentials = Vec::new();
    for credential in &plan.credentials {
        match credential_of(credential, engine, &data, key) {
            Ok(rendered) => credentials.extend(rendered),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let revisions = snapshot.values.iter().map(|(name, value)| (name.clone(), value.revision)).collect();
    let former_ends =
        snapshot.values.iter().filter_map(|(name, value)| Some((name.clone(), value.former_ends?)));
    Ok(Release {
        generation: snapshot.generation,
        files,
        env_digest: digest_env(&env, key),
        env,
        webhook_key,
        credentials,
        revisions,
        former_ends: former_ends.collect(),
    })
}

/// A credential with nothing in it is an error: the unit would start with that.
fn credential_of(
    planned: &PlannedCredential,
    engine: &Engine,
    data: &Data,
    key: &DigestKey,
) -> Result<Option<RenderedCredential>, TemplateError> {
    let (template, contents) = match &planned.content {
        Content::Text(template) => (template, engine.render(template, data)?.into_bytes()),
        Content::Bytes(template) => (template, engine.render_base64(template, data)?),
        // There is none of this kind.
        Content::Each { .. } => return Ok(None),
    };
    match contents.expose().len() {
        0 => {
            Err(template.refuse("renders nothing, and units would start with an empty credential".to_owned()))
        }
        1..=LARGEST => {
            let digest = key.digest(contents.expose());
            Ok(Some(RenderedCredential { terms: Arc::clone(&planned.terms), contents, digest }))
        }
        _ => Err(template.refuse("renders more than 1 MiB, which systemd does not take".to_owned())),
    }
}

/// The paths that a planned file stands for, with what is in them.
type Contents = Vec<(PathBuf, Secret<[u8]>)>;

fn contents(
    file: &PlannedFile,
    snapshot: &Snapshot,
    engine: &Engine,
    data: &Data,
) -> Result<Contents, TemplateError> {
    let alone = |contents| vec![(file.path.clone(), contents)];
    match &file.content {
        Content::Text(template) => engine.render(template, data).map(Secret::into_bytes).map(alone),
        Content::Bytes(template) => engine.render_base64(template, data).map(alone),
        Content::Each { secret, is_folder, place } => {
            let Some(value) = snapshot.values.get(secret) else { return Ok(Vec::new()) };
            each::files(&file.path, &value.fields, *is_folder)
                .map_err(|message| in_configuration(place, message))
        }
    }
}

/// A field without a template: text as it is, all else as JSON.
fn as_text(value: &Value) -> Secret<str> {
    match value {
        Value::String(text) => Secret::new(text.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Secret::new(value.to_string().as_str())
        }
    }
}

/// What cannot be rendered, although there is no template.
fn in_configuration(place: &Place, message: String) -> TemplateError {
    TemplateError { origin: place.file.display().to_string(), line: place.line, column: 1, message }
}

fn rendered_file(path: PathBuf, file: &PlannedFile, contents: Secret<[u8]>, key: &DigestKey) -> RenderedFile {
    let digest = key.digest(contents.expose());
    RenderedFile { path, contents, digest, attributes: file.attributes }
}

/// Names and values with their lengths, so that no two environments can look alike.
fn digest_env(env: &BTreeMap<String, Secret<str>>, key: &DigestKey) -> Digest {
    let mut bytes = Vec::new();
    for text in env.iter().flat_map(|(name, value)| [name.as_str(), value.expose()]) {
        bytes.extend_from_slice(&text.len().to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    key.digest(&bytes)
}
