use std::sync::Arc;

use super::*;
use crate::names::Trace;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn db() -> SecretName {
    SecretName::new("db")
}

fn revision(number: usize) -> Revision {
    (0..number).fold(Revision::default(), |revision, _| revision.next())
}

const REQUEST: &str = "00000000-0000-4000-8000-0000000000aa";

fn read(request: &str) -> Fact {
    let question = QuestionFact {
        kind: QuestionKind::Fetch,
        about: Subject::Secret { secret: db(), path: "kv/db".to_owned() },
        outcome: fact::Outcome::Done,
        took: Duration::from_secs(1),
        login: Arc::from("approle web"),
        accessor: None,
        request: Some(RequestId::new(request)),
    };
    Fact::Question(SourceName::new("vault"), question)
}

fn fetched(number: usize) -> Fact {
    let fact = SecretFact::Fetched { next_in: Duration::ZERO, revision: revision(number), written: None };
    Fact::Secret(db(), fact)
}

fn over(trace: &str, number: usize, outcome: Outcome) -> Fact {
    let steps = vec![(Step::Stage, Duration::from_secs(2)), (Step::Try, Duration::from_secs(3))];
    let renewed = vec![(db(), revision(number))];
    let generation = Generation::FIRST;
    let fact = RolloutFact::Over { generation, outcome, took: Duration::from_secs(5), steps, renewed };
    Fact::Rollout(Some(Trace::new(trace)), fact)
}

/// The spans that these facts make, each told at its second.
fn spans(facts: Vec<(u64, Fact)>) -> Vec<Span> {
    let mut traces = Traces::default();
    let made = facts.into_iter().filter_map(|(second, fact)| traces.hear(&Told { fact, at: at(second) }));
    made.flatten().collect()
}

const TRACE: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_rollout_is_a_trace_its_steps_are_spans_and_it_links_to_the_reads_of_its_values() {
    let spans = spans(vec![(10, read(REQUEST)), (11, fetched(1)), (20, over(TRACE, 1, Outcome::Committed))]);
    let [whole, stage, attempt, fetch] = spans.as_slice() else { panic!("{spans:?}") };
    let times =
        |span: &Span| [span.start_time_unix_nano, span.end_time_unix_nano].map(|at| at / 1_000_000_000);
    assert_eq!([whole, stage, attempt, fetch].map(times), [[15, 20], [15, 17], [17, 20], [9, 10]]);
    assert_eq!(
        [whole, stage, attempt, fetch].map(|span| span.name.as_str()),
        ["rollout", "rollout.stage", "rollout.try", "fetch"]
    );
    assert_eq!(whole.trace_id, unhex::<16>(TRACE).unwrap());
    for step in [stage, attempt] {
        assert_eq!((&step.trace_id, &step.parent_span_id), (&whole.trace_id, &whole.span_id));
    }
    assert!(whole.parent_span_id.is_empty() && whole.status.is_none());
    assert_eq!(fetch.trace_id, unhex::<16>(&REQUEST.replace('-', "")).unwrap());
    let link = &whole.links[0];
    assert_eq!((&link.trace_id, &link.span_id), (&fetch.trace_id, &fetch.span_id));
}

#[test]
fn ids_differ_and_are_none_of_those_that_mean_nothing() {
    let ids: std::collections::BTreeSet<_> = (0..1000).map(|place| span_id([7; 16], place)).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.len() == 8 && id.iter().any(|byte| *byte != 0)));
}

#[test]
fn a_try_again_links_to_the_same_read_which_is_told_once_and_a_failure_says_how_it_ended() {
    let again = "fedcba9876543210fedcba9876543210";
    let spans = spans(vec![
        (10, read(REQUEST)),
        (11, fetched(1)),
        (20, over(TRACE, 1, Outcome::NotPassed)),
        (30, over(again, 1, Outcome::Committed)),
    ]);
    let wholes: Vec<_> = spans.iter().filter(|span| span.name == "rollout").collect();
    assert_eq!(wholes.iter().map(|span| span.links.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(wholes[0].status.as_ref().map(|status| status.message.as_str()), Some("not passed"));
    assert_eq!(spans.iter().filter(|span| span.name == "fetch").count(), 1);
}

/// A hostile server names its requests as it likes.
#[test]
fn a_name_that_is_no_id_of_a_trace_makes_no_link() {
    for request in ["00000000-0000-0000-0000-000000000000", "------------------------------------"] {
        let spans =
            spans(vec![(10, read(request)), (11, fetched(1)), (20, over(TRACE, 1, Outcome::Committed))]);
        assert_eq!((spans.len(), spans[0].links.len()), (3, 0), "{request}");
    }
}

#[test]
fn what_is_remembered_is_bounded_and_a_read_is_that_of_the_value_in_the_rollout() {
    let mut traces = Traces::default();
    for number in 1..=100 {
        let request = format!("00000000-0000-4000-8000-{number:012x}");
        for fact in [read(&request), fetched(number)] {
            traces.hear(&Told { fact, at: at(1) });
        }
    }
    assert_eq!(traces.reads[&db()].len(), REVISIONS);
    let spans = traces.hear(&Told { fact: over(TRACE, 98, Outcome::Committed), at: at(20) }).unwrap();
    let id = spans[0].links[0].trace_id.last().copied();
    assert_eq!((id, traces.reads[&db()].len()), (Some(98), 3));
}
