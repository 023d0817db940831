//! The arguments of `secret`, `secrets` and `pkiCert` → what is asked of the server.
//!
//! *Invariant:* what is not known before the secrets are there is refused: Squire fetches only what its configuration names.

use std::collections::BTreeMap;

use super::hb::Hb;
use super::value::{Left, Origin, Piece, Value, Valued, left};
use crate::import::{Request, Wants};

/// A folder that a loop goes over.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The path, as in [`Value::Listing`].
    pub(super) folder: String,
    /// The name of the entry of this round.
    pub(super) name: Hb,
    /// Its fields.
    pub(super) fields: Hb,
}

/// A string of the configuration, and the entry whose name follows it.
struct Written<'v> {
    text: String,
    entry: Option<&'v Entry>,
}

/// `secret path "key=value"…`
pub(super) fn secret(values: &[Value], entries: &[Entry], wants: &mut Wants) -> Valued {
    let [path, params @ ..] = values else { return left("`secret` needs a path") };
    let Written { text, entry } = written(path, entries)?;
    if let Some(entry) = entry {
        return of_entry(&text, entry, params.is_empty());
    }
    let request = request(&text, params)?;
    if request.params.is_empty() && !params.is_empty() {
        return left("`secret` with an empty argument is a write without values; a write needs `params`");
    }
    let origin = if has_marker(&request.path, "data") { Origin::Versioned } else { Origin::Other };
    Ok(Value::Secret(Hb::Root(wants.name(request), Vec::new()), origin))
}

/// `pkiCert path "key=value"…`
pub(super) fn certificate(values: &[Value], wants: &mut Wants) -> Valued {
    let [path, params @ ..] = values else { return left("`pkiCert` needs a path") };
    let Written { text, .. } = written(path, &[])?;
    Ok(Value::Cert(Hb::Root(wants.name(request(&text, params)?), Vec::new())))
}

fn request(text: &str, params: &[Value]) -> Result<Request, Left> {
    let (path, version) = versioned(text)?;
    let params = params.iter().filter(|value| value.as_text() != Some("")).map(param);
    let params = params.collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Request { path, params, version, folder: false })
}

/// `secrets path`
pub(super) fn listing(values: &[Value]) -> Valued {
    let [path] = values else { return left("`secrets` takes one path") };
    Ok(Value::Listing(without_marker(&written(path, &[])?.text)))
}

/// The read of an entry in a loop over its folder.
fn of_entry(text: &str, entry: &Entry, is_read: bool) -> Valued {
    let below = text.strip_suffix('/').map(without_marker);
    if is_read && below.as_deref() == Some(entry.folder.as_str()) {
        let origin = if has_marker(text, "data") { Origin::Versioned } else { Origin::Other };
        return Ok(Value::Secret(entry.fields.clone(), origin));
    }
    left(
        "this path is made from the names in another folder; Squire reads what a folder lists, or paths \
            that are known beforehand",
    )
}

/// A string of the configuration.
fn written<'v>(value: &Value, entries: &'v [Entry]) -> Result<Written<'v>, Left> {
    let unknown = "this is made from a value that is known only while rendering; \
                   Squire fetches what its configuration names: \
                   write the path out, or make it from ${VARIABLES} of the environment";
    let (mut text, mut entry) = (String::new(), None);
    for piece in value.pieces()? {
        if entry.is_some() {
            return left(
                "Squire reads the entries of a folder, and no paths below them; name them one by one, \
                    or use `list = \"tree\"`",
            );
        }
        match piece {
            Piece::Text(piece) => text.push_str(&piece.replace("${", "$${")),
            Piece::Expr(hb) => match (variable(&hb), entries.iter().find(|entry| entry.name == hb)) {
                (Some(name), _) => text.extend(["${", name, "}"]),
                (None, Some(found)) => entry = Some(found),
                (None, None) => return left(unknown),
            },
            Piece::Once(..) | Piece::Either(..) => return left(unknown),
        }
    }
    Ok(Written { text: text.trim().trim_start_matches('/').to_owned(), entry })
}

/// The variable of `env "NAME"`.
fn variable(hb: &Hb) -> Option<&str> {
    let Hb::Call("default" | "env", arguments) = hb else { return None };
    match arguments.as_slice() {
        [Hb::Text(name)] => Some(name),
        [inner @ Hb::Call(..), Hb::Text(empty)] if empty.is_empty() => variable(inner),
        _ => None,
    }
}

/// A path without its query, and the version in it.
fn versioned(text: &str) -> Result<(String, Option<u64>), Left> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = path.trim_matches('/').to_owned();
    let version = match query.map(|query| query.split_once('=')) {
        None => None,
        Some(Some(("version", number))) => match number.parse() {
            Ok(number) => Some(number),
            Err(_) => return left("the version of a secret is a number"),
        },
        Some(_) => return left("of what may follow a `?` in a path Squire knows `version`"),
    };
    if path.is_empty() { left("the path is empty") } else { Ok((path, version)) }
}

fn param(value: &Value) -> Result<(String, String), Left> {
    let written = written(value, &[])?;
    match (written.text.split_once('='), written.entry) {
        (Some((key, value)), None) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => left("an argument of `secret` behind its path is \"key=value\""),
    }
}

/// Whether this is a segment of the path, but not its first: the API of KV v2 has `data` and `metadata` behind the mount.
fn has_marker(path: &str, marker: &str) -> bool {
    path.split('/').skip(1).any(|segment| segment == marker)
}

/// The path of a folder as the command line of Vault has it, without what the API of KV v2 puts behind the mount.
fn without_marker(path: &str) -> String {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let marker = segments.iter().skip(1).position(|segment| matches!(*segment, "data" | "metadata"));
    let kept =
        segments.iter().enumerate().filter(|(index, _)| Some(*index) != marker.map(|marker| marker + 1));
    kept.map(|(_, segment)| *segment).collect::<Vec<_>>().join("/")
}

/// The folder that a loop goes over, as a want.
pub(super) fn folder(path: &str, wants: &mut Wants) -> Hb {
    let request = Request { path: path.to_owned(), folder: true, ..Request::default() };
    Hb::Root(wants.name(request), Vec::new())
}
