//! Manifest × Release → the ordered steps that publish the release.
//!
//! `output.dir` has the layout of the kubelet's volumes, so that readers and watchers know it already:
//!
//! ```text
//! ..gen-6/  ..gen-7/          one directory a generation, each whole
//! ..data -> ..gen-7           the live one; exchanged, never removed, so that it is there at every instant
//! ..data_prev -> ..gen-6      the one before, prepared: to go back is one exchange and needs no inode
//! ..generations  ..lock       which generations are Squire's, and the lock of the one Squire that publishes here
//! tls.pem -> ..data/tls.pem   a stable link for each top-level name
//! conf -> ..data/conf
//! ```
//!
//! Each file with an absolute destination is replaced by a rename of its own. [`tmpfs`] performs the steps.
//!
//! *Invariant:* pure. If the release is published already, there are no steps. After each single step of any plan `..data` names a
//! generation that is whole.

mod contents;
mod destination;
mod directory;
mod error;
mod generations;
mod layout;
mod lock;
mod manifest;
pub mod mount;
mod record;
mod step;
mod survey;
pub mod tmpfs;
mod trust;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::OutputConfig;
use crate::names::Generation;
use crate::ordered::Order as _;
use crate::plan::Attributes;
use crate::render::{Release, RenderedFile};

pub use error::PublishError;
pub use lock::OutputLock;
pub use manifest::{Entry, Leftover, Manifest, Standing, Tree};
pub use record::Roster;
pub use step::Step;
pub use trust::{Exposure, Writer};

/// An absolute destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsoluteFile {
    /// Its path.
    pub path: PathBuf,
    /// How to make its directory, if the configuration asks for that.
    pub directory: Option<Attributes>,
}

/// The steps from a [`Manifest`] to a release.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Steps that no reader sees, and all that can run out of space. They may be performed long before `publish`, and undone by
    /// [`tmpfs::discard`].
    pub stage: Vec<Step>,
    /// Steps that make the release visible: renames, links and removals only.
    pub publish: Vec<Step>,
    /// The paths whose contents, mode, owner or group differ from the published ones, and those that are published and not in the release.
    /// Only these need a reaction.
    pub changed: BTreeSet<PathBuf>,
    /// The generation that is superseded once this is published: for [`tmpfs::retire`], when slow readers are done.
    pub superseded: Option<Generation>,
    /// The manifest after success. After a failure, ask [`tmpfs::survey`].
    pub manifest: Manifest,
}

impl Publication {
    /// The directory that holds the relative files of the release when `stage` is done: the `check` commands get it. `None` if there never
    /// was a relative file.
    pub fn directory(&self, output: &OutputConfig) -> Option<PathBuf> {
        let tree = self.manifest.live.as_ref()?;
        Some(output.dir.as_ref()?.join(layout::directory(tree.generation)))
    }
}

/// Plans how to publish a release. To go back, plan the previous release: if the previous generation has exactly that, the plan is one
/// exchange of links.
///
/// The generation directory has the release's number, or the next free one if that would not be the newest.
pub fn plan(manifest: &Manifest, release: &Release, output: &OutputConfig) -> Publication {
    let (absolute, relative): (Vec<_>, Vec<_>) =
        release.files.iter().partition(|file| file.path.is_absolute());
    let wanted = Tree::of(number(manifest, release), output.dir_mode, &relative);
    let shift = Shift::between(manifest, &wanted);
    let names: BTreeSet<PathBuf> = relative.iter().filter_map(|file| layout::top_level(&file.path)).ordered();
    let is_changed = |file: &&RenderedFile| {
        !manifest.entry(&file.path).is_some_and(|entry| entry.agrees(&Entry::of(file)))
    };
    let temporary = |file: &RenderedFile| layout::temporary(&file.path, release.generation, &file.digest);
    let replaced: Vec<&RenderedFile> = absolute.iter().copied().filter(is_changed).collect();

    let mut stage: Vec<Step> = manifest.leftovers.iter().cloned().map(Step::Clear).collect();
    stage.extend(names.difference(&manifest.exposed).cloned().map(Step::Claim));
    stage.extend(shift.build(&wanted, &relative));
    stage.extend(shift.reserve(manifest, &wanted));
    stage.extend(
        replaced.iter().map(|file| Step::Prepare { file: (*file).clone(), temporary: temporary(file) }),
    );

    let mut publish: Vec<Step> = shift.turn(&wanted).into_iter().collect();
    publish.extend(names.difference(&manifest.exposed).cloned().map(Step::Expose));
    publish.extend(
        replaced.iter().map(|file| Step::Replace { path: file.path.clone(), temporary: temporary(file) }),
    );
    publish.extend(manifest.exposed.difference(&names).cloned().map(Step::Withdraw));
    publish.extend(deleted(manifest, &absolute));
    publish.extend(shift.remember(&wanted));

    let changed = release.files.iter().filter(is_changed);
    Publication {
        stage,
        publish,
        changed: changed.map(|file| file.path.clone()).chain(gone(manifest, release)).ordered(),
        superseded: shift.superseded(manifest),
        manifest: shift.after(manifest, wanted, names, &absolute),
    }
}

/// The number of the directory to make. It has to be above all others, because that marks a generation that was never live. Numbers of
/// directories that another user made are skipped.
fn number(manifest: &Manifest, release: &Release) -> Generation {
    let mut number = match manifest.highest() {
        Some(highest) if highest >= release.generation => highest.next(),
        Some(_) | None => release.generation,
    };
    while manifest.taken.contains(&number) {
        number = number.next();
    }
    number
}

/// Absolute files that we published and that the release no longer has.
fn deleted(manifest: &Manifest, absolute: &[&RenderedFile]) -> Vec<Step> {
    let is_wanted = |path: &Path| absolute.iter().any(|file| file.path == path);
    let unwanted = manifest.absolute.iter().filter(|(path, standing)| standing.ours && !is_wanted(path));
    unwanted.map(|(path, standing)| Step::Delete { path: path.clone(), entry: standing.entry }).collect()
}

/// Files that we published and that the release no longer has.
fn gone<'a>(manifest: &'a Manifest, release: &'a Release) -> impl Iterator<Item = PathBuf> + 'a {
    let relative = manifest.live.iter().flat_map(|live| live.files.keys());
    let absolute = manifest.absolute.iter().filter(|(_, standing)| standing.ours).map(|(path, _)| path);
    let wanted: BTreeSet<&PathBuf> = release.files.iter().map(|file| &file.path).ordered();
    relative.chain(absolute).filter(move |path| !wanted.contains(*path)).cloned()
}

/// What happens to the relative files.
enum Shift<'a> {
    /// They are already as wanted.
    Stay,
    /// The previous generation has them as wanted.
    Back { from: Generation, to: Generation },
    /// A new generation is needed.
    Forward { from: Option<&'a Tree> },
}

impl<'a> Shift<'a> {
    fn between(manifest: &'a Manifest, wanted: &Tree) -> Self {
        match (&manifest.live, &manifest.previous) {
            (None, _) if wanted.files.is_empty() => Self::Stay,
            (Some(live), _) if live.is_like(wanted) => Self::Stay,
            (Some(live), Some(previous)) if previous.is_like(wanted) => {
                Self::Back { from: live.generation, to: previous.generation }
            }
            (live, _) => Self::Forward { from: live.as_ref() },
        }
    }

    /// Builds the new generation, whole and with its final attributes, where no reader looks.
    fn build(&self, wanted: &Tree, files: &[&RenderedFile]) -> Vec<Step> {
        let Self::Forward { from } = self else { return Vec::new() };
        let generation = wanted.generation;
        let directories: BTreeSet<&Path> =
            files.iter().flat_map(|file| layout::directories(&file.path)).ordered();

        let mut steps = vec![Step::MakeGeneration(generation)];
        steps.extend(
            directories.iter().map(|path| Step::MakeDirectory { generation, path: path.to_path_buf() }),
        );
        steps.extend(files.iter().map(|&file| match from {
            Some(live) if live.files.get(&file.path).is_some_and(|entry| entry.agrees(&Entry::of(file))) => {
                Step::Link { from: live.generation, to: generation, file: file.clone() }
            }
            Some(_) | None => Step::Write { generation, file: file.clone() },
        }));
        // Innermost directories first, and after the files: a directory without write permission could not be filled.
        let inside_out = directories.iter().rev().map(|path| path.to_path_buf());
        steps.extend(inside_out.chain([PathBuf::new()]).map(|path| Step::Seal {
            generation,
            path,
            mode: wanted.mode,
        }));
        steps.push(Step::Point(generation));
        steps
    }

    /// The step that makes `..data` name the wanted generation.
    fn turn(&self, wanted: &Tree) -> Option<Step> {
        match *self {
            Self::Stay => None,
            Self::Back { from, to } => Some(Step::Exchange { from, to }),
            Self::Forward { from } => {
                Some(Step::Swap { from: from.map(|live| live.generation), to: wanted.generation })
            }
        }
    }

    /// The last step, after which the way back is lost to the generation before the previous one.
    fn remember(&self, wanted: &Tree) -> Option<Step> {
        let to = wanted.generation;
        match *self {
            Self::Forward { from: Some(live) } => Some(Step::Remember { from: live.generation, to }),
            Self::Stay | Self::Back { .. } | Self::Forward { from: None } => None,
        }
    }

    /// The name of the way back is taken with the first generation. Later, somebody else could have it.
    fn reserve(&self, manifest: &Manifest, wanted: &Tree) -> Option<Step> {
        let is_first = matches!(self, Self::Forward { from: None }) && manifest.previous.is_none();
        is_first.then_some(Step::Reserve(wanted.generation))
    }

    fn superseded(&self, manifest: &Manifest) -> Option<Generation> {
        let is_lost = matches!(self, Self::Forward { from: Some(_) });
        manifest.previous.as_ref().filter(|_| is_lost).map(|tree| tree.generation)
    }

    fn after(
        &self,
        manifest: &Manifest,
        wanted: Tree,
        exposed: BTreeSet<PathBuf>,
        absolute: &[&RenderedFile],
    ) -> Manifest {
        let (live, previous) = match *self {
            Self::Stay => (manifest.live.clone(), manifest.previous.clone()),
            Self::Back { .. } => (manifest.previous.clone(), manifest.live.clone()),
            Self::Forward { from: Some(live) } => (Some(wanted), Some(live.clone())),
            Self::Forward { from: None } => (Some(wanted), manifest.previous.clone()),
        };
        let mut superseded = manifest.superseded.clone();
        superseded.extend(self.superseded(manifest));
        let ours =
            |file: &&RenderedFile| (file.path.clone(), Standing { entry: Entry::of(file), ours: true });
        Manifest {
            live,
            previous,
            superseded,
            taken: manifest.taken.clone(),
            exposed,
            absolute: absolute.iter().map(ours).ordered(),
            leftovers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Mode;
    use crate::plan::FileGroup;
    use crate::secret::{DigestKey, Secret};

    pub(super) fn key() -> DigestKey {
        DigestKey::new([7; 32])
    }

    /// A file of this process, with mode 0400 unless the path ends in `@` and a mode.
    pub(super) fn file(path: &str, contents: &str) -> RenderedFile {
        let (path, mode) = path.split_once('@').unwrap_or((path, "400"));
        RenderedFile {
            path: PathBuf::from(path),
            contents: Secret::new(contents.as_bytes()),
            digest: key().digest(contents.as_bytes()),
            attributes: Attributes {
                mode: Mode::new(u32::from_str_radix(mode, 8).unwrap()),
                owner: nix::unistd::geteuid().as_raw(),
                group: FileGroup::Of(nix::unistd::getegid().as_raw()),
            },
        }
    }

    pub(super) fn release(number: u64, files: &[(&str, &str)]) -> Release {
        Release {
            generation: Generation::from_number(number).unwrap(),
            files: files.iter().map(|(path, contents)| file(path, contents)).collect(),
            env: BTreeMap::new(),
            env_digest: key().digest(b""),
            webhook_key: None,
            credentials: Vec::new(),
            revisions: BTreeMap::new(),
            former_ends: BTreeMap::new(),
        }
    }

    fn output() -> OutputConfig {
        OutputConfig { dir: Some("/run/app".into()), dir_mode: Mode::new(0o755), allow_disk: false }
    }

    fn outline(publication: &Publication) -> Vec<String> {
        publication.stage.iter().chain(&publication.publish).map(Step::to_string).collect()
    }

    fn changed(publication: &Publication) -> Vec<&str> {
        publication.changed.iter().map(|path| path.to_str().unwrap()).collect()
    }

    fn after(releases: &[Release]) -> Manifest {
        let publish = |manifest, release| plan(&manifest, release, &output()).manifest;
        releases.iter().fold(Manifest::default(), publish)
    }

    #[test]
    fn the_first_release_is_written_whole_then_shown() {
        let first = release(1, &[("tls.pem", "t"), ("conf/d/db.json@440", "d"), ("/etc/app.key", "k")]);
        let publication = plan(&Manifest::default(), &first, &output());
        assert_eq!(
            outline(&publication),
            [
                "claim conf",
                "claim tls.pem",
                "make ..gen-1",
                "make ..gen-1/conf",
                "make ..gen-1/conf/d",
                "write ..gen-1/tls.pem",
                "write ..gen-1/conf/d/db.json",
                "seal ..gen-1/conf/d 0755",
                "seal ..gen-1/conf 0755",
                "seal ..gen-1/ 0755",
                "point at ..gen-1",
                "reserve for ..gen-1",
                "prepare /etc/app.key",
                "swap in ..gen-1",
                "expose conf",
                "expose tls.pem",
                "replace /etc/app.key",
            ]
        );
        assert_eq!(changed(&publication), ["/etc/app.key", "conf/d/db.json", "tls.pem"]);
        assert_eq!(publication.directory(&output()).unwrap(), Path::new("/run/app/..gen-1"));
        assert_eq!(publication.stage.len(), 13);
    }

    /// One row: what changes, the release, the steps (`turn` stands for the steps that end every new generation), the paths that changed.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn every_kind_of_change_has_its_steps() {
        let turn = ["seal ..gen-2/ 0755", "point at ..gen-2", "swap ..gen-1 for ..gen-2"];
        let cases: [Case<'_>; 8] = [
            ("nothing, or only the environment", &[("a", "1"), ("b", "2"), ("/abs", "3")], &[], &[]),
            (
                "contents",
                &[("a", "1"), ("b", "new"), ("/abs", "3")],
                &["make ..gen-2", "link ..gen-1/a to ..gen-2", "write ..gen-2/b", "turn", "remember ..gen-1"],
                &["b"],
            ),
            (
                "only the mode",
                &[("a", "1"), ("b@440", "2"), ("/abs", "3")],
                &["make ..gen-2", "link ..gen-1/a to ..gen-2", "write ..gen-2/b", "turn", "remember ..gen-1"],
                &["b"],
            ),
            (
                "added",
                &[("a", "1"), ("b", "2"), ("c", "4"), ("/abs", "3")],
                &[
                    "claim c",
                    "make ..gen-2",
                    "link ..gen-1/a to ..gen-2",
                    "link ..gen-1/b to ..gen-2",
                    "write ..gen-2/c",
                    "turn",
                    "expose c",
                    "remember ..gen-1",
                ],
                &["c"],
            ),
            (
                "removed",
                &[("a", "1"), ("/abs", "3")],
                &["make ..gen-2", "link ..gen-1/a to ..gen-2", "turn", "withdraw b", "remember ..gen-1"],
                &["b"],
            ),
            (
                "absolute contents",
                &[("a", "1"), ("b", "2"), ("/abs", "new")],
                &["prepare /abs", "replace /abs"],
                &["/abs"],
            ),
            ("absolute removed", &[("a", "1"), ("b", "2")], &["delete /abs"], &["/abs"]),
            (
                "everything removed",
                &[],
                &["make ..gen-2", "turn", "withdraw a", "withdraw b", "delete /abs", "remember ..gen-1"],
                &["/abs", "a", "b"],
            ),
        ];
        let manifest = after(&[release(1, &[("a", "1"), ("b", "2"), ("/abs", "3")])]);
        for (what, files, steps, expected) in cases {
            let publication = plan(&manifest, &release(2, files), &output());
            let in_full = |step| if step == "turn" { turn.to_vec() } else { vec![step] };
            let steps: Vec<_> = steps.iter().copied().flat_map(in_full).collect();
            assert_eq!(outline(&publication), steps, "{what}");
            assert_eq!(changed(&publication), expected, "{what}");
        }
    }

    #[test]
    fn going_back_is_one_exchange_of_links() {
        let (old, new) =
            (release(6, &[("a", "1"), ("/abs", "1")]), release(7, &[("a", "2"), ("b", "2"), ("/abs", "2")]));
        let manifest = after(&[old.clone(), new.clone()]);
        let back = plan(&manifest, &old, &output());
        assert_eq!(
            outline(&back),
            ["prepare /abs", "exchange ..gen-7 for ..gen-6", "replace /abs", "withdraw b"]
        );
        assert_eq!(changed(&back), ["/abs", "a", "b"]);
        let again = plan(&back.manifest, &new, &output());
        assert_eq!(again.manifest, manifest);
        assert_eq!(back.superseded, None);
    }

    #[test]
    fn a_number_that_is_taken_or_not_the_newest_is_not_used() {
        let manifest =
            after(&[release(6, &[("a", "1")]), release(7, &[("a", "2")]), release(8, &[("a", "3")])]);
        assert_eq!(manifest.superseded, BTreeSet::from([Generation::from_number(6).unwrap()]));
        let publication = plan(&manifest, &release(6, &[("a", "1")]), &output());
        assert_eq!(publication.manifest.live.unwrap().generation.number(), 9);
        assert_eq!(publication.superseded.map(Generation::number), Some(7));
    }

    #[test]
    fn another_directory_mode_makes_a_new_generation_of_links() {
        let first = release(1, &[("a", "1")]);
        let tight = OutputConfig { dir_mode: Mode::new(0o700), ..output() };
        let publication = plan(&after(std::slice::from_ref(&first)), &release(2, &[("a", "1")]), &tight);
        assert_eq!(outline(&publication)[1..3], ["link ..gen-1/a to ..gen-2", "seal ..gen-2/ 0700"]);
        assert!(publication.changed.is_empty());
    }

    #[test]
    fn leftovers_are_cleared_even_where_nothing_changed() {
        let first = release(1, &[("a", "1")]);
        let mut manifest = after(std::slice::from_ref(&first));
        manifest.leftovers = vec![
            Leftover::Generation(Generation::from_number(2).unwrap()),
            Leftover::Link("..data_next".into()),
            Leftover::Temporary("/etc/.x.squire-2".into()),
        ];
        let publication = plan(&manifest, &first, &output());
        assert_eq!(outline(&publication), ["clear ..gen-2", "clear ..data_next", "clear /etc/.x.squire-2"]);
        assert!(publication.manifest.leftovers.is_empty());
    }

    #[test]
    fn an_absolute_file_that_we_did_not_publish_is_never_deleted() {
        let standing = |ours| Standing { entry: Entry::of(&file("/abs", "3")), ours };
        for (ours, expected) in [(true, vec!["delete /abs"]), (false, vec![])] {
            let manifest = Manifest {
                absolute: BTreeMap::from([("/abs".into(), standing(ours))]),
                ..Manifest::default()
            };
            assert_eq!(outline(&plan(&manifest, &release(1, &[]), &output())), expected);
        }
    }

    #[test]
    fn steps_show_no_contents() {
        let publication =
            plan(&Manifest::default(), &release(1, &[("a", "hunter2"), ("/abs", "hunter2")]), &output());
        assert!(!format!("{publication:?}").contains("hunter2"));
    }
}
