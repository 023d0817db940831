//! Forgers and replayers, without a network.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::*;
use crate::hex::hex;
use crate::secret::DigestKey;

const KEY: &str = "a key that nobody guesses";
const NOW: u64 = 1_800_000_000;

fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

fn key(text: &str) -> Key {
    Key::new(text, &digests()).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

fn tag(key: &[u8], signed: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes())
}

fn v1(key: &str, signed: &str) -> String {
    format!("v1,{}", BASE64.encode(tag(key.as_bytes(), signed)))
}

fn sha256(key: &str, signed: &str) -> String {
    let digits = hex(tag(key.as_bytes(), signed).as_ref());
    format!("sha256={digits}")
}

fn standard(id: &str, time: &str, signature: &str, body: &str) -> Result<Delivery, Refusal> {
    Delivery::read(&headers(&[(ID, id), (TIME, time), (SIGNATURE, signature)]), body.as_bytes())
}

fn hub(time: &str, signature: &str, body: &str) -> Result<Delivery, Refusal> {
    Delivery::read(&headers(&[(HUB_TIME, time), (HUB_SIGNATURE, signature)]), body.as_bytes())
}

/// A guard that has been there for an hour, and the time.
fn guard() -> (Guard, Instant, SystemTime) {
    let began = Instant::now();
    let mut guard = Guard::new(began);
    guard.learn(Some(&key(KEY)), began);
    (guard, began + Duration::from_hours(1), UNIX_EPOCH + Duration::from_secs(NOW))
}

fn judge(
    guard: &mut Guard,
    delivery: Result<Delivery, Refusal>,
    now: Instant,
    wall: SystemTime,
) -> Result<(), Refusal> {
    guard.judge(&delivery?, None, now, wall)
}

/// From the specification of Standard Webhooks, and its libraries.
#[test]
fn the_example_of_the_standard_is_accepted() {
    let (mut guard, now, _) = guard();
    guard.learn(Some(&key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")), now);
    let wall = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
    let delivery = standard(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        r#"{"test": 2432232314}"#,
    );
    assert_eq!(judge(&mut guard, delivery, now, wall), Ok(()));
}

#[test]
fn both_forms_are_accepted_with_the_key_as_text_and_as_base64() {
    for text in [
        "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==",
        "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==",
        "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ",
        " c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ==\n",
    ] {
        for signer in [text.trim(), "sixteen bytes and more"] {
            let (mut guard, now, wall) = guard();
            guard.learn(Some(&key(text)), now);
            let time = NOW.to_string();
            let one = standard("m", &time, &v1(signer, &format!("m.{time}.body")), "body");
            let other = hub(&time, &sha256(signer, &format!("{time}.body")), "body");
            assert_eq!(judge(&mut guard, one, now, wall), Ok(()), "{text} {signer}");
            assert_eq!(judge(&mut guard, other, now, wall), Ok(()), "{text} {signer}");
        }
    }
}

#[test]
fn a_forger_is_told_the_same_whatever_it_tries() {
    let (mut guard, now, wall) = guard();
    let (time, old) = (NOW.to_string(), (NOW - 1000).to_string());
    let good = format!("m.{time}.body");
    let zeros = BASE64.encode([0; 32]);
    let unsigned = [
        standard("m", &time, &format!("v1,{zeros}"), "body"),
        standard("m", &time, &v1("another key that nobody guesses", &good), "body"),
        standard("m", &time, &v1("", &good), "body"),
        standard("m", &old, &v1("", &good), "body"),
        standard("n", &time, &v1(KEY, &good), "body"),
        standard("m", &(NOW + 1).to_string(), &v1(KEY, &good), "body"),
        standard("m", &format!("0{time}"), &v1(KEY, &good), "body"),
        standard("m", &time, &v1(KEY, &good), "body "),
        standard("m", &time, &v1(KEY, &good), ""),
        hub(&time, &sha256(KEY, "body"), "body"),
        hub(&time, &sha256("", &format!("{time}.body")), "body"),
    ];
    for (number, delivery) in unsigned.into_iter().enumerate() {
        assert_eq!(judge(&mut guard, delivery, now, wall), Err(Refusal::Unsigned), "{number}");
    }
    let right = v1(KEY, &good);
    for signature in [
        "",
        "v1",
        "v1,",
        &right[..20],
        &right[3..],
        &right.replace("v1,", "v1a,"),
        &right.replace("v1,", "v2,"),
    ] {
        let delivery = standard("m", &time, signature, "body");
        assert!(matches!(judge(&mut guard, delivery, now, wall), Err(Refusal::Malformed(_))), "{signature}");
    }
    let right = sha256(KEY, &format!("{time}.body"));
    for signature in
        ["", "sha256=", &right[..70], &right[7..], &right.replace("sha256", "sha1"), &format!("{right}00")]
    {
        let delivery = hub(&time, signature, "body");
        assert!(matches!(judge(&mut guard, delivery, now, wall), Err(Refusal::Malformed(_))), "{signature}");
    }
    assert_eq!(
        judge(&mut guard, standard("m", &time, &v1(KEY, &good), "body"), now, wall),
        Ok(()),
        "nothing was spent"
    );
}

#[test]
fn one_of_several_signatures_is_enough_and_there_may_not_be_many() {
    let (mut guard, now, wall) = guard();
    let time = NOW.to_string();
    let good = v1(KEY, &format!("m.{time}.body"));
    let wrong = v1("another key that nobody guesses", &format!("m.{time}.body"));
    for list in [format!("{wrong} {good}"), format!("v1a,x v2 {good} {wrong}")] {
        let (mut guard, now, wall) = self::guard();
        assert_eq!(judge(&mut guard, standard("m", &time, &list, "body"), now, wall), Ok(()), "{list}");
    }
    let many = format!("{} {good}", [wrong.as_str(); MOST_SIGNATURES].join(" "));
    assert_eq!(judge(&mut guard, standard("m", &time, &many, "body"), now, wall), Err(Refusal::Unsigned));
}

/// Whoever changes anything of a delivery but its signed bytes has the same delivery.
#[test]
fn what_was_accepted_is_accepted_in_no_other_guise() {
    let (mut guard, now, wall) = guard();
    let time = NOW.to_string();
    guard.learn(Some(&key("the key that comes after it")), now);
    let (old, new) =
        (v1(KEY, &format!("7.{time}.body")), v1("the key that comes after it", &format!("7.{time}.body")));
    assert_eq!(judge(&mut guard, standard("7", &time, &format!("{old} {new}"), "body"), now, wall), Ok(()));
    for signature in [&old, &new, &format!("{new} {old}"), &format!("v1,x {old}")] {
        assert_eq!(
            judge(&mut guard, standard("7", &time, signature, "body"), now, wall),
            Err(Refusal::Repeated)
        );
    }
    // A number as an id: the same bytes are signed in the other form, where the id is the time.
    let bytes = format!("{time}.{time}.body");
    let first = standard(&time, &time, &v1(KEY, &bytes), "body");
    assert_eq!(judge(&mut guard, first, now, wall), Ok(()));
    let other_form = hub(&time, &sha256(KEY, &bytes), &format!("{time}.body"));
    assert_eq!(judge(&mut guard, other_form, now, wall), Err(Refusal::Repeated));
    // The end of an id would be a time.
    let shifted =
        standard(&format!("m.{}", NOW - 9999), &time, &v1(KEY, &format!("m.{}.{time}.x", NOW - 9999)), "x");
    assert!(matches!(judge(&mut guard, shifted, now, wall), Err(Refusal::Malformed(_))));
}

/// Times are cut to seconds: what was signed five minutes ahead is good for almost a second more than ten minutes.
#[test]
fn a_delivery_from_ahead_is_remembered_for_as_long_as_it_is_good() {
    let (mut guard, now, wall) = guard();
    let signed = |time: u64| hub(&time.to_string(), &sha256(KEY, &format!("{time}.")), "");
    assert_eq!(judge(&mut guard, signed(NOW + 300), now, wall), Ok(()));
    let later = Duration::from_millis(600_900);
    // Another one, at which what is old is forgotten.
    assert_eq!(judge(&mut guard, signed(NOW + 600), now + later, wall + later), Ok(()));
    assert_eq!(judge(&mut guard, signed(NOW + 300), now + later, wall + later), Err(Refusal::Repeated));
}

#[test]
fn a_delivery_is_good_for_five_minutes_before_and_after_and_not_from_before_the_start() {
    let signed = |time: u64| hub(&time.to_string(), &sha256(KEY, &format!("{time}.")), "");
    for (time, expected) in [
        (NOW - 300, Ok(())),
        (NOW - 301, Err(Refusal::Old(301))),
        (NOW + 300, Ok(())),
        (NOW + 301, Err(Refusal::Early(301))),
        (0, Err(Refusal::Old(NOW))),
        (u64::MAX, Err(Refusal::Early(u64::MAX - NOW))),
    ] {
        let (mut guard, now, wall) = guard();
        assert_eq!(judge(&mut guard, signed(time), now, wall), expected, "{time}");
    }
    let start = Instant::now();
    let mut young = Guard::new(start);
    young.learn(Some(&key(KEY)), start);
    let (now, wall) = (start + Duration::from_secs(10), UNIX_EPOCH + Duration::from_secs(NOW));
    assert_eq!(judge(&mut young, signed(NOW - 12), now, wall), Err(Refusal::BeforeStart));
    assert_eq!(judge(&mut young, signed(NOW - 10), now, wall), Ok(()));
    for time in ["", "-1", "+1", "1e9", "99999999999999999999999", "0x10", " 1", "1.0"] {
        assert!(
            matches!(hub(time, &sha256(KEY, &format!("{time}.")), ""), Err(Refusal::Malformed(_))),
            "{time}"
        );
    }
}

/// One that was signed ahead of our clock is remembered for as long as it would count as new.
#[test]
fn what_comes_from_the_future_is_not_forgotten_too_early() {
    let (mut guard, now, wall) = guard();
    let time = NOW + 300;
    let signed = || hub(&time.to_string(), &sha256(KEY, &format!("{time}.")), "");
    assert_eq!(judge(&mut guard, signed(), now, wall), Ok(()));
    for passed in [1, 299, 301, 599] {
        let passed = Duration::from_secs(passed);
        // Another delivery, so that what is over is forgotten.
        let other = (NOW + passed.as_secs()).to_string();
        let other = hub(&other, &sha256(KEY, &format!("{other}.x")), "x");
        assert_eq!(judge(&mut guard, other, now + passed, wall + passed), Ok(()));
        assert_eq!(judge(&mut guard, signed(), now + passed, wall + passed), Err(Refusal::Repeated));
    }
    let passed = Duration::from_secs(601);
    assert_eq!(judge(&mut guard, signed(), now + passed, wall + passed), Err(Refusal::Old(301)));
}

#[test]
fn the_key_before_is_good_for_an_hour_and_the_one_before_that_is_not() {
    let (mut guard, now, wall) = guard();
    let time = NOW.to_string();
    let by = |text: &str, body: &str| hub(&time, &sha256(text, &format!("{time}.{body}")), body);
    let [second, third] = ["the second key of this test", "the third key of this test"];
    guard.learn(Some(&key(second)), now);
    guard.learn(Some(&key(second)), now + Duration::from_mins(50));
    assert_eq!(judge(&mut guard, by(KEY, "1"), now, wall), Ok(()));
    assert_eq!(judge(&mut guard, by(second, "2"), now, wall), Ok(()));
    assert_eq!(judge(&mut guard, by(KEY, "3"), now + Duration::from_hours(1), wall), Err(Refusal::Unsigned));
    guard.learn(Some(&key(third)), now);
    assert_eq!(judge(&mut guard, by(KEY, "4"), now, wall), Err(Refusal::Unsigned));
    assert_eq!(judge(&mut guard, by(second, "5"), now, wall), Ok(()));
    guard.learn(None, now);
    assert_eq!(judge(&mut guard, by(third, "6"), now, wall), Err(Refusal::NoKey));
}

#[test]
fn a_key_that_could_be_guessed_is_none() {
    for text in ["", " \n", "short", "fifteen bytes..", "whsec_", "whsec_YWJj", "whsec_MTIzNDU2Nzg5"] {
        assert_eq!(Key::new(text, &digests()).err(), Some(TooShort), "{text:?}");
    }
    assert!(Key::new("sixteen bytes...", &digests()).is_ok());
    assert_eq!(format!("{:?}", key(KEY)), "Key(…)");
}

#[test]
fn who_may_knock_is_said_by_the_network_and_not_by_the_family() {
    let allow = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    for (address, may) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("11.0.0.1", false),
        ("::ffff:11.0.0.1", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
        ("::1", false),
    ] {
        let answer = Guard::knock(&allow, Some(address.parse().unwrap()));
        assert_eq!(answer, if may { Ok(()) } else { Err(Refusal::Elsewhere) }, "{address}");
        assert_eq!(Guard::knock(&[], Some(address.parse().unwrap())), Ok(()), "{address}");
    }
    assert_eq!(Guard::knock(&allow, None), Ok(()), "the socket is in no network");
}
