use std::time::{Duration, SystemTime};

use super::*;
use crate::names::{Revision, SecretName, SourceName};
use crate::status::{
    ConfigurationStatus, CredentialPlace, CredentialStatus, FormerEnds, Generations, KeptBy, Moment, Next,
    NextAction, Readiness, Rotations, SecretState, SecretStatus, SourceState, SourceStatus, TokenStatus,
};

fn at(seconds: u64) -> Moment {
    Moment::new(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn renewal(seconds: u64) -> Next {
    Next { action: NextAction::Renew, at: at(seconds) }
}

fn source(name: &str) -> SourceStatus {
    SourceStatus {
        name: SourceName::new(name),
        kind: "vault".to_owned(),
        state: SourceState::Unreachable,
        token: Some(TokenStatus { ends: Some(at(500)), next: Some(renewal(400)), uses_left: None }),
        credential: Some(CredentialStatus {
            from: CredentialPlace::File,
            written_in: "a-file".to_owned(),
            uses_left: Some(5),
            ends: Some(at(800)),
        }),
        trouble: Some("a-message".to_owned()),
        login_failures: 3,
        not_before: None,
        leases: 2,
        client_leases: Some(3),
        in_flight: 1,
        rotations: Some(Rotations { overdue: 4, failing: 1, next: Some(at(700)) }),
    }
}

fn secret(name: &str) -> SecretStatus {
    SecretStatus {
        name: SecretName::new(name),
        source: SourceName::new("vault"),
        path: "a-path".to_owned(),
        state: SecretState::Stale,
        revision: Revision::default().next(),
        live: None,
        is_held: true,
        changed: Some(at(200)),
        ends: Some(at(600)),
        kept_by: KeptBy::Lease,
        next: Some(renewal(300)),
        is_asked_for: false,
        answers: 1,
        trouble: Some("a-message".to_owned()),
        former: FormerEnds::default(),
    }
}

fn status(sources: Vec<SourceStatus>, secrets: Vec<SecretStatus>) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 7,
        at: at(250),
        since: at(100),
        ready: Readiness { is_ready: true, reasons: Vec::new() },
        configuration: ConfigurationStatus { is_former: true, problems: vec!["a-message".to_owned()] },
        unrendered: vec!["a-message".to_owned()],
        generation: Generations::default(),
        on_hold_since: Some(at(240)),
        process: None,
        sources,
        secrets,
        credentials: Vec::new(),
        rollouts: Vec::new(),
    }
}

fn shown(status: &Status) -> String {
    let figures = Figures { cpu: Duration::from_millis(1500), resident: Some(4096), ..Figures::default() };
    text(&Registry::default(), status, &figures).unwrap()
}

#[test]
fn a_gauge_is_what_the_status_says_at_this_moment() {
    let text = shown(&status(vec![source("vault")], vec![secret("db")]));
    let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = r#"
squire_info{version="0.1.0"} 1.0
squire_ready 1.0
squire_rollouts_on_hold 1.0
squire_configuration_former 1.0
squire_generation_pending 0.0
squire_breaker_open{source="vault"} 1.0
squire_login_failures{source="vault"} 3.0
squire_leases{source="vault"} 2.0
squire_client_leases{source="vault"} 3.0
squire_questions{source="vault"} 1.0
squire_token_end_time_seconds{source="vault"} 500.0
squire_credential_end_time_seconds{source="vault"} 800.0
squire_credential_uses_left{source="vault"} 5.0
squire_store_rotations_overdue{source="vault"} 4.0
squire_store_rotations_failing{source="vault"} 1.0
squire_store_rotation_next_time_seconds{source="vault"} 700.0
squire_source_state{source="vault",kind="vault",state="unreachable"} 1.0
squire_token_next_action_time_seconds{source="vault",action="renew"} 400.0
squire_secret_end_time_seconds{secret="db",source="vault"} 600.0
squire_secret_changed_time_seconds{secret="db",source="vault"} 200.0
squire_secret_held{secret="db",source="vault"} 1.0
squire_secret_planned{secret="db",source="vault"} 1.0
squire_secret_state{secret="db",source="vault",state="stale"} 1.0
squire_secret_next_action_time_seconds{secret="db",source="vault",action="renew"} 300.0
process_cpu_seconds_total 1.5
process_start_time_seconds 100.0
process_resident_memory_bytes 4096"#;
    assert_eq!(series, expected.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn no_path_and_no_message_is_a_label() {
    let text = shown(&status(vec![source("vault")], vec![secret("db")]));
    for word in ["a-path", "a-message", "a-file"] {
        assert!(!text.contains(word), "{text}");
    }
}

/// Whoever may write a configuration, and wants to forge a line.
#[test]
fn an_odd_name_forges_no_label_and_no_line() {
    let text = shown(&status(Vec::new(), vec![secret("a\"} 1\nsquire_ready 0 # \\ é\u{1F511}")]));
    let escaped = r#"squire_secret_held{secret="a\"} 1\nsquire_ready 0 # \\ é🔑",source="vault"} 1.0"#;
    assert!(text.lines().any(|line| line == escaped), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("squire_ready 0")), "{text}");
}

#[test]
fn what_is_not_known_has_no_series() {
    let bare = SecretStatus { changed: None, ends: None, next: None, ..secret("db") };
    let silent = SourceStatus { token: None, credential: None, rotations: None, ..source("vault") };
    let text = shown(&status(vec![silent], vec![bare]));
    for name in ["end_time", "changed_time", "next_action", "store_rotation", "generation_live", "child_"] {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
    assert!(text.contains("squire_secret_planned{secret=\"db\",source=\"vault\"} 0.0"), "{text}");
}
