//! Applying what differs equals starting anew, whatever the two configurations are, and whatever happens meanwhile.

mod bench;
mod written;

use proptest::prelude::*;

use super::super::Instruction;
use crate::names::SecretName;
use bench::{Bench, Process};
use written::{Written, written};

proptest! {
    /// The files, the process and what is held on the servers are those of a start with the new configuration.
    #[test]
    fn a_reload_equals_a_start(old in written(), new in written()) {
        let mut bench = Bench::start(&old);
        bench.reload(&new);
        bench.settle();
        prop_assert_eq!(bench.state(), Bench::start(&new).state());
        bench.assert_decided(&[true]);
        bench.assert_nothing_else_is_held();
    }

    /// Reloads that come while another one is on its way: the last one counts.
    #[test]
    fn the_last_of_many_reloads_counts(
        old in written(),
        news in proptest::collection::vec((written(), 0_usize..12), 1..5),
    ) {
        let mut bench = Bench::start(&old);
        for (new, steps) in &news {
            bench.reload(new);
            bench.go_on(*steps);
        }
        bench.settle();
        let (last, _) = news.last().unwrap();
        prop_assert_eq!(bench.state(), Bench::start(last).state());
        prop_assert_eq!(bench.decided.len(), news.len(), "each is answered once: {:?}", bench.decided);
        bench.assert_nothing_else_is_held();
    }

    /// Reloads that come while another one is on its way, of which one may be taken back: the last one that was good counts.
    #[test]
    fn the_last_good_of_many_reloads_counts(
        old in written(),
        news in proptest::collection::vec((written(), 0_usize..12), 1..5),
        fails_from in 0_usize..4,
    ) {
        let mut bench = Bench::start(&old);
        for (number, (new, steps)) in news.iter().enumerate() {
            if number == fails_from {
                bench.process = Process::FailsOnce;
            }
            bench.reload(new);
            bench.go_on(*steps);
        }
        bench.settle();
        let good = bench.decided.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| *number).max();
        let expected = good.map_or(&old, |number| &news[usize::try_from(number).unwrap() - 1].0);
        prop_assert_eq!(bench.state(), Bench::start(expected).state());
        prop_assert_eq!(bench.decided.len(), news.len(), "each is answered once: {:?}", bench.decided);
        bench.assert_nothing_else_is_held();
    }

    /// Where the process is not well with the new configuration, all is as it was before.
    #[test]
    fn a_reload_that_fails_changes_nothing(old in written(), new in written()) {
        let mut bench = Bench::start(&old);
        bench.process = Process::FailsOnce;
        bench.reload(&new);
        bench.settle();
        let has_failed = bench.process == Process::IsWell;
        let expected = if has_failed { &old } else { &new };
        prop_assert_eq!(bench.state(), Bench::start(expected).state());
        bench.assert_decided(&[!has_failed]);
        bench.assert_nothing_else_is_held();
    }

    /// What never comes holds up nothing, and nothing of it is left when another configuration takes its place.
    #[test]
    fn a_reload_that_waits_changes_nothing(old in written(), new in written(), last in written()) {
        let mut bench = Bench::start(&old);
        let before = bench.state();
        bench.is_mute = true;
        bench.reload(&new);
        bench.settle();
        if bench.is_waiting() {
            prop_assert_eq!(bench.state(), before);
        }
        bench.reload(&last);
        bench.speak();
        bench.settle();
        prop_assert_eq!(bench.state(), Bench::start(&last).state());
        bench.assert_nothing_else_is_held();
    }
}

#[test]
fn what_nobody_changed_is_not_touched() {
    let one = Written::sample();
    let mut bench = Bench::start(&one);
    let (starts, live) = (bench.starts, bench.live_revisions());
    bench.reload(&one);
    bench.settle();
    bench.reload(&Written { remark: true, ..one.clone() });
    bench.settle();
    bench.assert_decided(&[true, true]);
    assert_eq!((bench.starts, bench.live_revisions()), (starts, live));
    // Another file is a change, with its reaction; the secrets of before keep their values.
    let mut more = one;
    more.files[2] = Some((vec![0], "more".to_owned()));
    let live = bench.live_revisions();
    bench.reload(&more);
    bench.settle();
    assert_eq!((bench.starts, bench.live_revisions()), (starts + 1, live));
    assert_eq!(bench.state(), Bench::start(&more).state());
}

#[test]
fn another_source_is_given_back_only_after_the_commit_and_its_grace() {
    let one = Written::sample();
    let mut bench = Bench::start(&one);
    let old = bench.keepers();
    bench.reload(&Written { addresses: [1, 0], ..one });
    bench.run_until(|bench| bench.decided.len() == 1);
    assert_eq!(bench.keepers().len(), old.len() + 1, "the former keeper is there until `grace` is over");
    bench.settle();
    assert_eq!(bench.keepers().len(), old.len());
    bench.assert_nothing_else_is_held();
}

/// The value that is still on its way when its configuration is overtaken is of another source, and ends with the keeper that fetched it.
#[test]
fn what_an_overtaken_reload_fetched_reaches_neither_the_one_before_nor_the_one_after() {
    let one = Written::sample();
    let mut bench = Bench::start(&one);
    let live = bench.live_revisions();
    let first = SecretName::new("x0");
    // Elsewhere, and by another keeper: its value is on its way when the next reload comes.
    let mut moved = one.clone();
    (moved.addresses[0], moved.secrets[0]) = (1, Some((0, 1)));
    bench.reload(&moved);
    bench.go_on(1);
    // As before, but for a file.
    let mut last = one;
    last.files[2] = Some((vec![0], "more".to_owned()));
    bench.reload(&last);
    bench.go_on(1);
    assert!(bench.is_on_its_way(&first) && bench.decided.is_empty());
    bench.settle();
    bench.assert_decided(&[false, true]);
    assert_eq!(bench.live_revisions(), live);
    assert_eq!(bench.state(), Bench::start(&last).state());
    bench.assert_nothing_else_is_held();
}

/// What is on its way when its reload is withdrawn is given back, and the one after it may want a secret of the same name from before.
#[test]
fn a_value_of_a_reload_that_was_withdrawn_is_nobodys() {
    let mut one = Written::sample();
    let other = Written { addresses: [1, 0], ..one.clone() };
    let mut bench = Bench::start(&one);
    bench.reload(&other);
    bench.go_on(1);
    one.argument = 1;
    bench.reload(&one);
    bench.settle();
    assert_eq!(bench.state(), Bench::start(&one).state());
    bench.assert_nothing_else_is_held();
}

/// One more secret, which nobody may read yet: the reload waits for it.
fn waiting() -> Bench {
    let mut bench = Bench::start(&Written::sample());
    bench.is_mute = true;
    let mut more = Written::sample();
    more.secrets[2] = Some((0, 1));
    more.files[2] = Some((vec![2], "c".to_owned()));
    bench.reload(&more);
    bench.settle();
    assert!(bench.is_waiting());
    bench
}

#[test]
fn what_was_taken_back_while_a_reload_waited_does_not_come_with_it() {
    let mut bench = waiting();
    let good = bench.live("x0");
    bench.process = Process::FailsOnce;
    bench.rotate("x0");
    bench.settle();
    assert_eq!((bench.live("x0"), bench.process), (good, Process::IsWell));
    bench.answer("x2");
    bench.settle();
    assert!(bench.live_revisions().len() == 3 && !bench.is_waiting());
    assert_eq!(bench.live("x0"), good, "the source has given back what was taken back");
    bench.assert_nothing_else_is_held();
}

#[test]
fn what_was_rolled_back_while_a_reload_waited_stays_so() {
    let mut bench = waiting();
    let former = bench.live("x0");
    bench.rotate("x0");
    bench.run_until(|bench| bench.live("x0") != former);
    bench.instruct(Instruction::RollBack);
    bench.settle();
    assert_eq!(bench.live("x0"), former);
    bench.answer("x2");
    bench.settle();
    assert!(bench.live_revisions().len() == 3 && !bench.is_waiting());
    assert_eq!(bench.live("x0"), former);
}

/// An operator who asks again while a new configuration is on trial has asked whichever holds in the end.
#[test]
fn a_refresh_during_a_trial_that_fails_is_not_forgotten() {
    let mut bench = Bench::start(&Written::sample());
    bench.is_static = true;
    let good = bench.live("x0");
    bench.process = Process::FailsOnce;
    bench.rotate("x0");
    bench.settle();
    assert_eq!(bench.live("x0"), good, "the newer one is held back");
    bench.process = Process::FailsOnce;
    bench.reload(&Written { argument: 1, ..Written::sample() });
    bench.run_until(Bench::is_trying);
    bench.instruct(Instruction::Refresh(Vec::new()));
    bench.settle();
    bench.assert_decided(&[false]);
    assert_ne!(bench.live("x0"), good);
}

/// An operator who goes back during an incident has not asked for anything else.
#[test]
fn a_rollback_on_hold_lets_no_reload_go_out() {
    let mut bench = Bench::start(&Written::sample());
    let (former, starts) = (bench.live("x0"), bench.starts);
    bench.rotate("x0");
    bench.run_until(|bench| bench.live("x0") != former);
    bench.instruct(Instruction::Hold);
    bench.reload(&Written { argument: 1, ..Written::sample() });
    bench.run_until(Bench::is_waiting);
    bench.instruct(Instruction::RollBack);
    bench.settle();
    assert_eq!((bench.live("x0"), bench.starts), (former, starts + 2));
    assert!(bench.is_waiting(), "the command is the one before");
    bench.instruct(Instruction::Release);
    bench.settle();
    assert_eq!((bench.live("x0"), bench.starts, bench.is_waiting()), (former, starts + 3, false));
}
