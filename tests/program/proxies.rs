//! The ways to a server: through proxies, below a path, by a socket.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::support::certificates::{Valid, self_signed};
use crate::support::{Aws, Bao, Front, Gateway, Proxy, Raft, Rig, SOON, Tenant, fresh, make_store};

/// A rig whose source has these lines, and whose template shows the secret `db`.
fn rig(tenant: &Tenant<'_>, source: &str) -> Rig {
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(tenant);
    rig.config_of_source(
        source,
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    rig
}

#[track_caller]
fn renders(rig: &Rig) -> String {
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!rig.read("out/password").is_empty());
    outcome.stderr
}

/// A name that no resolver knows, so that only the proxy can reach it. The certificate of [`Raft`] has this name.
const ELSEWHERE: &str = "bao.example";

#[test]
fn a_server_with_tls_is_reached_by_connect_and_one_without_by_whole_addresses() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let elsewhere = |address: &str| address.replace("127.0.0.1", ELSEWHERE);
    let (https, http) = (elsewhere(&raft.tls_address()), elsewhere(raft.bao().address()));
    let ca_file = format!("ca_file = {:?}", raft.certificate("ca.pem"));
    let proxy = Proxy::start(None);
    let (at, dead) = (proxy.address(), "http://127.0.0.1:1".to_owned());
    let named = format!("proxy = \"{at}\"");
    let connects = format!("CONNECT {}", https.trim_start_matches("https://"));
    let whole = format!("{http}/v1/");
    for (address, key, variables, sees) in [
        (&https, "", vec![("HTTPS_PROXY", &at), ("HTTP_PROXY", &dead)], &connects),
        (&https, "", vec![("https_proxy", &at)], &connects),
        (&https, "", vec![("VAULT_PROXY_ADDR", &at), ("HTTPS_PROXY", &dead)], &connects),
        (&https, "", vec![("BAO_HTTP_PROXY", &at)], &connects),
        (&https, &*named, vec![("HTTPS_PROXY", &dead), ("VAULT_PROXY_ADDR", &dead)], &connects),
        (&http, "", vec![("HTTP_PROXY", &at), ("HTTPS_PROXY", &dead)], &whole),
        (&http, &named, vec![], &whole),
    ] {
        let before = proxy.seen().len();
        let rig = rig(&tenant, &format!("address = \"{address}\"\n{ca_file}\n{key}"));
        for (name, value) in &variables {
            rig.set(name, value);
        }
        let log = renders(&rig);
        let seen = &proxy.seen()[before..];
        assert!(!seen.is_empty() && seen.iter().all(|line| line.contains(sees)), "{variables:?}: {seen:?}");
        // Without TLS, others on the way can read the connection; a warning says so only then.
        let warned =
            log.lines().any(|line| line.contains("\"WARN\"") && line.contains("http: whoever is between"));
        assert_eq!(warned, *address == http, "{log}");
    }
}

#[test]
fn a_proxy_may_demand_a_login_and_speak_tls_itself() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let login = fresh("word");
    let proxy = Proxy::start(Some(&base64(&format!("squire:{login}"))));
    let shown = self_signed("localhost", Valid::Now);
    let front = Front::before(&proxy.address(), &shown);
    let authorities = std::fs::read_to_string(raft.certificate("ca.pem")).unwrap() + &shown.certificate.pem();
    let (https, http) = (
        raft.tls_address().replace("127.0.0.1", ELSEWHERE),
        raft.bao().address().replace("127.0.0.1", ELSEWHERE),
    );
    for address in [&https, &http] {
        for at in [proxy.address(), front.address()] {
            let word = utf8_percent_encode(&login, NON_ALPHANUMERIC);
            let with = at.replace("://", &format!("://squire:{word}@"));
            let rig = rig(&tenant, &format!("address = \"{address}\"\nca_file = \"@dir@/ca.pem\""));
            rig.write("ca.pem", &authorities);
            rig.canaries().add(&login);
            rig.start_with_secrets_in_environment();
            rig.set("HTTPS_PROXY", &with);
            rig.set("HTTP_PROXY", &with);
            renders(&rig);
        }
    }
    for (address, says) in
        [(https, "tunnel error: proxy authorization required"), (http, "the proxy demands a login")]
    {
        let rig = rig(&tenant, &format!("address = \"{address}\"\nproxy = \"{}\"", proxy.address()));
        rig.render_says(says);
    }
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn who_needs_no_proxy_is_not_asked_for_through_one() {
    let tenant = Bao::shared().tenant();
    let proxy = Proxy::start(None);
    let near = tenant.bao().address().to_owned();
    let far = near.replace("127.0.0.1", ELSEWHERE);
    let variable = [("HTTP_PROXY", proxy.address())];
    let except = [("HTTP_PROXY", proxy.address()), ("NO_PROXY", format!("10.0.0.0/8,{ELSEWHERE}"))];
    for (source, variables, works) in [
        (format!("address = \"{near}\""), &variable[..], true),
        (format!("address = \"{near}\"\nproxy = \"{}\"", proxy.address()), &[], true),
        (format!("address = \"{far}\""), &except[..], false),
        (format!("address = \"{far}\"\nproxy = \"none\""), &variable[..], false),
    ] {
        let rig = rig(&tenant, &source);
        for (name, value) in variables {
            rig.set(name, value);
        }
        if works {
            renders(&rig);
        } else {
            rig.render_says("cannot connect: dns error");
        }
        assert_eq!(proxy.seen(), Vec::<String>::new(), "{source}");
    }
    let rig = rig(&tenant, &format!("address = \"{far}\"\nproxy = \"http://127.0.0.1:1\""));
    rig.render_says("the proxy 127.0.0.1:1 does not let us through (see `proxy`, HTTPS_PROXY and NO_PROXY)");
}

#[test]
fn aws_is_reached_through_a_proxy_too() {
    let aws = Aws::shared();
    let proxy = Proxy::start(None);
    let shown = self_signed("aws.example", Valid::Now);
    let front = Front::before(aws.endpoint(), &shown);
    let https = front.address().replace("localhost", "aws.example");
    let http = aws.endpoint().replace("127.0.0.1", "aws.example");
    for (endpoint, sees) in [(&https, "CONNECT aws.example:"), (&http, "POST http://aws.example:")] {
        for by_key in [false, true] {
            let (rig, value) = (aws.rig(), fresh("value"));
            let name = aws.secret(&value);
            rig.write("ca.pem", &shown.certificate.pem());
            let key = if by_key { format!("proxy = \"{}\"", proxy.address()) } else { String::new() };
            if !by_key {
                rig.set("HTTPS_PROXY", &proxy.address());
                rig.set("HTTP_PROXY", &proxy.address());
            }
            rig.whole_config(&format!(
                "[source.aws]\nendpoint = \"{endpoint}\"\nca_file = \"@dir@/ca.pem\"\n{key}\n[secret.x]\npath = \"{name}\"\n\
                 [output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"password\"\ninline = \"{{{{x.value}}}}\"\n"
            ));
            let before = proxy.seen().len();
            let log = renders(&rig);
            assert_eq!(rig.read("out/password"), value);
            let seen = &proxy.seen()[before..];
            assert!(!seen.is_empty() && seen.iter().all(|line| line.starts_with(sees)), "{seen:?}");
            let warned = log.contains("http: whoever is between here and aws.example can read");
            assert_eq!(warned, *endpoint == http, "{log}");
        }
    }
}

#[test]
fn a_server_may_be_below_a_path() {
    let tenant = Bao::shared().tenant();
    let gateway = Gateway::before(tenant.bao().address(), "/teams/vault");
    for path in ["/teams/vault", "/teams/vault/"] {
        renders(&rig(&tenant, &format!("address = \"{}\"", gateway.address(path))));
    }
    rig(&tenant, &format!("address = \"{}\"", gateway.address("/teams"))).render_says("404");
}

#[test]
fn a_server_may_be_a_socket() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let log = renders(&rig(&tenant, &format!("address = \"{}\"", raft.socket_address())));
    assert!(!log.contains("http: whoever is between"), "{log}");
    let by_variable = rig(&tenant, "refresh = \"1s\"");
    by_variable.set("BAO_ADDR", &raft.socket_address());
    by_variable.set("HTTP_PROXY", "http://127.0.0.1:1");
    renders(&by_variable);
    let nowhere = rig(&tenant, "address = \"unix:///nowhere/bao.sock\"");
    nowhere.render_says("unix:///nowhere/bao.sock: cannot connect: /nowhere/bao.sock: No such file");
}

#[test]
fn a_variable_of_the_servers_own_tools_that_is_not_used_is_named() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "address = \"@address@\"");
    for name in ["VAULT_CLIENT_TIMEOUT", "BAO_RATE_LIMIT", "VAULT_SRV_LOOKUP", "VAULT_AGENT_ADDR"] {
        rig.set(name, "7");
    }
    let log = renders(&rig);
    let named = |name: &str| {
        log.contains(&format!("the environment variable {name} is set, and Squire does not use it"))
    };
    for (name, set) in [
        ("VAULT_CLIENT_TIMEOUT", true),
        ("BAO_RATE_LIMIT", true),
        ("VAULT_SRV_LOOKUP", true),
        ("VAULT_AGENT_ADDR", true),
        ("BAO_CLIENT_TIMEOUT", false),
    ] {
        assert_eq!(named(name), set, "{name}: {log}");
    }
}

#[test]
fn an_address_that_others_can_listen_to_is_warned_of_by_check_and_wherever_a_login_goes() {
    const SAYS: &str = "http: whoever is between here and bao.example can read the login and the secrets";
    let tenant = Bao::shared().tenant();
    let far = tenant.bao().address().replace("127.0.0.1", ELSEWHERE);
    let near = rig(&tenant, "address = \"@address@\"");
    let elsewhere = rig(&tenant, &format!("address = \"{far}\""));
    let (near, checked) = (near.check(), elsewhere.check());
    assert_eq!((near.code, checked.code), (0, 0), "{}", checked.stderr);
    assert!(!near.stderr.contains("http:"), "{}", near.stderr);
    assert!(checked.stderr.contains(&format!("warning: source vault: {SAYS}")), "{}", checked.stderr);

    let proxy = Proxy::start(None);
    make_store(&elsewhere);
    for (name, value) in [("VAULT_ADDR", &*far), ("HTTP_PROXY", &proxy.address())] {
        elsewhere.set(name, value);
    }
    elsewhere.set("VAULT_ROLE_ID", tenant.role_id());
    elsewhere.set("VAULT_SECRET_ID_FILE", elsewhere.path("secret-id").to_str().unwrap());
    let wrap = ["store", "key", "wrap", "app.store.key", "--transit", tenant.name(), "--to", "wrapped.key"];
    let wrapped = elsewhere.start(&wrap).outcome(SOON);
    assert_eq!(wrapped.code, 0, "{}", wrapped.stderr);
    assert!(wrapped.stderr.contains(SAYS), "{}", wrapped.stderr);
    let import = ["store", "--store", "app.store", "import", "--vault", "secret/x", "--under", "prod/x"];
    let imported = elsewhere.start(&import).outcome(SOON);
    assert!(imported.stderr.contains(SAYS), "{}", imported.stderr);
    let log_ins = proxy.seen().iter().filter(|line| line.contains("/v1/auth/approle/login")).count();
    assert_eq!(log_ins, 2, "{:?}", proxy.seen());
}
