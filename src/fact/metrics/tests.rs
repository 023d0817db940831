use std::time::{Duration, SystemTime};

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;

use super::*;
use crate::fact::{self, QuestionKind, Subject};
use crate::names::{Generation, Revision, SecretName, SourceName};

/// What is shown after these facts, without comments.
fn shown(facts: impl IntoIterator<Item = Fact>) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let mut counters = Counters::new(&mut registry);
    for fact in facts {
        counters.tell(&Told { fact, at: SystemTime::UNIX_EPOCH + Duration::from_secs(100) });
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn asked(kind: QuestionKind, outcome: fact::Outcome) -> Fact {
    let path = "secret/a-path".to_owned();
    let fact = QuestionFact {
        kind,
        about: Subject::Secret { secret: SecretName::new("db"), path },
        outcome,
        took: Duration::from_millis(20),
        login: "approle web".into(),
        accessor: None,
        request: None,
    };
    Fact::Question(SourceName::new("vault"), fact)
}

fn over(outcome: Outcome, steps: &[(Step, u64)], renewed: &[Revision]) -> Fact {
    let steps: Vec<_> = steps.iter().map(|(step, seconds)| (*step, Duration::from_secs(*seconds))).collect();
    let fact = RolloutFact::Over {
        generation: Generation::FIRST,
        outcome,
        took: steps.iter().map(|(_, took)| *took).sum(),
        steps,
        renewed: renewed.iter().map(|revision| (SecretName::new("db"), *revision)).collect(),
    };
    Fact::Rollout(None, fact)
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|shown| shown == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_bad_is_there_as_nothing_before_it_happens() {
    has(
        &shown([]),
        &[
            r#"squire_rollouts_total{outcome="committed"} 0"#,
            r#"squire_rollouts_total{outcome="taken_back"} 0"#,
            r#"squire_rollouts_total{outcome="not_passed"} 0"#,
            r#"squire_rollouts_total{outcome="not_rendered"} 0"#,
            r#"squire_child_restarts_total{reason="ended"} 0"#,
            r#"squire_commands_total{outcome="failed"} 0"#,
            "squire_child_starts_total 0",
        ],
    );
}

#[test]
fn questions_are_counted_by_kind_and_outcome_and_name_no_path() {
    let text = shown([
        asked(QuestionKind::Fetch, fact::Outcome::Done),
        asked(QuestionKind::Fetch, fact::Outcome::Done),
        asked(QuestionKind::Fetch, fact::Outcome::Denied),
        asked(QuestionKind::LogIn, fact::Outcome::Unreachable),
    ]);
    has(
        &text,
        &[
            r#"squire_operations_total{source="vault",kind="fetch",outcome="done"} 2"#,
            r#"squire_operations_total{source="vault",kind="fetch",outcome="denied"} 1"#,
            r#"squire_operations_total{source="vault",kind="login",outcome="unreachable"} 1"#,
            r#"squire_operation_duration_seconds_count{source="vault",kind="fetch"} 3"#,
            r#"squire_operation_duration_seconds_bucket{source="vault",kind="fetch",le="0.01"} 0"#,
            r#"squire_operation_duration_seconds_bucket{source="vault",kind="fetch",le="0.025"} 3"#,
        ],
    );
    // Nor the role of the login, which is `web`.
    assert!(!text.contains("a-path") && !text.contains("approle") && !text.contains("\"web\""), "{text}");
}

#[test]
fn a_rollout_counts_with_its_steps_and_with_the_time_since_the_change() {
    let second = Revision::default().next().next();
    let written = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(90));
    let fetched = SecretFact::Fetched { next_in: Duration::ZERO, revision: second, written };
    let text = shown([
        Fact::Secret(SecretName::new("db"), fetched),
        over(Outcome::TakenBack, &[(Step::Stage, 1), (Step::Try, 5), (Step::GoBack, 2)], &[second]),
        over(Outcome::Committed, &[(Step::Stage, 1), (Step::Try, 7)], &[second]),
        over(Outcome::Committed, &[(Step::Stage, 1)], &[second]),
    ]);
    has(
        &text,
        &[
            r#"squire_secret_changes_total{secret="db"} 1"#,
            r#"squire_rollouts_total{outcome="committed"} 2"#,
            r#"squire_rollouts_total{outcome="taken_back"} 1"#,
            "squire_rollout_duration_seconds_sum 17.0",
            r#"squire_rollout_step_duration_seconds_sum{step="try"} 12.0"#,
            r#"squire_rollout_step_duration_seconds_count{step="go_back"} 1"#,
            "squire_change_to_live_seconds_count 1",
            "squire_change_to_live_seconds_sum 10.0",
        ],
    );
}

#[test]
fn what_happens_to_sources_secrets_and_processes_is_counted() {
    let (source, secret) = (SourceName::new("vault"), SecretName::new("db"));
    let error = || "down".to_owned();
    let text = shown([
        Fact::Source(source.clone(), SourceFact::Unreachable { error: error() }),
        Fact::Source(source.clone(), SourceFact::TokenDead),
        Fact::Source(source, SourceFact::LedgerNotWritten { error: error() }),
        Fact::Secret(secret.clone(), SecretFact::Lost),
        Fact::Secret(secret, SecretFact::Expired { next_in: Duration::ZERO }),
        Fact::Rollout(
            None,
            RolloutFact::NotRendered { generation: Generation::FIRST, errors: vec![error()] },
        ),
        ProcessFact::Started { pid: 1 }.into(),
        ProcessFact::Exited { ending: "exit code 1".to_owned() }.into(),
        ProcessFact::Resting { again_in: Duration::ZERO }.into(),
        ProcessFact::Restarting.into(),
        ProcessFact::CommandFailed { program: "x".to_owned(), error: error() }.into(),
        ProcessFact::ActionFailed { what: "HUP to x".to_owned(), error: error() }.into(),
        Fact::Reload(ReloadFact::UpToDate),
        Fact::Reload(ReloadFact::NotReloaded { problems: vec![error()] }),
        AuditFact::NotAsLeft { file: "/audit".into(), found: error() }.into(),
        AuditFact::NotWritten { error: error(), waiting: 1, lost: 0, then: "stopping" }.into(),
    ]);
    has(
        &text,
        &[
            r#"squire_breaker_openings_total{source="vault"} 1"#,
            r#"squire_token_deaths_total{source="vault"} 1"#,
            r#"squire_ledger_failures_total{source="vault"} 1"#,
            r#"squire_leases_lost_total{secret="db"} 1"#,
            r#"squire_secret_expirations_total{secret="db"} 1"#,
            r#"squire_rollouts_total{outcome="not_rendered"} 1"#,
            "squire_child_starts_total 1",
            "squire_child_exits_total 1",
            r#"squire_child_restarts_total{reason="ended"} 1"#,
            r#"squire_child_restarts_total{reason="rotation"} 1"#,
            r#"squire_commands_total{outcome="failed"} 1"#,
            r#"squire_reactions_total{outcome="failed"} 1"#,
            r#"squire_reloads_total{outcome="done"} 1"#,
            r#"squire_reloads_total{outcome="failed"} 1"#,
            "squire_audit_breaks_total 1",
            "squire_audit_failing 1",
        ],
    );
    assert!(!text.contains("down"), "{text}");
}
