//! Pages in memory: sealed, opened, and everything that can be wrong with them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Version;
use crate::names::SourceName;

pub(super) const CANARY: &str = "canary-5f1c";

pub(super) fn identity() -> Identity {
    Identity {
        addresses: ["https://a:8200".to_owned(), "https://b:8200".to_owned()].into(),
        namespace: Some("team".to_owned()),
        method: "approle".to_owned(),
        mount: Some("approle".to_owned()),
        role: Some("role-1".to_owned()),
    }
}

pub(super) fn page() -> Page {
    let fields = json!({"username": format!("{CANARY}-name"), "password": format!("{CANARY}-password")});
    Page {
        token: Secret::new(format!("{CANARY}-token")),
        token_ttl: Some(Duration::from_millis(3_600_500)),
        renewable: true,
        revocable: true,
        uses: None,
        leases: vec![Entry {
            secret: SecretName::new("db"),
            lease: LeaseId::new(format!("database/creds/{CANARY}/1")),
            fields: Packed::of(fields.as_object().unwrap()),
            meta: Meta::of([("arrived", format!("{CANARY}-time").into())]),
            first_ttl: Duration::from_mins(1),
            renewable: true,
            want: Fingerprint::of(&want()),
            given_up: false,
        }],
    }
}

pub(super) fn credential() -> Credential {
    Credential {
        secret: Secret::new(format!("{CANARY}-secret-id")),
        held: Secret::new(format!("{CANARY}-wrapping")),
        written: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        uses_left: Some(3),
        ends: Some(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)),
    }
}

/// Everything that a credential says.
pub(super) fn told(credential: &Credential) -> String {
    let Credential { secret, held, written, uses_left, ends } = credential;
    format!("{} {} {written:?} {uses_left:?} {ends:?}", secret.expose(), held.expose())
}

fn want() -> Want {
    Want {
        name: SecretName::new("db"),
        source: SourceName::new("vault"),
        path: "database/creds/app".to_owned(),
        params: json!({"a": 1}).as_object().cloned(),
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: Duration::from_mins(1),
        max_size: crate::size::USUAL,
    }
}

fn key() -> Key {
    Key::new([7; KEY])
}

fn sealed() -> Vec<u8> {
    page().seal(&key(), [9; NONCE], &identity()).unwrap()
}

/// Everything that a page says, so that two can be compared.
pub(super) fn said(page: &Page) -> String {
    let entry = |entry: &Entry| {
        let Entry { secret, lease, fields, meta, first_ttl, renewable, want, given_up } = entry;
        let (fields, meta) = (json!(fields.expose()), json!(meta.expose()));
        format!("{secret} {lease} {fields} {meta} {first_ttl:?} {renewable} {want:?} {given_up}")
    };
    let Page { token, token_ttl, renewable, revocable, uses, leases } = page;
    let leases: Vec<_> = leases.iter().map(entry).collect();
    format!("{} {token_ttl:?} {renewable} {revocable} {uses:?} {leases:?}", token.expose())
}

#[test]
fn what_is_sealed_opens_as_it_was() {
    let opened = Page::open(&sealed(), &key(), &identity()).unwrap();
    assert_eq!(said(&opened), said(&page()));
}

#[test]
fn nothing_of_a_page_is_in_its_bytes_nor_in_its_debug() {
    let bytes = sealed();
    for word in [CANARY, "token", "leases", "role-1", "database"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let mut page = page();
    page.leases[0].lease = LeaseId::new("an identifier, not a credential");
    let debug = format!("{page:?} {:?}", key());
    assert!(!debug.contains(CANARY) && !debug.contains("7, 7"), "{debug}");
}

#[test]
fn a_credential_opens_as_it_was_and_as_nothing_else() {
    let bytes = credential().seal(&key(), [9; NONCE], &identity()).unwrap();
    assert_eq!(told(&Credential::open(&bytes, &key(), &identity()).unwrap()), told(&credential()));
    let debug = format!("{:?}", credential());
    assert!(!debug.contains(CANARY), "{debug}");
    for word in [CANARY, "secret", "held"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    // Under a name that is not its own, as after a mix-up of files.
    assert!(matches!(Page::open(&bytes, &key(), &identity()), Err(LedgerError::Sealed)));
    assert!(matches!(Credential::open(&sealed(), &key(), &identity()), Err(LedgerError::Sealed)));
    let other = Identity { role: Some("role-2".to_owned()), ..identity() };
    assert!(matches!(Credential::open(&bytes, &key(), &other), Err(LedgerError::Sealed)));
    assert!(matches!(Credential::open(&bytes, &Key::new([8; KEY]), &identity()), Err(LedgerError::Sealed)));
}

#[test]
fn a_credential_that_is_laid_out_otherwise_is_an_error_without_its_words() {
    let whole = String::from_utf8(layout::write_credential(&credential()).expose().to_vec()).unwrap();
    let wrong = [
        "{}".to_owned(),
        whole.replace("\"uses_left\":3", &format!("\"uses_left\":\"{CANARY}\"")),
        whole.replace("\"held\"", &format!("\"{CANARY}\"")),
        // A time that no clock has.
        whole.replace("1800000000", "18446744073709551615"),
    ];
    for plaintext in wrong {
        assert_ne!(plaintext, whole);
        let error = layout::read_credential(&Secret::new(plaintext.into_bytes())).unwrap_err();
        assert!(matches!(error, LedgerError::Layout { version: VERSION }));
        assert!(!crate::fact::chain(&error).contains(CANARY), "{error}");
    }
    let old =
        Credential { written: SystemTime::UNIX_EPOCH - Duration::from_secs(9), ends: None, ..credential() };
    let read = layout::read_credential(&layout::write_credential(&old)).unwrap();
    assert_eq!((read.written, read.ends), (SystemTime::UNIX_EPOCH, None));
}

#[test]
fn no_bit_of_a_page_may_be_another() {
    let bytes = sealed();
    for at in 0..bytes.len() * 8 {
        let mut edited = bytes.clone();
        edited[at / 8] ^= 1 << (at % 8);
        let error = Page::open(&edited, &key(), &identity()).expect_err("an edited page");
        let known = match at / 8 {
            byte if byte < MAGIC.len() => matches!(error, LedgerError::NotAPage),
            byte if byte < HEAD => matches!(error, LedgerError::Version { known: VERSION, .. }),
            _ => matches!(error, LedgerError::Sealed),
        };
        assert!(known, "bit {at}: {error}");
    }
}

#[test]
fn a_page_that_is_cut_off_or_goes_on_does_not_open() {
    let bytes = sealed();
    for length in 0..bytes.len() {
        let error = Page::open(&bytes[..length], &key(), &identity()).expect_err("a cut page");
        let known = if length < HEAD {
            matches!(error, LedgerError::NotAPage)
        } else {
            matches!(error, LedgerError::Sealed)
        };
        assert!(known, "{length} bytes: {error}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Page::open(&longer, &key(), &identity()), Err(LedgerError::Sealed)));
    assert_eq!(bytes.len() - HEAD - NONCE - TAG, layout::write(&page()).expose().len());
}

#[test]
fn a_page_of_another_login_does_not_open() {
    let mine = identity();
    let others = [
        Identity { addresses: ["https://a:8200".to_owned()].into(), ..mine.clone() },
        Identity {
            addresses: ["https://a:8200".to_owned(), "https://c:8200".to_owned()].into(),
            ..mine.clone()
        },
        Identity { namespace: None, ..mine.clone() },
        Identity { namespace: Some("team2".to_owned()), ..mine.clone() },
        Identity { method: "jwt".to_owned(), ..mine.clone() },
        Identity { mount: Some("other".to_owned()), ..mine.clone() },
        Identity { mount: Some("role-1".to_owned()), role: Some("approle".to_owned()), ..mine.clone() },
        Identity { mount: None, ..mine.clone() },
        Identity { role: Some("role-2".to_owned()), ..mine.clone() },
        Identity { role: None, ..mine.clone() },
    ];
    for other in others {
        assert!(matches!(Page::open(&sealed(), &key(), &other), Err(LedgerError::Sealed)), "{other:?}");
    }
    let reordered = ["https://b:8200", "https://a:8200"].map(str::to_owned).into();
    Page::open(&sealed(), &key(), &Identity { addresses: reordered, ..mine }).unwrap();
}

#[test]
fn a_page_of_another_key_does_not_open() {
    assert!(matches!(Page::open(&sealed(), &Key::new([8; KEY]), &identity()), Err(LedgerError::Sealed)));
}

#[test]
fn a_page_from_the_future_says_so_even_where_we_could_open_it() {
    let mut future = sealed();
    future[HEAD - 1] = VERSION + 1;
    let error = Page::open(&future, &key(), &identity()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this page has version 2, and this squire knows only version 1: it is ignored"
    );
}

#[test]
fn a_page_that_opens_and_is_laid_out_otherwise_is_an_error_without_its_words() {
    let whole = String::from_utf8(layout::write(&page()).expose().to_vec()).unwrap();
    let wrong = [
        String::new(),
        "{}".to_owned(),
        format!("\"{CANARY}\""),
        whole.replace("\"renewable\":true", &format!("\"renewable\":\"{CANARY}\"")),
        whole.replace("\"uses\"", &format!("\"{CANARY}\"")),
        whole.replace("\"first_ttl\":{\"secs\":60,", "\"first_ttl\":{\"secs\":-1,"),
        whole.replace("\"nanos\":500000000", "\"nanos\":4294967295").replace("3600", "18446744073709551615"),
        whole[..whole.len() / 2].to_owned(),
        format!("{whole}x"),
    ];
    for plaintext in wrong {
        assert_ne!(plaintext, whole);
        let error = layout::read(&Secret::new(plaintext.clone().into_bytes())).expect_err(&plaintext);
        assert!(matches!(error, LedgerError::Layout { version: VERSION }));
        assert_eq!(crate::fact::chain(&error), error.to_string(), "no cause that quotes it");
        assert!(!error.to_string().contains(CANARY), "{error}");
    }
}

#[test]
fn what_is_too_large_is_not_sealed() {
    let mut page = page();
    page.token = Secret::new("x".repeat(LARGEST));
    assert!(matches!(page.seal(&key(), [9; NONCE], &identity()), Err(LedgerError::TooLarge)));
}

#[test]
fn a_fingerprint_is_of_what_is_asked_for() {
    let of = |change: &dyn Fn(&mut Want)| {
        let mut want = want();
        change(&mut want);
        Fingerprint::of(&want)
    };
    let same = Fingerprint::of(&want());
    assert_eq!(of(&|want| want.refresh = Duration::ZERO), same);
    assert_eq!(of(&|want| want.name = SecretName::new("other")), same);
    let others = [
        of(&|want| want.path.push('2')),
        of(&|want| want.params = None),
        of(&|want| want.params = json!({}).as_object().cloned()),
        of(&|want| want.params = json!({"a": "1"}).as_object().cloned()),
        of(&|want| want.version = Some(Version::Number(1))),
    ];
    let different: BTreeSet<_> = others.iter().chain([&same]).map(|one| one.0).collect();
    assert_eq!(different.len(), others.len() + 1);
}

proptest! {
    #[test]
    fn every_page_comes_back_as_it_was(page in pages(), key in any::<[u8; KEY]>(), nonce in any::<[u8; NONCE]>()) {
        let key = Key::new(key);
        let bytes = page.seal(&key, nonce, &identity()).unwrap();
        let opened = Page::open(&bytes, &key, &identity()).unwrap();
        prop_assert_eq!(said(&opened), said(&page));
    }

    #[test]
    fn any_bytes_are_an_error(head in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let head = if head { sealed()[..HEAD].to_vec() } else { Vec::new() };
        prop_assert!(Page::open(&[head, bytes].concat(), &key(), &identity()).is_err());
    }
}

fn pages() -> impl Strategy<Value = Page> {
    let flags = (any::<bool>(), any::<bool>());
    let rest = (any::<Option<Duration>>(), any::<Option<u64>>(), prop::collection::vec(entries(), 0..4));
    ("\\PC{0,40}", flags, rest).prop_map(|(token, (renewable, revocable), (token_ttl, uses, leases))| Page {
        token: Secret::new(token),
        token_ttl,
        renewable,
        revocable,
        uses,
        leases,
    })
}

fn entries() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        any::<String>().prop_map(|text| json!(text)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|on| json!([on, null, {"deeper": on}])),
    ];
    let fields = prop::collection::btree_map(any::<String>(), value, 0..5);
    let rest = (any::<Duration>(), any::<bool>(), any::<[u8; 32]>(), any::<bool>());
    (any::<String>(), any::<String>(), fields, rest).prop_map(
        |(secret, lease, fields, (first_ttl, renewable, want, given_up))| Entry {
            secret: SecretName::new(secret),
            lease: LeaseId::new(lease),
            meta: if renewable { Meta::default() } else { Meta::of([("version", given_up.into())]) },
            fields: Packed::of(&fields.into_iter().collect()),
            first_ttl,
            renewable,
            want: Fingerprint(want),
            given_up,
        },
    )
}
