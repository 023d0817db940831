//! The meaning of the server's answers: takes JSON, returns secrets with their time to live.
//!
//! *Invariant:* pure; the wall clock is an argument. Tokens and fields are behind [`Secret`] before other code sees them. No time to live
//! is longer than [`LONGEST_LIFE`], whatever number the server says.

#![deny(clippy::arithmetic_side_effects, reason = "these numbers are the server's")]

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::names::{Accessor, LeaseId, RequestId};
use crate::secret::meta::{self, Meta};
use crate::secret::{Fields, Packed, Secret};
use crate::source::{Fault, Fetched, Grant, GrantLife, LONGEST_LIFE, Life, Renewal, Wrapping};

/// The longest name of a lease, in bytes: it is the path with 24 characters, and a namespace.
const LONGEST_LEASE: usize = 4096;
/// The longest token, in bytes: those that name all their policies have some thousand, and more than this fits in no request.
const LONGEST_TOKEN: usize = 16 << 10;
/// How long after its time a deletion is looked for: by the server's clock that second may not have begun yet.
const A_SECOND: Duration = Duration::from_secs(1);

/// The envelope of every answer.
#[derive(Deserialize)]
pub(super) struct Envelope<Data, Auth = IgnoredAny> {
    lease_id: Option<String>,
    renewable: Option<bool>,
    lease_duration: Option<u64>,
    warnings: Option<Vec<IgnoredAny>>,
    pub(super) data: Option<Data>,
    auth: Option<Auth>,
}

/// A token that was just made or renewed.
#[derive(Deserialize)]
pub(super) struct AuthAnswer {
    #[serde(deserialize_with = "secret")]
    client_token: Secret<str>,
    lease_duration: u64,
    renewable: bool,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    num_uses: i64,
    // Whatever stands there: nothing depends on it.
    #[serde(default)]
    accessor: Value,
    /// There is no token before somebody shows a second factor.
    #[serde(default)]
    mfa_requirement: Option<IgnoredAny>,
}

/// A token, as its own look-up shows it.
#[derive(Deserialize)]
pub(super) struct TokenState {
    ttl: i64,
    renewable: Option<bool>,
    expire_time: Option<String>,
    #[serde(default)]
    num_uses: i64,
    #[serde(default)]
    accessor: Value,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
    /// Seconds; a periodic token can be renewed for ever.
    #[serde(default)]
    period: Option<Value>,
    #[serde(default)]
    bound_cidrs: Option<Vec<IgnoredAny>>,
}

/// A response-wrapping token, as its look-up shows it.
#[derive(Deserialize)]
pub(super) struct WrappingState {
    /// The path whose answer it wraps.
    pub(super) creation_path: String,
    #[serde(default)]
    creation_time: Value,
}

/// An answer that was wrapped.
#[derive(Deserialize)]
pub(super) struct WrappedAnswer {
    wrap_info: Option<Box<RawValue>>,
}

/// What stands in `wrap_info` beside what people read.
#[derive(Deserialize)]
struct WrapInfo {
    #[serde(deserialize_with = "secret")]
    token: Secret<str>,
}

/// The wrapping token of an answer.
pub(super) fn wrapping(answer: WrappedAnswer, path: &str) -> Result<Wrapping, Fault> {
    let info = answer.wrap_info.ok_or_else(|| nothing_in("wrap_info", path))?;
    let parsed: Result<WrapInfo, _> = serde_json::from_str(info.get());
    match parsed {
        Ok(WrapInfo { token }) if !is_token(token.expose()) => Err(no_token_in("wrap_info.token", path)),
        Ok(WrapInfo { token }) => Ok(Wrapping { token, document: Secret::new(info.get()) }),
        // The library's error message would quote the value.
        Err(_) => Err(nothing_in("wrap_info.token", path)),
    }
}

/// A secret-id that was made.
#[derive(Deserialize)]
pub(super) struct MadeSecretId {
    #[serde(deserialize_with = "secret")]
    pub(super) secret_id: Secret<str>,
    // Whatever stands there: it was unwrapped, and nobody can do that again.
    #[serde(default, rename = "secret_id_num_uses")]
    uses: Value,
    #[serde(default, rename = "secret_id_ttl")]
    ttl: Value,
}

/// A lease, as its look-up shows it.
#[derive(Deserialize)]
pub(super) struct LeaseState {
    ttl: i64,
}

/// The engine at a path.
#[derive(Deserialize)]
pub(super) struct MountState {
    /// With a slash at the end.
    pub(super) path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<MountOptions>,
}

#[derive(Deserialize)]
struct MountOptions {
    version: Option<String>,
}

/// The kind of engine below a mount, which decides how its secrets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// KV v2.
    Versioned,
    /// KV v1 and similar engines.
    Unversioned,
    /// All engines that make their answers themselves: databases, PKI, clouds.
    Other,
    /// The token may not look up the mount: paths are taken as they are written, and the answer shows the kind.
    AsWritten,
}

impl Engine {
    /// Whether it stores what somebody wrote.
    pub(super) fn is_kv(self) -> bool {
        match self {
            Self::Versioned | Self::Unversioned => true,
            Self::Other | Self::AsWritten => false,
        }
    }
}

/// A secret of KV v2.
#[derive(Deserialize)]
pub(super) struct Versioned {
    data: Option<Packed>,
    metadata: VersionState,
}

#[derive(Deserialize)]
struct VersionState {
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
    version: u64,
    #[serde(default)]
    created_time: String,
    // Whatever stands there: it is only shown.
    #[serde(default)]
    custom_metadata: Option<Box<RawValue>>,
}

impl<Data, Auth> Envelope<Data, Auth> {
    /// The data of an answer; an answer without data is not valid.
    pub(super) fn into_data(self, path: &str) -> Result<Data, Fault> {
        self.data.ok_or_else(|| nothing_in("data", path))
    }

    /// A renewed lease, for which `asked` seconds were requested. The server rounds the granted time up, so the true time is up to a second
    /// less. Of a single second only half is counted, so that no renewed lease has ended at once.
    pub(super) fn renewal(&self, asked: u64) -> Renewal {
        let granted = self.lease_duration.unwrap_or_default();
        let warned = self.warnings.as_ref().is_some_and(|warnings| !warnings.is_empty());
        Renewal {
            ttl: match granted {
                0 => Duration::ZERO,
                1 => Duration::from_millis(500),
                more => seconds(more.saturating_sub(1)),
            },
            capped: granted < asked || warned || self.renewable == Some(false),
        }
    }
}

impl<Data> Envelope<Data, AuthAnswer> {
    /// The grant of a login.
    pub(super) fn grant(self, path: &str) -> Result<Grant, Fault> {
        let auth = self.auth.ok_or_else(|| nothing_in("auth", path))?;
        if auth.mfa_requirement.is_some() && auth.client_token.expose().is_empty() {
            let why = format!(
                "{path}: the server asks for a second factor (MFA), which no program has: leave this login out of its enforcement"
            );
            return Err(Fault::Refused { why, again_in: None });
        }
        if !is_token(auth.client_token.expose()) {
            return Err(no_token_in("auth.client_token", path));
        }
        let life = auth.life();
        // The server cannot revoke a batch token.
        let revocable = auth.token_type != "batch";
        Ok(Grant { token: auth.client_token, life, revocable, uses: uses(auth.num_uses) })
    }

    /// What the server calls the token.
    pub(super) fn accessor(&self) -> Option<Accessor> {
        let auth = self.auth.as_ref()?;
        Accessor::heard(auth.accessor.as_str()?, auth.client_token.expose())
    }

    /// The life of a renewed grant.
    pub(super) fn grant_life(&self, path: &str) -> Result<GrantLife, Fault> {
        self.auth.as_ref().map(AuthAnswer::life).ok_or_else(|| nothing_in("auth", path))
    }
}

impl AuthAnswer {
    fn life(&self) -> GrantLife {
        let ttl = (self.lease_duration > 0).then(|| seconds(self.lease_duration));
        GrantLife { ttl, renewable: self.renewable }
    }
}

impl TokenState {
    /// The time to live of the token. Only a token without an end has no `expire_time`: a `ttl` of 0 alone may be its last second.
    pub(super) fn life(&self) -> GrantLife {
        let ttl = self.expire_time.as_ref().map(|_| seconds(positive(self.ttl)));
        GrantLife { ttl, renewable: self.renewable.unwrap_or_default() }
    }

    /// What the server calls this token.
    pub(super) fn accessor(&self, token: &Secret<str>) -> Option<Accessor> {
        Accessor::heard(self.accessor.as_str()?, token.expose())
    }

    /// The number of requests that it may still make; `None` for any number.
    pub(super) fn uses(&self) -> Option<u64> {
        uses(self.num_uses)
    }

    /// Its policies, also those of its entity.
    pub(super) fn policies(&self) -> Vec<String> {
        self.policies.iter().chain(self.identity_policies.iter().flatten()).cloned().collect()
    }

    /// Whether it can be renewed for ever.
    pub(super) fn is_periodic(&self) -> bool {
        self.period.as_ref().and_then(Value::as_u64).is_some_and(|period| period > 0)
    }

    /// Whether only some addresses may use it.
    pub(super) fn is_bound(&self) -> bool {
        self.bound_cidrs.as_ref().is_some_and(|addresses| !addresses.is_empty())
    }
}

impl WrappingState {
    /// When what it wraps was made, as far as the server tells in a form that we read; not after `now`.
    pub(super) fn made(&self, now: SystemTime) -> SystemTime {
        let time = self.creation_time.as_str().and_then(|time| humantime::parse_rfc3339(time).ok());
        time.map_or(now, |time| time.min(now))
    }
}

impl MadeSecretId {
    /// How many logins it is good for; `None` for any number, or where the server did not tell.
    pub(super) fn uses(&self) -> Option<u64> {
        self.uses.as_u64().filter(|number| *number > 0)
    }

    /// When it ends if it was made at this time; `None` for never, or where the server did not tell.
    pub(super) fn ends(&self, made: SystemTime) -> Option<SystemTime> {
        let ttl = self.ttl.as_u64().filter(|number| *number > 0)?;
        made.checked_add(seconds(ttl))
    }
}

impl LeaseState {
    /// The time that is left; `None` if it has ended, even if the server has not cleaned up yet.
    pub(super) fn left(&self) -> Option<Duration> {
        (self.ttl > 0).then(|| seconds(positive(self.ttl)))
    }
}

impl MountState {
    pub(super) fn engine(&self) -> Engine {
        let version = self.options.as_ref().and_then(|options| options.version.as_deref());
        match (self.kind.as_str(), version) {
            ("kv" | "generic", Some("2")) => Engine::Versioned,
            ("kv" | "generic" | "cubbyhole", _) => Engine::Unversioned,
            _ => Engine::Other,
        }
    }
}

impl VersionState {
    /// What is known of the version. Nobody need have written about the secret.
    fn meta(&self) -> Meta {
        let about = self.custom_metadata.as_ref().and_then(|about| serde_json::from_str(about.get()).ok());
        let about = about.unwrap_or_else(|| Packed::of(&Fields::new()));
        let created = Some(self.created_time.as_str()).filter(|time| !time.is_empty());
        let version = [(meta::VERSION, self.version.into()), (meta::CREATED_TIME, created.into())];
        Meta::of(version).and(&Meta::of_map(meta::CUSTOM_METADATA, about))
    }
}

impl Versioned {
    /// Why there is no value.
    pub(super) fn tombstone(&self, path: &str) -> Fault {
        let VersionState { deletion_time, destroyed, version, created_time: _, custom_metadata: _ } =
            &self.metadata;
        let why = match humantime::parse_rfc3339(deletion_time) {
            _ if *destroyed => format!("{path}: version {version} was destroyed"),
            Ok(time) => format!(
                "{path}: version {version} was deleted at {}",
                humantime::format_rfc3339_seconds(time)
            ),
            Err(_) => format!("{path}: version {version} was deleted"),
        };
        Fault::Gone { why }
    }
}

/// What the server calls the request of this answer. Nothing behind it is read: in most answers it stands first.
pub(crate) fn request_id(body: &[u8]) -> Option<RequestId> {
    struct Search<'a>(&'a mut Option<RequestId>);

    impl<'de> Visitor<'de> for Search<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an answer")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut answer: A) -> Result<(), A::Error> {
            while let Some(key) = answer.next_key::<Cow<'de, str>>()? {
                if key == "request_id" {
                    *self.0 = RequestId::heard(&answer.next_value::<Cow<'de, str>>()?);
                    return Ok(());
                }
                answer.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let mut found = None;
    // The rest of the answer was not read, which the library calls an error.
    serde_json::Deserializer::from_slice(body).deserialize_map(Search(&mut found)).ok();
    found
}

/// A secret of KV v2. If it has a planned deletion, the time of that tells when to look again.
pub(super) fn versioned(
    envelope: Envelope<Versioned>,
    path: &str,
    now: SystemTime,
) -> Result<Fetched, Fault> {
    let secret = envelope.into_data(path)?;
    let gone = secret.tombstone(path);
    let deletion = humantime::parse_rfc3339(&secret.metadata.deletion_time).ok();
    let within = deletion
        .map(|time| time.duration_since(now).unwrap_or_default().min(LONGEST_LIFE).saturating_add(A_SECOND));
    let written = humantime::parse_rfc3339(&secret.metadata.created_time).ok();
    let meta = secret.metadata.meta();
    Ok(Fetched { fields: secret.data.ok_or(gone)?, life: Life::Versioned { within }, written, meta })
}

/// Whether an answer of an unknown engine is one of KV v2.
pub(super) fn is_versioned(answer: &Envelope<Packed, Packed>) -> bool {
    let Some(fields) = &answer.data else { return false };
    let of_version = |state: Value| state.get("version").is_some_and(Value::is_u64);
    fields.names().eq(["data", "metadata"]) && fields.expose_field("metadata").is_some_and(of_version)
}

/// A secret of KV v1. It looks like a lease, but its `lease_duration` only says when to look again.
pub(super) fn unversioned<A>(envelope: Envelope<Packed, A>, path: &str) -> Result<Fetched, Fault> {
    let within = envelope.lease_duration.filter(|number| *number > 0).map(seconds);
    Ok(Fetched {
        fields: envelope.into_data(path)?,
        life: Life::Versioned { within },
        written: None,
        meta: Meta::default(),
    })
}

/// A secret that an engine made for us. A new token is in `auth`; it is no lease, but it ends.
pub(super) fn made(
    envelope: Envelope<Packed, Packed>,
    path: &str,
    now: SystemTime,
) -> Result<Fetched, Fault> {
    if let Some(auth) = envelope.auth {
        let ttl = auth.expose_field("lease_duration").as_ref().and_then(Value::as_u64).filter(|ttl| *ttl > 0);
        let life = match ttl {
            Some(ttl) => Life::Expiring { lease: None, ttl: seconds(ttl) },
            None => Life::Versioned { within: None },
        };
        return Ok(Fetched { fields: auth, life, written: None, meta: Meta::default() });
    }
    let lease = envelope.lease_id.as_deref().filter(|id| !id.is_empty()).map(|id| lease(id, path));
    let lease = lease.transpose()?;
    let renewable = envelope.renewable == Some(true);
    let ttl = seconds(envelope.lease_duration.unwrap_or_default());
    let fields = envelope.into_data(path)?;
    let life = match lease {
        Some(lease) if renewable => Life::Renewable { lease, ttl },
        Some(lease) => Life::Expiring { lease: Some(lease), ttl },
        None => unleased(&fields, now),
    };
    Ok(Fetched { fields, life, written: None, meta: Meta::default() })
}

/// It stands in the ledger, the log and the audit, so its length is not the server's choice.
fn lease(id: &str, path: &str) -> Result<LeaseId, Fault> {
    if id.len() > LONGEST_LEASE {
        return Err(Fault::Malformed {
            why: format!("{path}: the name of its lease has more than {LONGEST_LEASE} bytes"),
        });
    }
    Ok(LeaseId::new(id))
}

/// The life of a secret without a lease, from its own fields: a certificate's end, or a static role's next rotation.
fn unleased(fields: &Packed, now: SystemTime) -> Life {
    let number = |name: &str| fields.expose_field(name).as_ref().and_then(Value::as_u64);
    let rotates = ["rotation_period", "rotation_schedule", "last_vault_rotation"];
    if let Some(end) =
        number("expiration").and_then(|end| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end)))
    {
        return Life::Expiring {
            lease: None,
            ttl: end.duration_since(now).unwrap_or_default().min(LONGEST_LIFE),
        };
    }
    match number("ttl") {
        Some(ttl) if fields.names().any(|name| rotates.contains(&name)) => {
            Life::Rotating { ttl: seconds(ttl) }
        }
        Some(_) | None => Life::Versioned { within: None },
    }
}

fn nothing_in(part: &str, path: &str) -> Fault {
    Fault::Malformed { why: format!("{path}: the answer has no `{part}`") }
}

fn no_token_in(part: &str, path: &str) -> Fault {
    Fault::Malformed { why: format!("{path}: what stands in `{part}` of the answer is no token") }
}

/// Whether it can be sent in a header, and stand in a file and in a variable. Others are given it as it is.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.chars().all(|c| c.is_ascii_graphic())
}

/// 0 means any number. A lower number is a token that is being revoked; its next use shows that.
fn uses(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// A duration of this many seconds.
fn seconds(number: u64) -> Duration {
    Duration::from_secs(number).min(LONGEST_LIFE)
}

/// A time that is long past leaves 0.
fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<str>, D::Error> {
    Ok(Secret::new(String::deserialize(deserializer)?))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope<D, A>(value: Value) -> Envelope<D, A>
    where
        Envelope<D, A>: for<'de> Deserialize<'de>,
    {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_name_of_a_request_is_found_where_it_stands_and_nothing_else_is_taken_for_it() {
        const ID: &str = "0b1c2d3e-0000-1111-2222-333344445555";
        let first = format!(r#"{{"request_id":"{ID}","data":{{"a": this is not even JSON"#);
        let behind = format!(r#"{{"keys":[{{"request_id":"no"}}],"request_id":"{ID}"}}"#);
        for found in [first, behind] {
            assert_eq!(request_id(found.as_bytes()), Some(RequestId::new(ID)), "{found}");
        }
        let inside = format!(r#"{{"data":{{"request_id":"{ID}"}}}}"#);
        for other in [&inside, "", "[]", r#"{"request_id":7}"#, r#"{"request_id":"hvs.canary"}"#] {
            assert_eq!(request_id(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_login_gives_a_token_or_says_why_there_is_none() {
        let login = |token: &str, more: Value| {
            let mut auth = json!({"client_token": token, "lease_duration": 0, "renewable": false});
            auth.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            envelope::<Value, AuthAnswer>(json!({ "auth": auth })).grant("auth/x/login")
        };
        assert_eq!(login("hvs.CAES-a_b~c", Value::Null).unwrap().token.expose(), "hvs.CAES-a_b~c");
        assert!(login("s.t", json!({"mfa_requirement": null})).is_ok());
        let longest = "x".repeat(LONGEST_TOKEN);
        assert!(login(&longest, Value::Null).is_ok());
        let longer = format!("{longest}x");
        for odd in ["", "canary canary", "canary\nforged", "canary\0", "canary\u{1b}[2J", "canaré", &longer]
        {
            let fault = login(odd, Value::Null).unwrap_err();
            let expected = "auth/x/login: what stands in `auth.client_token` of the answer is no token";
            assert!(matches!(&fault, Fault::Malformed { why } if why == expected), "{fault}");
        }
        let asked = json!({"mfa_requirement": {"mfa_request_id": "a", "mfa_constraints": {}}});
        let fault = login("", asked).unwrap_err();
        assert!(matches!(&fault, Fault::Refused { why, again_in: None } if why.contains("second factor")));
        for odd in [
            json!({"lease_duration": -1}),
            json!({"lease_duration": "canary"}),
            json!({"renewable": "canary"}),
            json!({"lease_duration": 1.5}),
        ] {
            let mut auth = json!({"client_token": "s.t", "lease_duration": 0, "renewable": false});
            auth.as_object_mut().unwrap().extend(odd.as_object().cloned().unwrap());
            let read: Result<Envelope<Value, AuthAnswer>, _> =
                serde_json::from_value(json!({ "auth": auth }));
            assert!(read.is_err(), "{odd}");
        }
        let wrapped = |token: &str| {
            let answer = json!({ "wrap_info": { "token": token, "ttl": 60 } });
            wrapping(serde_json::from_value(answer).unwrap(), "sys/wrapping/wrap")
        };
        assert_eq!(wrapped("s.wrapping").unwrap().token.expose(), "s.wrapping");
        for odd in ["", "canary\n"] {
            let fault = wrapped(odd).unwrap_err().to_string();
            assert!(fault.contains("`wrap_info.token`") && !fault.contains("canary"), "{fault}");
        }
    }

    #[test]
    fn a_token_is_named_by_the_server_and_never_by_itself() {
        let login = |accessor: Value| {
            let auth = json!({"client_token": "s.canary", "lease_duration": 1, "renewable": true, "accessor": accessor});
            envelope::<Value, AuthAnswer>(json!({ "auth": auth })).accessor()
        };
        assert_eq!(login(json!("8609694a")), Some(Accessor::new("8609694a")));
        for odd in [json!("s.canary"), json!(7), Value::Null, json!("")] {
            assert_eq!(login(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn a_secret_id_tells_its_uses_and_its_end_and_is_taken_whatever_else_it_says() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let made = |at: Value| -> SystemTime {
            let state: WrappingState =
                serde_json::from_value(json!({"creation_path": "p", "creation_time": at})).unwrap();
            state.made(now)
        };
        let minute = Duration::from_mins(1);
        assert_eq!(made(json!("2027-01-15T07:59:00.000000000Z")), now - minute);
        // A server whose clock is ahead, a time zone, and nothing.
        for other in
            [json!("2027-01-15T08:01:00Z"), json!("2027-01-15T08:59:00+01:00"), Value::Null, json!(7)]
        {
            assert_eq!(made(other), now);
        }
        let cases = [
            (json!({}), None, None),
            (json!({"secret_id_num_uses": 0, "secret_id_ttl": 0}), None, None),
            (json!({"secret_id_num_uses": 4, "secret_id_ttl": 60}), Some(4), Some(now + minute)),
            (json!({"secret_id_num_uses": -1, "secret_id_ttl": "60"}), None, None),
            (json!({"secret_id_ttl": u64::MAX}), None, Some(now + LONGEST_LIFE)),
        ];
        for (mut answer, uses, ends) in cases {
            answer["secret_id"] = json!("canary");
            let id: MadeSecretId = serde_json::from_value(answer).unwrap();
            assert_eq!((id.secret_id.expose(), id.uses(), id.ends(now)), ("canary", uses, ends));
        }
    }

    #[test]
    fn the_name_of_a_lease_is_not_as_long_as_a_server_likes() {
        for (length, is_taken) in [(LONGEST_LEASE, true), (LONGEST_LEASE + 1, false), (1 << 20, false)] {
            let answer = json!({"lease_id": "x".repeat(length), "lease_duration": 60, "data": {"a": 1}});
            let made = made(envelope(answer), "p", SystemTime::UNIX_EPOCH);
            assert_eq!(made.is_ok(), is_taken, "{length}");
            assert!(made.err().is_none_or(|fault| fault.to_string().len() < 200));
        }
    }

    #[test]
    fn no_number_makes_a_life_longer_than_the_longest() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        for number in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 1 << 40] {
            let signed = i64::try_from(number).unwrap_or(i64::MAX);
            let lease = json!({"lease_id": "a", "renewable": true, "lease_duration": number, "data": {}});
            let life = made(envelope(lease), "p", now).unwrap().life;
            assert_eq!(life, Life::Renewable { lease: LeaseId::new("a"), ttl: LONGEST_LIFE });
            let fixed = json!({"data": {"ttl": number, "rotation_period": 5}});
            assert_eq!(made(envelope(fixed), "p", now).unwrap().life, Life::Rotating { ttl: LONGEST_LIFE });
            let cert = json!({"data": {"expiration": number}});
            let life = made(envelope(cert), "p", now).unwrap().life;
            assert!(
                matches!(life, Life::Expiring { ttl: LONGEST_LIFE, .. } | Life::Versioned { .. }),
                "{life:?}"
            );
            let renewed: Envelope<Value> = envelope(json!({"lease_duration": number}));
            assert_eq!(renewed.renewal(60).ttl, LONGEST_LIFE);
            let looked_up: LeaseState = serde_json::from_value(json!({"ttl": signed})).unwrap();
            assert_eq!(looked_up.left(), Some(LONGEST_LIFE));
            let token = json!({"ttl": signed, "expire_time": "2030-01-01T00:00:00Z"});
            let token: TokenState = serde_json::from_value(token).unwrap();
            assert_eq!(token.life().ttl, Some(LONGEST_LIFE));
        }
    }

    #[test]
    fn the_life_of_what_an_engine_made_is_told_by_its_answer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let lease = || LeaseId::new("db/creds/a/1");
        let seconds = Duration::from_secs;
        let cases = [
            (
                json!({"lease_id": "db/creds/a/1", "renewable": true, "lease_duration": 60, "data": {}}),
                Life::Renewable { lease: lease(), ttl: seconds(60) },
            ),
            (
                json!({"lease_id": "db/creds/a/1", "renewable": false, "lease_duration": 60, "data": {"expiration": 1}}),
                Life::Expiring { lease: Some(lease()), ttl: seconds(60) },
            ),
            (
                json!({"lease_id": "", "lease_duration": 0, "data": {"expiration": 1500}}),
                Life::Expiring { lease: None, ttl: seconds(500) },
            ),
            (json!({"data": {"expiration": 900}}), Life::Expiring { lease: None, ttl: seconds(0) }),
            (
                json!({"lease_id": "", "data": {"ttl": 7, "rotation_period": 60, "last_vault_rotation": "x"}}),
                Life::Rotating { ttl: seconds(7) },
            ),
            (
                json!({"data": {"ttl": 0, "rotation_schedule": "0 0 * * *"}}),
                Life::Rotating { ttl: seconds(0) },
            ),
            (json!({"data": {"ttl": 7}}), Life::Versioned { within: None }),
            (
                json!({"data": null, "auth": {"client_token": "t", "lease_duration": 9}}),
                Life::Expiring { lease: None, ttl: seconds(9) },
            ),
            (json!({"auth": {"lease_duration": 0}}), Life::Versioned { within: None }),
        ];
        for (answer, life) in cases {
            assert_eq!(made(envelope(answer.clone()), "p", now).unwrap().life, life, "{answer}");
        }
        assert!(matches!(made(envelope(json!({"data": null})), "p", now), Err(Fault::Malformed { .. })));
    }

    #[test]
    fn kv_v1_has_no_lease_whatever_stands_in_it() {
        let answer = json!({"lease_id": "", "lease_duration": 2_764_800, "data": {"ttl": 5, "rotation_period": 6, "expiration": 7}});
        let fetched = unversioned::<Value>(envelope(answer), "p").unwrap();
        assert_eq!(fetched.life, Life::Versioned { within: Some(Duration::from_hours(768)) });
    }

    #[test]
    fn a_coming_deletion_is_looked_for_just_after_it_and_only_null_is_deleted() {
        let now = humantime::parse_rfc3339("2024-05-01T12:00:00Z").unwrap();
        let answer = |data: Value, time: &str, destroyed: bool| {
            let metadata = json!({"deletion_time": time, "destroyed": destroyed, "version": 3});
            versioned(envelope(json!({"data": {"data": data, "metadata": metadata}})), "s/a", now)
        };
        let life = |time| answer(json!({"a": 1}), time, false).unwrap().life;
        assert_eq!(life(""), Life::Versioned { within: None });
        assert_eq!(
            life("2024-05-01T12:01:00.5Z"),
            Life::Versioned { within: Some(Duration::from_millis(61_500)) }
        );
        let gone = |why: &str| Fault::Gone { why: why.into() };
        assert_eq!(
            answer(Value::Null, "2024-05-01T11:00:00.123456789Z", false).unwrap_err(),
            gone("s/a: version 3 was deleted at 2024-05-01T11:00:00Z")
        );
        assert_eq!(answer(Value::Null, "", true).unwrap_err(), gone("s/a: version 3 was destroyed"));
    }

    #[test]
    fn a_renewal_is_a_second_shorter_than_said_and_capped_where_the_maximum_shows() {
        let cases = [
            (json!({"lease_duration": 60, "renewable": true}), 59_000, false),
            (json!({"lease_duration": 61, "renewable": true, "warnings": null}), 60_000, false),
            (json!({"lease_duration": 59, "renewable": true}), 58_000, true),
            (json!({"lease_duration": 60, "renewable": true, "warnings": ["TTL exceeded"]}), 59_000, true),
            (json!({"lease_duration": 60, "renewable": false}), 59_000, true),
            (json!({"lease_duration": 2, "renewable": true}), 1_000, true),
            (json!({"lease_duration": 1, "renewable": true}), 500, true),
            (json!({}), 0, true),
        ];
        for (answer, milliseconds, capped) in cases {
            let expected = Renewal { ttl: Duration::from_millis(milliseconds), capped };
            assert_eq!(envelope::<Value, Value>(answer.clone()).renewal(60), expected, "{answer}");
        }
    }

    #[test]
    fn only_a_token_without_an_end_lives_for_ever() {
        let life = |state: Value| serde_json::from_value::<TokenState>(state).unwrap().life();
        let seconds = |ttl| Some(Duration::from_secs(ttl));
        assert_eq!(life(json!({"ttl": 0, "expire_time": null})), GrantLife { ttl: None, renewable: false });
        assert_eq!(
            life(json!({"ttl": 9, "expire_time": "x", "renewable": true})),
            GrantLife { ttl: seconds(9), renewable: true }
        );
        assert_eq!(
            life(json!({"ttl": -1, "expire_time": "x"})),
            GrantLife { ttl: seconds(0), renewable: false }
        );
        let auth: AuthAnswer =
            serde_json::from_value(json!({"client_token": "t", "lease_duration": 0, "renewable": false}))
                .unwrap();
        assert_eq!(auth.life(), GrantLife { ttl: None, renewable: false });
    }

    #[test]
    fn only_a_number_of_uses_above_zero_is_a_limit() {
        for (number, expected) in [(json!(3), Some(3)), (json!(0), None), (json!(-1), None)] {
            let state: TokenState = serde_json::from_value(json!({"ttl": 9, "num_uses": number})).unwrap();
            assert_eq!(state.uses(), expected);
            let auth =
                json!({"client_token": "t", "lease_duration": 9, "renewable": true, "num_uses": number});
            let envelope: Envelope<Value, AuthAnswer> = envelope(json!({ "auth": auth }));
            assert_eq!(envelope.grant("p").unwrap().uses, expected);
        }
        let state: TokenState = serde_json::from_value(json!({"ttl": 9})).unwrap();
        assert_eq!(state.uses(), None);
    }

    #[test]
    fn the_engine_is_told_by_type_and_version() {
        let engine = |kind: &str, options: Value| {
            let state = json!({"path": "a/", "type": kind, "options": options});
            serde_json::from_value::<MountState>(state).unwrap().engine()
        };
        assert_eq!(engine("kv", json!({"version": "2"})), Engine::Versioned);
        assert_eq!(engine("kv", json!({"version": "1"})), Engine::Unversioned);
        assert_eq!(engine("kv", json!({})), Engine::Unversioned);
        assert_eq!(engine("kv", Value::Null), Engine::Unversioned);
        assert_eq!(engine("database", Value::Null), Engine::Other);
    }
}
