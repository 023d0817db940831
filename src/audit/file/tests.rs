//! The file as its enemies and its accidents find it: what is wrong is found, kept and said; what a kill leaves is not wrong.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::audit::read::check;
use crate::config::OnFailure;

struct World {
    directory: TempDir,
    config: AuditConfig,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = AuditConfig {
            file: directory.path().join("log/audit.jsonl"),
            anchor: directory.path().join("state/audit.anchor"),
            max_size: 1 << 20,
            keep: 3,
            on_failure: OnFailure::Refuse,
        };
        Self { directory, config }
    }

    fn open(&self) -> (Log, Resumed) {
        Log::open(&self.config).unwrap()
    }

    /// What `verify` says.
    fn findings(&self) -> Vec<String> {
        let checked =
            check(&self.config.file, &Place(self.config.anchor.clone()), None, || (), |(), _| ()).unwrap();
        let findings = checked.verdict.findings.iter();
        findings
            .map(|finding| finding.to_string().replace(&self.config.file.display().to_string(), "@"))
            .collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config.file).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("log")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn entries(count: usize) -> VecDeque<Entry> {
    let entry = |number| Entry {
        what: "fetch".to_owned(),
        path: Some(format!("secret/{number}")),
        ..Entry::default()
    };
    (0..count).map(entry).collect()
}

fn write(log: &mut Log, count: usize) -> Option<Resumed> {
    log.append(&mut entries(count)).unwrap()
}

#[test]
fn a_run_goes_on_where_the_one_before_ended() {
    let world = World::new();
    let (mut log, begun) = world.open();
    assert_eq!((begun.tip.number, begun.found), (1, None));
    assert_eq!(write(&mut log, 3), None);
    let end = log.close().unwrap();
    assert_eq!(end.number, 4);
    assert_eq!(world.findings(), Vec::<String>::new());
    let (log, resumed) = world.open();
    assert_eq!((resumed.tip.number, resumed.found), (5, None));
    assert!(matches!(Log::open(&world.config), Err(AuditError::InUse { .. })));
    drop(log);
    assert_eq!(world.findings(), Vec::<String>::new());
}

/// A rollback may be about all secrets of a large configuration. A line that Squire could not read itself would look like a forgery.
#[test]
fn a_line_about_very_many_secrets_is_read_again() {
    let world = World::new();
    let secrets = (0..20_000).map(|number| format!("{number:0>100}")).collect();
    let entry = Entry { what: "roll_back".to_owned(), secrets, ..Entry::default() };
    let (mut log, _) = world.open();
    log.append(&mut VecDeque::from([entry])).unwrap();
    log.close().unwrap();
    let (log, resumed) = world.open();
    assert_eq!((resumed.found, world.findings()), (None, Vec::new()));
    log.close().unwrap();
}

#[test]
fn a_kill_between_line_and_anchor_or_within_a_line_is_no_forgery() {
    let world = World::new();
    let (mut log, _) = world.open();
    write(&mut log, 2);
    let before = fs::read(&world.config.anchor).unwrap();
    write(&mut log, 2);
    drop(log);
    fs::write(&world.config.anchor, before).unwrap();
    assert_eq!(world.findings(), Vec::<String>::new());
    let whole = world.text();
    let begun = format!("{whole}{}", &whole[..40]);
    fs::write(&world.config.file, begun).unwrap();
    assert_eq!(world.findings(), Vec::<String>::new(), "a line was begun");
    let (_, resumed) = world.open();
    assert_eq!((resumed.tip.number, resumed.found), (6, None));
    assert!(world.text().starts_with(&whole), "the begun line is gone and nothing else");
    assert_eq!(world.findings(), Vec::<String>::new());
}

#[test]
fn a_rotation_is_cut_off_at_no_point_that_looks_like_a_forgery() {
    let world = World::new();
    let (mut log, _) = world.open();
    write(&mut log, 3);
    let anchor_before = fs::read(&world.config.anchor).unwrap();
    log.rotate().unwrap();
    drop(log);
    let (file, full) = (&world.config.file, full_name(&world.config.file, 1));
    let head = fs::read(file).unwrap();
    // After the first line of the new file, before it, and before the file itself.
    for rest in [Some(&head[..]), Some(&[]), None] {
        fs::write(&world.config.anchor, &anchor_before).unwrap();
        match rest {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        assert_eq!(world.findings(), Vec::<String>::new(), "{rest:?}");
        let (mut log, resumed) = world.open();
        assert_eq!(resumed.found, None, "{rest:?}");
        write(&mut log, 1);
        log.rotate().unwrap();
        drop(log);
        assert_eq!(world.findings(), Vec::<String>::new(), "{rest:?}");
        let added: Vec<_> = world
            .names()
            .into_iter()
            .filter(|name| name != "audit.jsonl" && name != "audit.jsonl.1")
            .collect();
        assert_eq!(added.len(), 1, "{added:?}");
        fs::remove_file(world.config.file.with_file_name(&added[0])).unwrap();
        assert!(full.exists());
    }
}

#[test]
fn full_files_are_kept_as_many_as_asked_for_and_the_rest_is_known_to_be_gone() {
    let mut world = World::new();
    world.config.max_size = 1500;
    let (mut log, _) = world.open();
    for _ in 0..60 {
        write(&mut log, 1);
    }
    let names = world.names();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(world.findings(), Vec::<String>::new());
    for name in &names {
        let size = fs::metadata(world.config.file.with_file_name(name)).unwrap().len();
        assert!(size <= 1500, "{name}: {size}");
    }
    // A file with such a name is no reason to remove others.
    fs::write(full_name(&world.config.file, 90_000), "planted").unwrap();
    log.rotate().unwrap();
    assert_eq!(world.findings(), Vec::<String>::new());
    let oldest = names.iter().find(|name| *name != "audit.jsonl").unwrap();
    let first: u64 = oldest.rsplit_once('.').unwrap().1.parse().unwrap();
    assert!(first > 1 && !world.config.file.with_file_name(oldest).exists(), "{oldest}");
    let mut left = world.names();
    left.retain(|name| {
        name.rsplit_once('.')
            .is_some_and(|(_, number)| number.parse::<u64>().is_ok_and(|number| number < 90_000))
    });
    fs::remove_file(world.config.file.with_file_name(&left[1])).unwrap();
    let findings = world.findings();
    assert!(findings[0].starts_with("@:1: entries ") || findings[0].contains(": entries "), "{findings:?}");
}

#[test]
fn what_was_done_to_it_meanwhile_is_found_kept_and_said() {
    type Attack = fn(&World);
    let attacks: [(&str, Attack); 6] = [
        ("the file is gone", |world| fs::remove_file(&world.config.file).unwrap()),
        ("are missing before it", |world| {
            let text = world.text();
            let end = text.match_indices('\n').nth(1).unwrap().0;
            fs::write(&world.config.file, &text[..=end]).unwrap();
        }),
        ("the file is gone", |world| fs::write(&world.config.file, "").unwrap()),
        ("entry 3 was changed", |world| {
            fs::write(&world.config.file, world.text().replace("secret/1", "secret/9")).unwrap();
        }),
        ("is no line of the audit", |world| fs::write(&world.config.file, world.text() + "{}\n").unwrap()),
        ("stands in the place", |world| {
            let text = world.text();
            let last = text.lines().next_back().unwrap();
            fs::write(&world.config.file, format!("{text}{last}\n")).unwrap();
        }),
    ];
    for (expected, attack) in attacks {
        let world = World::new();
        let (mut log, _) = world.open();
        write(&mut log, 3);
        log.close().unwrap();
        attack(&world);
        let before = world.findings();
        assert!(!before.is_empty(), "{expected}");
        let (mut log, resumed) = world.open();
        assert!(
            resumed.found.as_ref().is_some_and(|found| found.contains(expected)),
            "{expected}: {resumed:?}"
        );
        assert_eq!(resumed.tip.number, 5, "its number is used once");
        write(&mut log, 1);
        log.close().unwrap();
        let after = world.findings();
        assert!(
            after.iter().any(|finding| finding.contains("squire noted in entry 5")),
            "{expected}: {after:?}"
        );
        let (_, again) = world.open();
        assert_eq!(again.found, None, "{expected}: it is said once");
    }
}

#[test]
fn what_is_done_while_squire_writes_is_found_with_the_next_line() {
    type Attack = fn(&World);
    let attacks: [(&str, Attack); 4] = [
        ("removed", |world| fs::remove_file(&world.config.file).unwrap()),
        ("cut", |world| fs::write(&world.config.file, &world.text()[..300]).unwrap()),
        ("somebody else wrote", |world| fs::write(&world.config.file, world.text() + "more\n").unwrap()),
        ("replaced", |world| {
            fs::remove_file(&world.config.file).unwrap();
            fs::write(&world.config.file, "other\n").unwrap();
        }),
    ];
    for (expected, attack) in attacks {
        let world = World::new();
        let (mut log, _) = world.open();
        write(&mut log, 3);
        attack(&world);
        let resumed = write(&mut log, 1).unwrap();
        assert!(
            resumed.found.as_ref().is_some_and(|found| found.contains(expected)),
            "{expected}: {resumed:?}"
        );
        assert_eq!(write(&mut log, 1), None);
        assert!(world.findings().iter().any(|finding| finding.contains("squire noted")), "{expected}");
        assert!(world.text().contains("secret/0"), "{expected}: the line is written");
    }
}

#[test]
fn what_is_not_ours_is_not_written_to() {
    let world = World::new();
    let (mut log, _) = world.open();
    write(&mut log, 1);
    let (file, victim) = (&world.config.file, world.directory.path().join("victim"));
    fs::write(&victim, "").unwrap();
    fs::remove_file(file).unwrap();
    symlink(&victim, file).unwrap();
    let mut waiting = entries(2);
    assert!(
        log.append(&mut waiting).is_err() && waiting.len() == 2,
        "a link may be somebody's wish, so it is not moved either"
    );
    fs::remove_file(file).unwrap();
    nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(log.append(&mut waiting).is_err(), "a pipe, for which nobody waits");
    fs::remove_file(file).unwrap();
    fs::hard_link(&victim, file).unwrap();
    assert!(log.append(&mut waiting).unwrap().is_some_and(|resumed| resumed.found.is_some()));
    assert!(waiting.is_empty() && world.text().contains("secret/1"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "");
}

#[test]
fn nothing_is_begun_in_a_file_that_somebody_else_may_write() {
    for make in [
        |file: &Path| fs::hard_link(file.with_file_name("other"), file).unwrap(),
        |file: &Path| {
            fs::set_permissions(file.with_file_name("other"), fs::Permissions::from_mode(0o666)).unwrap();
        },
        |file: &Path| std::os::unix::fs::chown(file.with_file_name("other"), Some(65_534), None).unwrap(),
    ] {
        for text in ["", "somebody's log\n"] {
            let world = World::new();
            let file = &world.config.file;
            fs::create_dir(file.parent().unwrap()).unwrap();
            fs::write(file.with_file_name("other"), text).unwrap();
            make(file);
            if !file.exists() {
                fs::rename(file.with_file_name("other"), file).unwrap();
            }
            assert!(matches!(Log::open(&world.config), Err(AuditError::Foreign { .. })));
            assert_eq!(world.text(), text);
        }
    }
}

#[test]
fn without_its_anchor_it_begins_anew_and_keeps_what_was_there() {
    let world = World::new();
    let (mut log, _) = world.open();
    write(&mut log, 2);
    log.close().unwrap();
    let before = world.text();
    fs::remove_file(&world.config.anchor).unwrap();
    let place = Place(world.config.anchor.clone());
    assert!(matches!(
        check(&world.config.file, &place, None, || (), |(), _| ()),
        Err(AuditError::Unanchored { .. })
    ));
    let (_, resumed) = world.open();
    assert!(resumed.found.as_ref().is_some_and(|found| found.contains("there was no anchor")), "{resumed:?}");
    assert_eq!(resumed.tip.number, 1);
    let kept = world.names().into_iter().find(|name| name.contains("without-anchor")).unwrap();
    assert_eq!(fs::read_to_string(world.config.file.with_file_name(kept)).unwrap(), before);
    fs::write(&world.config.anchor, "nonsense").unwrap();
    assert!(matches!(Log::open(&world.config), Err(AuditError::NoAnchor { .. })));
}

#[test]
fn a_new_file_is_begun_when_somebody_asks_for_it() {
    let world = World::new();
    let (mut log, _) = world.open();
    write(&mut log, 2);
    fs::write(Place(world.config.anchor.clone()).request(), "").unwrap();
    write(&mut log, 1);
    assert_eq!(world.names(), ["audit.jsonl", "audit.jsonl.1"]);
    write(&mut log, 1);
    assert_eq!((world.names().len(), world.findings()), (2, Vec::new()));
}
