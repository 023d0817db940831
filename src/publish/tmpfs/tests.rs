//! Publishing on a real tmpfs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use tempfile::TempDir;

use super::*;
use crate::config::Mode;
use crate::memory::MemoryError;
use crate::plan::FileGroup;
use crate::publish::tests::{key, release};
use crate::publish::{Entry, plan};
use crate::render::Release;

/// An output directory, and a directory for absolute destinations, on tmpfs.
struct Place {
    root: TempDir,
    output: OutputConfig,
    manifest: Manifest,
}

impl Place {
    fn new() -> Self {
        Self::at(tempfile::Builder::new().prefix("squire-").tempdir_in("/dev/shm").unwrap())
    }

    fn at(root: TempDir) -> Self {
        let output = OutputConfig {
            dir: Some(root.path().join("out")),
            dir_mode: Mode::new(0o755),
            allow_disk: false,
        };
        Self { root, output, manifest: Manifest::default() }
    }

    fn dir(&self) -> &Path {
        self.output.dir.as_deref().unwrap()
    }

    /// `/NAME` stands for an absolute destination here.
    fn release(&self, number: u64, files: &[(&str, &str)]) -> Release {
        let mut release = release(number, files);
        for file in &mut release.files {
            if let Ok(name) = file.path.strip_prefix("/") {
                file.path = self.root.path().join(name);
            }
        }
        release
    }

    fn survey(&self, release: &Release) -> Result<Manifest, PublishError> {
        let absolute: Vec<_> =
            release.files.iter().map(|file| file.path.clone()).filter(|path| path.is_absolute()).collect();
        survey(&self.output, &absolute, &key())
    }

    fn plan(&self, release: &Release) -> Publication {
        plan(&self.manifest, release, &self.output)
    }

    fn publish(&mut self, release: &Release) -> Publication {
        prepare(&self.output).unwrap();
        let publication = self.plan(release);
        perform(&self.output, &key(), &publication).unwrap();
        self.manifest = publication.manifest.clone();
        self.assert_published(release);
        publication
    }

    /// Performs this many steps and then stops, as a crash does.
    fn crash_after(&self, publication: &Publication, steps: usize) {
        let hands_key = key();
        let hands = Hands::new(&self.output, &hands_key).unwrap();
        for step in publication.stage.iter().chain(&publication.publish).take(steps) {
            hands.act(step).unwrap();
        }
    }

    /// Exactly the files of the release exist, and the disk matches the manifest.
    fn assert_published(&self, release: &Release) {
        let mut wanted: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        for file in &release.files {
            assert_eq!(
                fs::read(self.dir().join(&file.path)).unwrap(),
                file.contents.expose(),
                "{:?}",
                file.path
            );
            if !file.path.is_absolute() {
                wanted.insert(file.path.clone(), Entry::of(file));
            }
        }
        let mut found = self.survey(release).unwrap();
        found.absolute.values_mut().for_each(|standing| standing.ours = true);
        let mut manifest = self.manifest.clone();
        manifest.superseded.retain(|generation| self.dir().join(layout::directory(*generation)).exists());
        assert_eq!(found, manifest);
        assert_eq!(found.live.map(|tree| tree.files).unwrap_or_default(), wanted);
    }

    /// At the absolute destinations of the manifest.
    fn sweep(&self, manifest: &Manifest) -> Vec<PublishError> {
        let absolute: Vec<PathBuf> = manifest.absolute.keys().cloned().collect();
        sweep(&self.output, &absolute, manifest, &key())
    }

    /// What is in the output directory, but for what is remembered of the generations.
    fn names(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.dir()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != layout::GENERATIONS).collect()
    }

    fn identity(&self, path: &str) -> (u64, i64, i64) {
        let found = fs::metadata(self.dir().join(path)).unwrap();
        (found.ino(), found.mtime(), found.mtime_nsec())
    }
}

fn names(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(ToString::to_string).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_fresh_directory_gets_links_and_one_generation() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("tls.pem", "t"), ("conf/d/db.json@440", "d"), ("/abs.key", "k")]));
    assert_eq!(place.names(), names(&["..data", "..data_prev", "..gen-1", "conf", "tls.pem"]));
    assert_eq!(fs::read_link(place.dir().join("conf")).unwrap(), Path::new("..data/conf"));
    let mode = |path: &str| fs::metadata(place.dir().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(
        [mode("tls.pem"), mode("conf/d/db.json"), mode("conf/d"), mode("..data/")],
        [0o400, 0o440, 0o755, 0o755]
    );
}

#[test]
fn an_unchanged_file_keeps_its_inode_and_time() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("a", "1"), ("b", "2"), ("/abs", "3")]));
    let abs = place.root.path().join("abs");
    let before = [place.identity("a"), place.identity("b"), place.identity(abs.to_str().unwrap())];

    let nothing = place.publish(&place.release(2, &[("a", "1"), ("b", "2"), ("/abs", "3")]));
    assert!(nothing.stage.is_empty() && nothing.publish.is_empty() && nothing.changed.is_empty());

    let publication = place.publish(&place.release(3, &[("a", "1"), ("b", "new"), ("/abs", "3")]));
    assert_eq!(publication.changed, BTreeSet::from([PathBuf::from("b")]));
    assert_eq!([place.identity("a"), place.identity(abs.to_str().unwrap())], [before[0], before[2]]);
    assert_ne!(place.identity("b"), before[1]);
}

#[test]
fn a_staged_file_is_final_before_it_is_visible() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("a", "1"), ("/abs", "1")]));
    let mut next = place.release(2, &[("a@640", "2"), ("/abs@644", "2")]);
    if is_root() {
        for file in &mut next.files {
            (file.attributes.owner, file.attributes.group) = (1234, FileGroup::Of(2345));
        }
    }
    let publication = place.plan(&next);
    stage(&place.output, &key(), &publication).unwrap();

    assert_eq!(fs::read(place.dir().join("a")).unwrap(), b"1");
    let staged = publication.directory(&place.output).unwrap();
    let beside = temporary(&publication);
    for (path, file) in [staged.join("a"), beside.clone()].iter().zip(&next.files) {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), FileGroup::Of(found.gid())), {
            let Entry { attributes, .. } = Entry::of(file);
            (attributes.mode.bits(), attributes.owner, attributes.group)
        });
    }
    let inodes = [&staged.join("a"), &beside].map(|path| fs::metadata(path).unwrap().ino());
    publish(&place.output, &key(), &publication).unwrap();
    let shown =
        [place.dir().join("a"), place.root.path().join("abs")].map(|path| fs::metadata(path).unwrap().ino());
    assert_eq!(shown, inodes);
    place.manifest = publication.manifest;
    place.assert_published(&next);
}

/// The temporary file of the only absolute file.
fn temporary(publication: &Publication) -> PathBuf {
    let prepared = publication.stage.iter().find_map(|step| {
        let Step::Prepare { temporary, .. } = step else { return None };
        Some(temporary.clone())
    });
    prepared.unwrap()
}

#[test]
fn a_file_that_was_there_before_is_refused_and_stays() {
    let mut place = Place::new();
    let abs = place.root.path().join("abs");
    fs::write(&abs, "theirs").unwrap();
    let first = place.release(1, &[("a", "1"), ("/abs", "1")]);
    place.manifest = place.survey(&first).unwrap();
    assert!(!place.manifest.absolute[&abs].ours);
    prepare(&place.output).unwrap();
    let error = perform(&place.output, &key(), &place.plan(&first)).unwrap_err();
    assert!(matches!(&error, PublishError::Foreign { path } if *path == abs), "{error}");
    assert!(place.sweep(&place.manifest).is_empty());
    assert_eq!(fs::read(&abs).unwrap(), b"theirs");
    assert_eq!(place.names(), names(&[]));

    fs::remove_file(&abs).unwrap();
    place.manifest = place.survey(&first).unwrap();
    place.publish(&first);
    // Another run knows it as Squire's, even after somebody wrote to it.
    fs::set_permissions(&abs, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&abs, "edited").unwrap();
    place.manifest = place.survey(&first).unwrap();
    assert!(place.manifest.absolute[&abs].ours);
    place.publish(&first);
}

#[test]
fn what_is_staged_can_be_discarded_without_a_trace() {
    let mut place = Place::new();
    let first = place.release(1, &[("a", "1"), ("/abs", "1")]);
    place.publish(&first);
    let publication = place.plan(&place.release(2, &[("a", "2"), ("b", "2"), ("/abs", "2")]));
    stage(&place.output, &key(), &publication).unwrap();
    discard(&place.output, &key(), &publication).unwrap();
    place.assert_published(&first);
    assert_eq!(place.names(), names(&["..data", "..data_prev", "..gen-1", "a"]));
    assert!(!temporary(&publication).exists());
}

#[test]
fn what_is_live_cannot_be_discarded() {
    let mut place = Place::new();
    let first = place.release(1, &[("a", "1")]);
    let publication = place.publish(&first);
    discard(&place.output, &key(), &publication).unwrap();
    place.assert_published(&first);
}

#[test]
fn going_back_brings_back_the_same_inodes() {
    let mut place = Place::new();
    let (old, new) =
        (place.release(1, &[("a", "1"), ("b", "1")]), place.release(2, &[("a", "2"), ("c", "2")]));
    place.publish(&old);
    let before = place.identity("a");
    place.publish(&new);
    place.publish(&old);
    assert_eq!(place.identity("a"), before);
    assert_eq!(place.names(), names(&["..data", "..data_prev", "..gen-1", "..gen-2", "a", "b"]));
    place.publish(&new);
    place.publish(&place.release(3, &[("a", "3")]));
    assert_eq!(fs::read_link(place.dir().join("..data_prev")).unwrap(), Path::new("..gen-2"));
}

/// Old and new differ in every way in which a file can.
fn transition(place: &Place) -> [Release; 3] {
    [
        place.release(1, &[("a", "0"), ("same", "s")]),
        place.release(
            2,
            &[("a", "1"), ("same", "s"), ("gone", "g"), ("conf/x", "x"), ("/abs", "1"), ("/abs-same", "s")],
        ),
        place.release(
            3,
            &[("a", "2"), ("same", "s"), ("conf/x", "x"), ("new/y", "y"), ("/abs", "2"), ("/abs-same", "s")],
        ),
    ]
}

#[test]
fn after_a_crash_at_any_step_a_whole_generation_is_live_and_the_next_run_repairs() {
    let mut steps = 0;
    loop {
        let mut place = Place::new();
        let [first, old, new] = transition(&place);
        place.publish(&first);
        place.publish(&old);
        let publication = place.plan(&new);
        place.crash_after(&publication, steps);

        let found = place.survey(&new).unwrap();
        let live = found.live.as_ref().unwrap();
        let is_like = |release: &Release| {
            let files = release.files.iter().filter(|file| !file.path.is_absolute());
            live.files == files.map(|file| (file.path.clone(), Entry::of(file))).collect()
        };
        assert!(is_like(&old) || is_like(&new), "after {steps} steps");

        let generation = found.highest().unwrap().next();
        place.manifest = found;
        place.publish(&Release { generation, ..new });
        let stale = place.manifest.superseded.clone();
        for generation in stale {
            retire(&place.output, generation).unwrap();
        }
        let mine = |name: &String| name.starts_with("..");
        let left: Vec<_> = place.names().into_iter().filter(mine).collect();
        assert!(left.len() <= 4, "after {steps} steps: {left:?}");
        let beside: BTreeSet<_> =
            fs::read_dir(place.root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        let expected = [".abs-same.squire", ".abs.squire", "abs", "abs-same", "out"];
        assert_eq!(beside, BTreeSet::from(expected.map(Into::into)), "after {steps} steps");

        if steps == publication.stage.len() + publication.publish.len() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15, "{steps}");
}

#[test]
fn a_crash_during_the_first_publication_is_repaired() {
    for steps in 0.. {
        let mut place = Place::new();
        let first = place.release(1, &[("a", "1"), ("conf/x", "x"), ("/abs", "1")]);
        prepare(&place.output).unwrap();
        let publication = place.plan(&first);
        place.crash_after(&publication, steps);
        place.manifest = place.survey(&first).unwrap();
        place.publish(&first);
        assert!(place.manifest.superseded.is_empty());
        assert_eq!(
            place.names().iter().filter(|name| name.starts_with("..")).count(),
            3,
            "after {steps} steps"
        );
        if steps == publication.stage.len() + publication.publish.len() {
            break;
        }
    }
}

#[test]
fn a_failed_publication_is_taken_back() {
    let mut place = Place::new();
    let [first, old, new] = transition(&place);
    place.publish(&first);
    place.publish(&old);
    let before = (place.names(), place.identity("a"));
    let publication = place.plan(&new);
    stage(&place.output, &key(), &publication).unwrap();
    let abs = place.root.path().join("abs");
    fs::remove_file(&abs).unwrap();
    fs::create_dir(&abs).unwrap();

    let error = publish(&place.output, &key(), &publication).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is a directory: give the path of a file", abs.display()));
    assert_eq!((place.names(), place.identity("a")), before);
    fs::remove_dir(&abs).unwrap();
    place.publish(&new);
}

#[test]
fn a_reader_that_resolves_data_once_never_sees_two_generations() {
    const SWAPS: u64 = 200;
    let mut place = Place::new();
    let both = |place: &Place, n: u64| {
        place.release(n, &[("a", &format!("value {n}")), ("b", &format!("value {n}"))])
    };
    place.publish(&both(&place, 1));
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let data = place.dir().join("..data");
        let (done, reads) = (&done, &reads);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let generation = openat(CWD, &data, flags | OFlags::DIRECTORY, Bits::empty()).unwrap();
                let [a, b] = ["a", "b"].map(|name| {
                    let mut text = String::new();
                    let fd = openat(&generation, name, flags, Bits::empty()).unwrap();
                    fs::File::from(fd).read_to_string(&mut text).unwrap();
                    text
                });
                assert!(a == b && a.starts_with("value "), "{a:?} {b:?}");
                reads.fetch_add(1, Ordering::Release);
            }
        });
        let _done = SetOnDrop(done);
        for n in 2..2 + SWAPS {
            let publication = plan(&place.manifest, &both(&place, n), &place.output);
            perform(&place.output, &key(), &publication).unwrap();
            place.manifest = publication.manifest;
            if n % 10 == 0 {
                let seen = reads.load(Ordering::Acquire);
                let deadline = Instant::now() + Duration::from_secs(10);
                while reads.load(Ordering::Acquire) == seen && Instant::now() < deadline {
                    std::thread::yield_now();
                }
            }
        }
    });
    assert!(reads.into_inner() >= SWAPS / 10);
    assert_eq!(place.manifest.superseded.len() as u64, SWAPS - 1);
    for generation in place.manifest.superseded.clone() {
        retire(&place.output, generation).unwrap();
    }
    assert_eq!(place.names(), names(&["..data", "..data_prev", "..gen-200", "..gen-201", "a", "b"]));
}

/// Ends the reader, even if the writer panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_generation_in_use_is_not_retired() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("a", "1")]));
    place.publish(&place.release(2, &[("a", "2")]));
    for live in [1, 2] {
        let error = retire(&place.output, Generation::from_number(live).unwrap()).unwrap_err();
        assert!(matches!(error, PublishError::InUse { .. }), "{error}");
    }
    let third = place.release(3, &[("a", "3")]);
    let superseded = place.publish(&third).superseded.unwrap();
    retire(&place.output, superseded).unwrap();
    retire(&place.output, superseded).unwrap();
    place.assert_published(&third);
}

#[test]
fn to_retire_a_generation_leaves_a_linked_live_file_whole() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("same", "s"), ("a", "1")]));
    place.publish(&place.release(2, &[("same", "s"), ("a", "2")]));
    let third = place.release(3, &[("same", "s"), ("a", "3")]);
    let superseded = place.publish(&third).superseded.unwrap();
    assert_eq!(fs::metadata(place.dir().join("same")).unwrap().nlink(), 3);
    retire(&place.output, superseded).unwrap();
    place.assert_published(&third);
    assert_eq!(fs::metadata(place.dir().join("same")).unwrap().nlink(), 2);
}

#[test]
fn a_live_file_that_somebody_edited_is_not_carried_on() {
    let mut place = Place::new();
    place.publish(&place.release(1, &[("a", "1"), ("b", "1"), ("c", "1")]));
    fs::set_permissions(place.dir().join("a"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(place.dir().join("a"), "edited").unwrap();
    fs::remove_file(place.dir().join("..data/b")).unwrap();
    let second = place.release(2, &[("a", "1"), ("b", "1"), ("c", "2")]);
    let publication = place.plan(&second);
    perform(&place.output, &key(), &publication).unwrap();
    for name in ["a", "b"] {
        assert_eq!(fs::read(place.dir().join(name)).unwrap(), b"1");
        assert_eq!(fs::metadata(place.dir().join(name)).unwrap().mode() & 0o7777, 0o400);
    }
}

#[test]
fn directories_without_write_permission_can_be_filled_and_removed() {
    let mut place = Place::new();
    place.output.dir_mode = Mode::new(0o555);
    fs::create_dir(place.dir()).unwrap();
    for n in 1..=3 {
        let superseded = place.publish(&place.release(n, &[("conf/d/x", &n.to_string())])).superseded;
        if let Some(generation) = superseded {
            retire(&place.output, generation).unwrap();
        }
    }
    let errors = place.sweep(&place.manifest);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(place.names(), names(&[]));
}

#[test]
fn the_output_directory_is_made_with_its_mode_and_must_be_a_directory() {
    let mut place = Place::new();
    place.output.dir_mode = Mode::new(0o751);
    place.output.dir = Some(place.root.path().join("deep/er"));
    prepare(&place.output).unwrap();
    prepare(&place.output).unwrap();
    for path in ["deep", "deep/er"] {
        assert_eq!(fs::metadata(place.root.path().join(path)).unwrap().mode() & 0o7777, 0o751);
    }
    symlink("deep", place.root.path().join("link")).unwrap();
    fs::write(place.root.path().join("file"), "").unwrap();
    for name in ["link", "file"] {
        place.output.dir = Some(place.root.path().join(name));
        let error = prepare(&place.output).unwrap_err();
        assert!(matches!(error, PublishError::Unfit { .. }), "{name}: {error}");
        assert!(survey(&place.output, &[], &key()).is_err());
    }
}

#[test]
fn a_foreign_file_is_kept_and_stops_the_publication() {
    let mut place = Place::new();
    prepare(&place.output).unwrap();
    let theirs = place.dir().join("b");
    fs::write(&theirs, "theirs").unwrap();
    symlink("/etc/passwd", place.dir().join("c")).unwrap();
    for name in ["b", "c"] {
        let publication = place.plan(&place.release(1, &[("a", "1"), (name, "2")]));
        let error = perform(&place.output, &key(), &publication).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is there already and is not Squire's: remove it, or give the file another path",
                place.dir().join(name).display()
            )
        );
    }
    assert_eq!(place.names(), names(&["b", "c"]));
    let first = place.release(1, &[("a", "1")]);
    place.publish(&first);
    assert!(place.sweep(&place.manifest).is_empty());
    assert_eq!((place.names(), fs::read(theirs).unwrap()), (names(&["b", "c"]), b"theirs".to_vec()));
}

#[test]
fn names_of_our_own_are_not_given_away() {
    let place = Place::new();
    prepare(&place.output).unwrap();
    for name in ["..data", "..gen-1/x", "..anything"] {
        let publication = place.plan(&place.release(1, &[(name, "1")]));
        let error = perform(&place.output, &key(), &publication).unwrap_err();
        assert!(matches!(error, PublishError::Reserved { .. }), "{name}: {error}");
    }
    assert_eq!(place.names(), names(&[]));
}

#[test]
fn links_of_another_program_are_not_taken_over() {
    for link in ["..data", "..data_prev"] {
        let place = Place::new();
        prepare(&place.output).unwrap();
        symlink("..2026_11_22", place.dir().join(link)).unwrap();
        let error = survey(&place.output, &[], &key()).unwrap_err();
        assert!(matches!(error, PublishError::Foreign { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_replaced_is_refused_as_a_destination() {
    let place = Place::new();
    let at = |name: &str| place.root.path().join(name);
    fs::write(at("target"), "theirs").unwrap();
    symlink("target", at("symlink")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cases = [
        ("symlink", " is a symlink: give the path that it points to"),
        ("dangling", " is a symlink: give the path that it points to"),
        ("directory", " is a directory: give the path of a file"),
        ("pipe", " is not a regular file: remove it, or give the file another path"),
    ];
    for (name, message) in cases {
        let expected = format!("{}{message}", at(name).display());
        assert_eq!(survey(&place.output, &[at(name)], &key()).unwrap_err().to_string(), expected);
        prepare(&place.output).unwrap();
        let publication = place.plan(&place.release(1, &[(&format!("/{name}"), "secret")]));
        assert_eq!(perform(&place.output, &key(), &publication).unwrap_err().to_string(), expected);
    }
    assert_eq!(fs::read(at("target")).unwrap(), b"theirs");
    let error = survey(&place.output, &[at("absent/file")], &key()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the directory {} of {} is not there: make it first, or write `make_dir = true` in its [[file]]",
            at("absent").display(),
            at("absent/file").display()
        )
    );
}

#[test]
fn what_was_planted_where_we_are_about_to_write_is_neither_followed_nor_overwritten() {
    let place = Place::new();
    prepare(&place.output).unwrap();
    let victim = place.root.path().join("victim");
    fs::write(&victim, "theirs").unwrap();
    let publication = place.plan(&place.release(1, &[("a", "1"), ("/abs", "secret")]));
    let planted = temporary(&publication);
    let plants: [fn(&Path, &Path) -> std::io::Result<()>; 2] =
        [|victim, at| symlink(victim, at), |victim, at| fs::hard_link(victim, at)];
    for plant in plants {
        plant(&victim, &planted).unwrap();
        let error = perform(&place.output, &key(), &publication).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot make {}", planted.display()));
        assert_eq!(fs::read(&victim).unwrap(), b"theirs");
        assert_eq!(place.names(), names(&[]));
        fs::remove_file(&planted).unwrap();
    }
}

#[test]
fn a_mounted_file_is_refused_as_a_destination() {
    let place = Place::new();
    let at = |name: &str| place.root.path().join(name);
    fs::write(at("source"), "").unwrap();
    fs::write(at("mounted"), "").unwrap();
    let Some(_mount) = Mount::new(&["--bind", at("source").to_str().unwrap()], &at("mounted")) else {
        return;
    };
    let error = survey(&place.output, &[at("mounted")], &key()).unwrap_err();
    let expected = format!(
        "{} is a mount point: mount its directory instead, or give the file another path",
        at("mounted").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_absolute_file_is_removed_only_while_it_is_ours() {
    let mut place = Place::new();
    place.publish(
        &place.release(1, &[("/kept", "1"), ("/edited", "1"), ("/dropped", "1"), ("/dropped-edited", "1")]),
    );
    for name in ["edited", "dropped-edited"] {
        let path = place.root.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
    }
    let second = place.plan(&place.release(2, &[("/kept", "1"), ("/edited", "1")]));
    perform(&place.output, &key(), &second).unwrap();
    let errors = place.sweep(&second.manifest);
    assert!(
        matches!(&errors[..], [PublishError::Changed { path }] if path.ends_with("edited")),
        "{errors:?}"
    );
    let mut left: Vec<_> =
        fs::read_dir(place.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    // Its record stays, so that the next run does not take it for a file that was there before.
    assert_eq!(left, [".edited.squire", "dropped-edited", "edited", "out"]);
}

#[test]
fn a_disk_is_refused_unless_it_is_allowed() {
    let beside = std::env::current_exe().unwrap();
    let root = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
    if memory::require(root.path(), false).is_ok() {
        println!("skipped: {} is in memory", root.path().display());
        return;
    }
    let mut place = Place::at(root);
    let first = place.release(1, &[("a", "1"), ("conf/x", "1"), ("/abs", "1")]);
    for error in [prepare(&place.output), place.survey(&first).map(drop)].map(Result::unwrap_err) {
        assert!(matches!(error, PublishError::Memory(MemoryError::Disk { .. })), "{error}");
        assert!(error.to_string().contains("`allow_disk = true`"), "{error}");
    }
    let publication = place.plan(&place.release(1, &[("/abs", "1")]));
    assert!(matches!(
        perform(&place.output, &key(), &publication),
        Err(PublishError::Memory(MemoryError::Disk { .. }))
    ));
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 0);

    place.output.allow_disk = true;
    place.publish(&first);
    place.publish(&place.release(2, &[("a", "2"), ("conf/x", "1"), ("/abs", "2")]));
    place.publish(&first);
}

#[test]
fn without_an_exchange_the_links_change_places_all_the_same() {
    let place = Place::new();
    prepare(&place.output).unwrap();
    symlink("..gen-1", place.dir().join("..data")).unwrap();
    symlink("..gen-2", place.dir().join("..data_next")).unwrap();
    open(&place.output).unwrap().unwrap().exchange_by_renames("..data_next", "..data").unwrap();
    let target = |name: &str| fs::read_link(place.dir().join(name)).unwrap();
    assert_eq!([target("..data"), target("..data_next")], ["..gen-2", "..gen-1"].map(PathBuf::from));
    assert_eq!(place.names(), names(&["..data", "..data_next"]));
}

#[test]
fn owner_group_and_every_mode_bit_are_as_wanted() {
    if !is_root() {
        println!("skipped: only root may give files away");
        return;
    }
    let mut place = Place::new();
    let mut first = place.release(1, &[("a", "1"), ("b@6750", "1"), ("c@0", "1"), ("/abs@440", "1")]);
    for file in &mut first.files {
        (file.attributes.owner, file.attributes.group) = (1234, FileGroup::Of(2345));
    }
    place.publish(&first);
    let found = fs::metadata(place.dir().join("b")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 2345, 0o6750));

    first.files[0].attributes.owner = 4321;
    let publication = place.publish(&Release { generation: first.generation.next(), ..first.clone() });
    assert_eq!(publication.changed, BTreeSet::from([PathBuf::from("a")]));
}

#[test]
fn a_full_tmpfs_leaves_the_live_release_whole() {
    let mut place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "none"], &place.dir().to_path_buf())
    else {
        return;
    };
    let first = place.release(1, &[("a", "1"), ("b", "1")]);
    place.publish(&first);
    let before = place.names();
    let publication = place.plan(&place.release(2, &[("a", "2"), ("b", &"x".repeat(1 << 20)), ("c", "3")]));
    let error = perform(&place.output, &key(), &publication).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write {}/..gen-2/b", place.dir().display()));
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.to_string().starts_with("No space left on device"), "{cause}");
    assert_eq!(place.names(), before);
    place.assert_published(&first);
    place.publish(&place.release(3, &[("a", "2"), ("b", "1")]));
}

#[test]
fn the_way_back_needs_no_inode() {
    let mut place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let options = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=32", "none"];
    let Some(_mount) = Mount::new(&options, &place.dir().to_path_buf()) else { return };
    let (old, new) = (place.release(1, &[("a", "1")]), place.release(2, &[("a", "2")]));
    place.publish(&old);
    place.publish(&new);
    let full = (0..64).any(|n| fs::write(place.dir().join(format!("filler-{n}")), "").is_err());
    assert!(full);
    let third = place.plan(&place.release(3, &[("a", "3")]));
    assert!(perform(&place.output, &key(), &third).is_err());
    place.assert_published(&new);
    place.publish(&old);
}

/// Something mounted for one test, if the test may mount.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &PathBuf) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.clone()));
        }
        println!("skipped: may not mount");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that another test forked may hold a file of it until it executes its program.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn files() -> impl Strategy<Value = BTreeMap<&'static str, String>> {
    let paths = ["a", "b", "conf/x", "conf/d/y", "other/z", "/abs", "/abs2"];
    let modes = prop::sample::select(vec!["400", "440", "644"]);
    prop::collection::btree_map(prop::sample::select(paths.to_vec()), ("[ab]{0,2}", modes), 0..paths.len())
        .prop_map(|files| {
            files.into_iter().map(|(path, (contents, mode))| (path, format!("{mode}{contents}"))).collect()
        })
}

fn release_of(place: &Place, number: u64, files: &BTreeMap<&'static str, String>) -> Release {
    let named: Vec<_> = files.iter().map(|(path, text)| (format!("{path}@{}", &text[..3]), text)).collect();
    let named: Vec<_> = named.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    place.release(number, &named)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_releases_is_published_exactly(sequence in prop::collection::vec(files(), 1..6)) {
        let mut place = Place::new();
        for (number, files) in (1..).zip(&sequence) {
            let release = release_of(&place, number, files);
            let absolute = |path: &Path| place.dir().join(path);
            let before: BTreeMap<_, _> = release.files.iter()
                .filter_map(|file| Some((file.path.clone(), fs::metadata(absolute(&file.path)).ok()?.ino())))
                .collect();
            let publication = place.publish(&release);
            let after = |path: &PathBuf| fs::metadata(place.dir().join(path)).unwrap().ino();
            for (path, inode) in before.iter().filter(|(path, _)| !publication.changed.contains(*path)) {
                prop_assert_eq!(after(path), *inode, "{:?}", path);
            }
            let again = place.plan(&release);
            prop_assert!(again.stage.is_empty() && again.publish.is_empty() && again.changed.is_empty());
        }
        prop_assert!(place.sweep(&place.manifest).is_empty());
        prop_assert_eq!(place.names(), names(&[]));
        let left: Vec<_> = fs::read_dir(place.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(left, ["out"]);
    }

    #[test]
    fn a_crash_anywhere_leaves_a_whole_generation(from in files(), to in files(), steps in 0..32_usize) {
        let mut place = Place::new();
        let (old, new) = (release_of(&place, 1, &from), release_of(&place, 2, &to));
        place.publish(&old);
        place.crash_after(&place.plan(&new), steps);
        let found = place.survey(&new).unwrap();
        let tree = |release: &Release| -> BTreeMap<_, _> {
            let files = release.files.iter().filter(|file| !file.path.is_absolute());
            files.map(|file| (file.path.clone(), Entry::of(file))).collect()
        };
        let live = found.live.clone().map(|tree| tree.files).unwrap_or_default();
        prop_assert!(live == tree(&old) || live == tree(&new));
        let generation = found.highest().unwrap_or(Generation::FIRST).next();
        place.manifest = found;
        place.publish(&Release { generation, ..new });
    }
}
