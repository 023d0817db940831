//! `[output]` and `[[file]]`: which files are published, where and how.
//!
//! *Invariant:* no two files have the same path, and no file has the path of a directory that another file needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::process;
use super::reader::{Table, Value};
use super::value::{self, ACCOUNT, DIRECTORY_MODE, FILE_MODE, Form, PATH, WORD};
use super::{
    Account, DirectoryConfig, FileConfig, Mode, MountConfig, MountKind, OutputConfig, Place, TemplateSource,
};
use crate::names::SecretName;

/// Only the owner may read a file, and nobody may write it.
pub(super) const FILE_MODE_DEFAULT: Mode = Mode::new(0o400);
/// The files are protected by their own modes.
pub(super) const DIRECTORY_MODE_DEFAULT: Mode = Mode::new(0o755);

/// `[output]`, with the defaults for all files.
pub(super) struct Output {
    pub(super) config: OutputConfig,
    pub(super) mount: Option<MountConfig>,
    /// Whether `dir` is set, even if it is wrong.
    has_dir: bool,
    mode: Mode,
    owner: Option<Account>,
    group: Option<Account>,
}

impl Output {
    /// Reads `[output]`.
    pub(super) fn read(table: Option<Table<'_>>) -> Self {
        let config = OutputConfig { dir: None, dir_mode: DIRECTORY_MODE_DEFAULT, allow_disk: false };
        let mut output =
            Self { config, mount: None, has_dir: false, mode: FILE_MODE_DEFAULT, owner: None, group: None };
        let Some(mut table) = table else { return output };
        if let Some(dir) = table.take("dir") {
            output.has_dir = true;
            output.config.dir = absolute(&dir);
        }
        output.mode = table.read("mode", &FILE_MODE).unwrap_or(output.mode);
        output.config.dir_mode = table.read("dir_mode", &DIRECTORY_MODE).unwrap_or(output.config.dir_mode);
        output.owner = table.take("owner").and_then(|owner| account(&owner));
        output.group = table.take("group").and_then(|group| account(&group));
        output.config.allow_disk = table.boolean("allow_disk").unwrap_or(output.config.allow_disk);
        output.mount = output.mounted(&mut table);
        table.finish();
        output
    }
}

impl Output {
    fn mounted(&self, table: &mut Table<'_>) -> Option<MountConfig> {
        let (mount, size) = (table.take("mount"), table.take("mount_size"));
        let kind = mount.as_ref().and_then(|mount| mount.read(&MOUNT)).flatten();
        if let (Some(mount), true, false) = (&mount, kind.is_some(), self.has_dir) {
            mount.report(
                "says how to mount `output.dir`, which is not there; write dir = \"/run/secrets/app\"",
            );
        }
        if let (Some(size), None) = (&size, &mount) {
            size.report("nothing is mounted that could have a size; write mount = \"tmpfs\" beside it");
        }
        let size = size.map_or(Some(MOUNT_SIZE.to_owned()), |size| size.read(&SIZE));
        Some(MountConfig { kind: kind?, dir: self.config.dir.clone()?, size: size? })
    }
}

/// Enough for some generations of many files.
const MOUNT_SIZE: &str = "16m";

const MOUNT: Form<Option<MountKind>> = Form {
    expected: "\"none\", \"tmpfs\" or \"private\"",
    shown: true,
    read: |text| match text {
        "none" => Ok(None),
        "tmpfs" => Ok(Some(MountKind::Tmpfs)),
        "private" => Ok(Some(MountKind::Private)),
        _ => Err("is unknown; write \"none\", \"tmpfs\" or \"private\"".to_owned()),
    },
};

const SIZE: Form<String> = Form {
    expected: "a size in quotes, such as \"16m\"",
    shown: true,
    read: |text| {
        let size = text.to_ascii_lowercase();
        let digits = size.strip_suffix(['k', 'm', 'g']).unwrap_or(&size);
        match digits.parse::<u32>() {
            Ok(1..) => Ok(size),
            Ok(0) | Err(_) => {
                Err("is no size; write a number of bytes with k, m or g, such as \"16m\"".to_owned())
            }
        }
    },
};

/// An absolute path that is not the root directory.
pub(super) fn absolute(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.read(&PATH)?;
    value::absolute_path(&path).map_err(|why| value.report(why)).ok()
}

/// A name or a number.
pub(super) fn account(value: &Value<'_>) -> Option<Account> {
    match value.integer() {
        Some(number) => value::account_number(number).map_err(|why| value.report(why)).ok(),
        None => value.read(&ACCOUNT),
    }
}

/// Reads every `[[file]]`.
pub(super) fn files(value: Option<Value<'_>>, output: &Output) -> Vec<FileConfig> {
    const EXPECTED: &str = "[[file]] for each file, with two brackets on each side";
    let Some(items) = value.and_then(|value| value.list(EXPECTED)) else { return Vec::new() };
    let mut claims = Vec::new();
    let files = items.iter().filter_map(|item| file(item.table(EXPECTED)?, output, &mut claims)).collect();
    report_collisions(&claims, output.config.dir.as_deref());
    files
}

/// The path of a file, with the value that a problem points to.
type Claim<'a> = (Value<'a>, PathBuf);

fn file<'a>(mut table: Table<'a>, output: &Output, claims: &mut Vec<Claim<'a>>) -> Option<FileConfig> {
    let place = table.place().clone();
    let path = table.require("path", "path = \"tls.pem\"").and_then(|value| {
        let path = destination(&value, output)?;
        claims.push((value, path.clone()));
        Some(path)
    });
    let template = template(&mut table);
    if let (Some(TemplateSource::Each(_)), Some((value, path))) = (&template, claims.last())
        && path.is_absolute()
    {
        value.report("is absolute, and `each` makes a directory that changes as a whole: write a path below `output.dir`, such as \"app\"");
    }
    let mode = table.read("mode", &FILE_MODE).unwrap_or(output.mode);
    let owner = table.take("owner").and_then(|owner| account(&owner)).or_else(|| output.owner.clone());
    let group = table.take("group").and_then(|group| account(&group)).or_else(|| output.group.clone());
    let make_dir = table.take("make_dir").and_then(|made| made_directory(&made, path.as_deref(), output));
    let on_change = table.take("on_change").and_then(|on_change| process::reaction(&on_change));
    table.finish();
    // A file without a valid path is kept to find the problems of its template; it is never published, since there is a problem.
    Some(FileConfig {
        path: path.unwrap_or_default(),
        template: template?,
        mode,
        owner,
        group,
        make_dir,
        on_change,
        place,
    })
}

/// `make_dir = true`, or a table with mode and owners.
fn made_directory(value: &Value<'_>, path: Option<&Path>, output: &Output) -> Option<DirectoryConfig> {
    if path.is_some_and(Path::is_relative) {
        value.report(
            "is for an absolute `path`; directories below `output.dir` are made in any case, with its `dir_mode`",
        );
        return None;
    }
    directory(value, output.config.dir_mode)
}

/// The same for a path that is absolute; `usual` is the default of its mode.
pub(super) fn directory(value: &Value<'_>, usual: Mode) -> Option<DirectoryConfig> {
    let mut made = DirectoryConfig { mode: usual, owner: None, group: None };
    if value.is_table() {
        let mut table = value.table("true or a table")?;
        made.mode = table.read("mode", &DIRECTORY_MODE).unwrap_or(made.mode);
        made.owner = table.take("owner").and_then(|owner| account(&owner));
        made.group = table.take("group").and_then(|group| account(&group));
        table.finish();
        return Some(made);
    }
    if value.written().as_bool().is_none() {
        value.expected("true, or a table such as { mode = \"0750\", owner = \"app\" }");
    }
    value.written().as_bool()?.then_some(made)
}

fn destination(value: &Value<'_>, output: &Output) -> Option<PathBuf> {
    let written = value.read(&PATH)?;
    let path =
        if written.is_absolute() { value::absolute_path(&written) } else { value::relative_path(&written) };
    let path = path.map_err(|why| value.report(why)).ok()?;
    if path.is_relative() && !output.has_dir {
        value.report(
            "is relative, and there is no directory to hold it; \
             write [output] with dir = \"/run/secrets/app\", or an absolute path",
        );
    }
    if let Some(inside) = output.config.dir.as_ref().and_then(|dir| path.strip_prefix(dir).ok()) {
        value.report(match inside.to_str() {
            Some("") | None => "is `output.dir` itself; name a file in it".to_owned(),
            Some(inside) => format!("is inside `output.dir`; write it relative: path = {inside:?}"),
        });
        return None;
    }
    Some(path)
}

fn template(table: &mut Table<'_>) -> Option<TemplateSource> {
    const EXPECTED: &str = "a template in quotes";
    let (file, inline, base64, each) =
        (table.take("template"), table.take("inline"), table.take("base64"), table.take("each"));
    let given: Vec<_> = [&file, &inline, &base64, &each].into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        second.report("another of `template`, `inline`, `base64` and `each` is there too; keep one of them");
        return None;
    }
    match (file, inline, base64, each) {
        (Some(file), ..) => file.path().map(TemplateSource::File),
        (_, Some(inline), ..) => inline.verbatim(EXPECTED).map(TemplateSource::Inline),
        (_, _, Some(base64), _) => base64.verbatim(EXPECTED).map(TemplateSource::Base64),
        (.., Some(each)) => each.read(&WORD).map(|name| TemplateSource::Each(SecretName::new(&name))),
        (None, None, None, None) => {
            table.report("nothing to render; write template = \"FILE\", inline = \"{{secret.field}}\" or each = \"secret\"");
            None
        }
    }
}

/// Problems of files with the same path, and of files where another file, or the output directory, needs a directory.
fn report_collisions(claims: &[Claim<'_>], dir: Option<&Path>) {
    let mut first: BTreeMap<&Path, &Place> = BTreeMap::new();
    for (value, path) in claims {
        match first.get(path.as_path()) {
            Some(earlier) => value.report(format!("another file has this path; see line {}", earlier.line)),
            None => drop(first.insert(path, value.place())),
        }
    }
    for (value, path) in claims {
        for above in path.ancestors().skip(1) {
            if let Some(place) = first.get(above) {
                value.report(format!(
                    "needs `{}` to be a directory of its own, but line {} has this path",
                    above.display(),
                    place.line
                ));
            }
        }
        if path.is_absolute() && dir.is_some_and(|dir| dir.starts_with(path)) {
            value.report("has to be a directory, because `output.dir` is below it");
        }
    }
}
