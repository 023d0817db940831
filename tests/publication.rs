//! A thousand publications with faults: the publisher is killed, its file system becomes full or read-only, all at random instants. A
//! reader always sees one whole release.
//!
//! The publisher is this test binary, started once more: see [`publisher`]. `SQUIRE_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use squire::config::{Mode, OutputConfig};
use squire::names::Generation;
use squire::plan::{Attributes, FileGroup};
use squire::publish::{self, Manifest, tmpfs};
use squire::render::{Release, RenderedFile};
use squire::secret::{DigestKey, Secret};
use tempfile::TempDir;

const PUBLICATIONS: u64 = 1000;
const FILES: usize = 20;

/// How many superseded generations stay for readers; Squire keeps them for ten seconds.
const KEPT: usize = 50;

/// The variable that turns [`publisher`] from an empty test into the publisher.
const OUTPUT: &str = "PUBLICATION_OUTPUT";

const LIMIT: Duration = Duration::from_mins(4);

#[test]
fn at_every_instant_a_reader_sees_one_whole_release() {
    let seed = std::env::var("SQUIRE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SQUIRE_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let place = Place::mount();
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let (done, reads, late) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _done = SetOnDrop(&done);
        let mut publisher = Publisher::start(&place, &counts);
        wait_until("something is published", || place.output().join("..data").exists());
        let readers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| read(&place.output(), &done, &reads, &late))).collect();
        let end = Instant::now() + LIMIT;
        let mut faults = BTreeMap::<_, u32>::new();
        while count(&counts, "published") < PUBLICATIONS {
            assert!(Instant::now() < end, "too slow: {:?}", counts.lock().unwrap());
            assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader saw something else");
            thread::sleep(Duration::from_micros(random.u64(0..4_000)));
            let fault = random.choice(["killed", "full", "read-only"]).unwrap();
            *faults.entry(fault).or_default() += 1;
            match fault {
                "killed" => publisher.kill_and_start_again(&place, &counts),
                "full" => place.fill_for(Duration::from_micros(random.u64(0..2_000))),
                _ => place.turn_read_only_for(Duration::from_micros(random.u64(0..2_000))),
            }
        }
        println!("{faults:?} {:?}", counts.lock().unwrap());
    });
    println!("{reads:?} reads of {FILES} files, {late:?} too late");
    assert!(reads.into_inner() > PUBLICATIONS / 2);
    assert!(count(&counts, "failed") > 0, "no step failed");
    // The next run finds everything in order, and leaves nothing behind.
    let mut desk = Desk::open(&place.output());
    desk.publish().unwrap();
    desk.retire_all_but(0);
    let mine = fs::read_dir(place.output()).unwrap();
    let mine = mine.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".."));
    assert_eq!(mine.count(), 5, "two links, two generations and what tells them for ours");
}

/// Not a test: the publisher, in a process of its own.
#[test]
fn publisher() {
    let Some(output) = std::env::var_os(OUTPUT) else { return };
    let mut desk = Desk::open(Path::new(&output));
    loop {
        match desk.publish() {
            Ok(()) => println!("\npublished"),
            Err(error) => {
                println!("\nfailed {error}");
                thread::sleep(Duration::from_millis(1));
            }
        }
        desk.retire_all_but(KEPT);
    }
}

/// Does what the publisher's thread of an agent does, without the agent.
struct Desk {
    output: OutputConfig,
    key: DigestKey,
    manifest: Manifest,
}

impl Desk {
    fn open(output: &Path) -> Self {
        let output =
            OutputConfig { dir: Some(output.to_owned()), dir_mode: Mode::new(0o755), allow_disk: false };
        let key = DigestKey::new([7; 32]);
        // Faults may hit both.
        let end = Instant::now() + LIMIT;
        loop {
            match tmpfs::prepare(&output).and_then(|()| tmpfs::survey(&output, &[], &key)) {
                Ok(manifest) => return Self { output, key, manifest },
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    }

    fn publish(&mut self) -> Result<(), String> {
        let generation = self.manifest.highest().map_or(Generation::FIRST, Generation::next);
        let publication = publish::plan(&self.manifest, &release(generation, &self.key), &self.output);
        match tmpfs::perform(&self.output, &self.key, &publication) {
            Ok(()) => {
                self.manifest = publication.manifest;
                Ok(())
            }
            Err(error) => {
                if let Ok(manifest) = tmpfs::survey(&self.output, &[], &self.key) {
                    self.manifest = manifest;
                }
                Err(error.to_string())
            }
        }
    }

    fn retire_all_but(&mut self, kept: usize) {
        let superseded: Vec<_> = self.manifest.superseded.iter().copied().collect();
        for generation in superseded.into_iter().rev().skip(kept) {
            if tmpfs::retire(&self.output, generation).is_ok() {
                self.manifest.superseded.remove(&generation);
            }
        }
    }
}

/// Every file contains the number of its generation, and its length.
fn release(generation: Generation, key: &DigestKey) -> Release {
    let file = |index: usize| {
        let text = format!("{generation} {}", "x".repeat(index * 50));
        RenderedFile {
            path: format!("dir-{}/file-{index}", index % 3).into(),
            contents: Secret::new(text.as_bytes()),
            digest: key.digest(text.as_bytes()),
            attributes: Attributes { mode: Mode::new(0o400), owner: 0, group: FileGroup::Of(0) },
        }
    };
    Release {
        generation,
        files: (0..FILES).map(file).collect(),
        env: BTreeMap::new(),
        env_digest: key.digest(b""),
        webhook_key: None,
        credentials: Vec::new(),
        revisions: BTreeMap::new(),
        former_ends: BTreeMap::new(),
    }
}

/// Opens `..data` once and reads every file below it, until it is told to end.
fn read(output: &Path, done: &AtomicBool, reads: &AtomicU64, late: &AtomicU64) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    while !done.load(Ordering::Acquire) {
        let data = openat(CWD, output.join("..data"), flags | OFlags::DIRECTORY, Bits::empty()).unwrap();
        let texts = (0..FILES).map(|index| {
            let file = openat(&data, format!("dir-{}/file-{index}", index % 3), flags, Bits::empty())?;
            let mut text = String::new();
            File::from(file).read_to_string(&mut text)?;
            assert!(text.ends_with(&format!(" {}", "x".repeat(index * 50))), "file {index} is cut: {text:?}");
            Ok(text.split(' ').next().unwrap().to_owned())
        });
        match texts.collect::<Result<Vec<_>, std::io::Error>>() {
            Ok(generations) => {
                assert!(generations.iter().all(|one| one == &generations[0]), "{generations:?}");
                reads.fetch_add(1, Ordering::Release);
            }
            // The reader was so slow that its generation was removed: it saw nothing wrong.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                late.fetch_add(1, Ordering::Release);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A small tmpfs with the output directory on it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn mount() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let mounted = place.mount_with(&["-t", "tmpfs", "-o", "size=16m,nr_inodes=16k", "publication"]);
        assert!(mounted, "this test mounts a tmpfs: run it as root");
        place
    }

    fn mount_with(&self, options: &[&str]) -> bool {
        let mount =
            Command::new("mount").args(options).arg(self.directory.path()).stderr(Stdio::null()).status();
        mount.unwrap().success()
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn fill_for(&self, time: Duration) {
        let ballast = self.directory.path().join("ballast");
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(&ballast) {
            for size in [1 << 16, 1 << 12] {
                while file.write_all(&vec![0; size]).is_ok() {}
            }
        }
        thread::sleep(time);
        fs::remove_file(ballast).ok();
    }

    /// If a file is open for writing at that moment, the kernel refuses, and nothing changes.
    fn turn_read_only_for(&self, time: Duration) {
        if self.mount_with(&["-o", "remount,ro"]) {
            thread::sleep(time);
            assert!(self.mount_with(&["-o", "remount,rw"]));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.directory.path()).status().ok();
    }
}

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

fn count(counts: &Counts, word: &str) -> u64 {
    counts.lock().unwrap().get(word).copied().unwrap_or(0)
}

struct Publisher {
    child: Child,
}

impl Publisher {
    fn start(place: &Place, counts: &Counts) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "publisher", "--nocapture"]).env(OUTPUT, place.output());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (lines, counts) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(counts));
        thread::spawn(move || {
            for word in
                lines.map_while(Result::ok).filter_map(|line| line.split(' ').next().map(str::to_owned))
            {
                *counts.lock().unwrap().entry(word).or_default() += 1;
            }
        });
        Self { child }
    }

    fn kill_and_start_again(&mut self, place: &Place, counts: &Counts) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start(place, counts);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Ends the readers, even if the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
