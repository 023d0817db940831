//! Which requests go on, and as what.

use proptest::prelude::*;

use super::allowed::Entry;
use super::*;

fn rules(auto_auth: AutoAuth, namespace: &str) -> Rules {
    let entry = |path: &str, is_pattern, verbs| Entry { path: path.to_owned(), is_pattern, verbs };
    let allowed = Allowed(vec![
        entry("secret/data/app", false, &[Verb::Read]),
        entry("secret/metadata/team/", false, &[Verb::List]),
        entry("transit/+/app", true, allowed::ALL),
    ]);
    Rules { allowed, auto_auth, namespace: namespace.to_owned(), is_loopback: false }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let one = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    [("x-vault-request", "true")].iter().chain(lines).map(one).collect()
}

fn judged(rules: &Rules, request: &str, lines: &[(&str, &str)]) -> Result<Admitted, Refusal> {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    admit(rules, &Method::from_bytes(method.as_bytes()).unwrap(), path, query, &headers(lines))
}

#[test]
fn a_request_goes_on_or_has_a_status() {
    let rules = rules(AutoAuth::Always, "");
    let cases = [
        ("GET /v1/secret/data/app", Ok(Verb::Read)),
        ("GET /v1/secret/data/app?version=2", Ok(Verb::Read)),
        ("GET /v1/secret/data/app?list=true", Err(Refusal::Path)),
        ("LIST /v1/secret/data/app", Err(Refusal::Path)),
        ("LIST /v1/secret/metadata/team", Ok(Verb::List)),
        ("GET /v1/secret/metadata/team/?list=true", Ok(Verb::List)),
        ("GET /v1/secret/metadata/team/", Err(Refusal::Path)),
        ("POST /v1/secret/data/app", Err(Refusal::Path)),
        ("DELETE /v1/secret/data/app", Err(Refusal::Path)),
        ("POST /v1/transit/encrypt/app", Ok(Verb::Write)),
        ("PATCH /v1/transit/keys/app", Ok(Verb::Write)),
        ("HEAD /v1/secret/data/app", Err(Refusal::Method)),
        ("OPTIONS /v1/secret/data/app", Err(Refusal::Method)),
        ("CONNECT /v1/secret/data/app", Err(Refusal::Method)),
        ("SCAN /v1/secret/metadata/team/", Err(Refusal::Method)),
        ("get /v1/secret/data/app", Err(Refusal::Method)),
        ("GET /v1/secret/metadata/team/?scan=true", Err(Refusal::Query)),
        ("GET /v1/secret/data/app/../../../sys/seal", Err(Refusal::Form)),
        ("GET /v1/secret/data/app%2f..%2fother", Err(Refusal::Form)),
        ("GET /v1/sys/health", Err(Refusal::Path)),
        ("GET /v1/auth/token/lookup-self", Err(Refusal::Path)),
        ("POST /v1/auth/token/create", Err(Refusal::Path)),
        ("GET /v1/sys/internal/ui/mounts/secret/app", Ok(Verb::Read)),
        ("GET /ui/", Err(Refusal::Form)),
        ("PUT /v1/sys/leases/renew", Ok(Verb::Write)),
        ("PUT /v1/sys/leases/revoke/database/creds/app/x", Err(Refusal::Lease)),
        ("LIST /v1/sys/leases/lookup/database", Err(Refusal::Lease)),
        ("POST /v1/auth/token/revoke-self", Err(Refusal::Own)),
    ];
    for (request, expected) in cases {
        assert_eq!(judged(&rules, request, &[]).map(|admitted| admitted.verb), expected, "{request}");
    }
}

#[test]
fn the_request_header_is_needed_and_a_page_in_a_browser_cannot_have_it() {
    let rules = rules(AutoAuth::Always, "");
    let admit = |headers: &HeaderMap| admit(&rules, &Method::GET, "/v1/secret/data/app", None, headers).err();
    assert_eq!(admit(&HeaderMap::new()), Some(Refusal::NoRequestHeader));
    let mut no = headers(&[]);
    no.insert(REQUEST, HeaderValue::from_static("false"));
    assert_eq!(admit(&no), Some(Refusal::NoRequestHeader));
    assert_eq!(Refusal::NoRequestHeader.status().as_u16(), 412);
    let loopback = Rules { is_loopback: true, ..rules.clone() };
    let named = |host| judged(&loopback, "GET /v1/secret/data/app", &[("host", host)]).err();
    assert_eq!(named("127.0.0.1:8200"), None);
    assert_eq!(named("evil.example"), Some(Refusal::Name));
    let mut two = headers(&[("host", "localhost")]);
    two.append(HOST, HeaderValue::from_static("evil.example"));
    assert_eq!(
        super::admit(&loopback, &Method::GET, "/v1/secret/data/app", None, &two).err(),
        Some(Refusal::Name)
    );
    let page = headers(&[("origin", "http://localhost:3000")]);
    assert_eq!(admit(&page), Some(Refusal::Page));
}

#[test]
fn only_named_headers_go_on_and_a_token_only_where_it_counts() {
    let lines = [
        ("x-vault-token", "canary"),
        ("authorization", "Bearer canary"),
        ("x-forwarded-for", "10.0.0.1"),
        ("connection", "keep-alive, x-vault-wrap-ttl"),
        ("transfer-encoding", "chunked"),
        ("cookie", "a=b"),
        ("content-type", "application/merge-patch+json"),
        ("x-vault-wrap-ttl", "60"),
        ("x-vault-policy-override", "true"),
        ("x-http-method-override", "DELETE"),
    ];
    let always = judged(&rules(AutoAuth::Always, ""), "GET /v1/secret/data/app", &lines).unwrap();
    let mut names: Vec<_> = always.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "x-vault-wrap-ttl"]);
    assert!(always.token.is_none());
    let if_missing = rules(AutoAuth::IfMissing, "");
    let token = |lines: &[(&str, &str)]| {
        let admitted = judged(&if_missing, "GET /v1/secret/data/app", lines).unwrap();
        admitted.token.map(|token| token.expose().to_owned())
    };
    assert_eq!(token(&lines).as_deref(), Some("canary"));
    let own = judged(&if_missing, "GET /v1/secret/data/app", &lines).unwrap();
    assert!(own.headers.contains_key("x-vault-policy-override") && own.headers.len() == 3, "in its own name");
    assert_eq!(token(&lines[1..]).as_deref(), Some("canary"));
    assert_eq!(token(&[]), None);
    assert_eq!(token(&[("x-vault-token", "")]), None);
}

#[test]
fn no_other_namespace_is_reached() {
    let asks = |ours: &str, theirs: &str| {
        let lines = [("x-vault-namespace", theirs)];
        judged(&rules(AutoAuth::Always, ours), "GET /v1/secret/data/app", &lines).err()
    };
    assert_eq!(asks("team/a", "team/a/"), None);
    assert_eq!(asks("team/a", "/team/a"), None);
    assert_eq!(asks("", "root"), None);
    assert_eq!(asks("", ""), None);
    for (ours, theirs) in
        [("team/a", "team"), ("team/a", ""), ("team/a", "root"), ("", "team"), ("team/a", "team/a/b")]
    {
        assert_eq!(asks(ours, theirs), Some(Refusal::Namespace), "{ours} {theirs}");
    }
}

proptest! {
    /// Whatever is written: what goes on is a path that the rules name, has one form, and is encoded to what decodes to it.
    #[test]
    fn whatever_goes_on_is_named(path in "/v1/(secret|sys|auth|%73ecret|\\PC|/|\\.|%2[eEfF5]|data|app|\\\\|%){0,9}", method in "GET|LIST|POST") {
        let rules = rules(AutoAuth::Always, "");
        if let Ok(admitted) = admit(&rules, &method.parse().unwrap(), &path, None, &headers(&[])) {
            let path = admitted.path.trim_end_matches('/');
            let parts: Vec<_> = path.split('/').collect();
            let is_named = path == "secret/data/app"
                || path == "secret/metadata/team"
                || matches!(parts[..], ["transit", _, "app"])
                || path.starts_with("sys/internal/ui/mounts/");
            prop_assert!(is_named, "{}", admitted.path);
            prop_assert!(!admitted.path.contains(['%', '\\']) && !parts.iter().any(|part| matches!(*part, "" | "." | "..")));
        }
    }
}
