//! A server as in production: TLS with an authority of its own, client certificates, and a seal.

use serde_json::json;

use crate::support::certificates::{Valid, self_signed, signed, signed_by};
use crate::support::{Aws, Front, Outcome, Raft, Rig, SOON, Squire, Tenant, fresh, stays_true};

/// A rig for the TLS address, with these additional lines for the source.
fn rig(raft: &Raft, tenant: &Tenant<'_>, source: &str) -> Rig {
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(tenant);
    rig.whole_config(&format!(
        r#"
        startup_timeout = "3s"
        [source.vault]
        address = "{}"
        refresh = "1s"
        {source}
        [source.vault.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        "#,
        raft.tls_address()
    ));
    rig
}

fn render(raft: &Raft, source: &str, variables: &[(&str, &str)]) -> Outcome {
    let tenant = raft.bao().tenant();
    let rig = rig(raft, &tenant, source);
    for (name, value) in variables {
        rig.set(name, value);
    }
    let outcome = rig.render();
    assert_eq!(outcome.code == 0, !rig.read("out/password").is_empty(), "{}", outcome.stderr);
    outcome
}

#[test]
fn the_server_is_trusted_by_its_authority_and_by_nothing_else() {
    let raft = Raft::start(false);
    let (ca, other) = (raft.certificate("ca.pem"), raft.certificate("other-ca.pem"));
    let (ca, other) = (ca.to_str().unwrap(), other.to_str().unwrap());
    let several = tempfile::tempdir().unwrap();
    std::fs::copy(other, several.path().join("a.pem")).unwrap();
    std::fs::copy(ca, several.path().join("b.pem")).unwrap();
    std::fs::write(several.path().join("README"), "no certificate").unwrap();
    let (several, text) = (several.path().to_str().unwrap(), std::fs::read_to_string(ca).unwrap());
    for (source, variables, works) in [
        (format!("ca_file = \"{ca}\""), vec![], true),
        (format!("ca_file = \"{ca}\"\ntls_server_name = \"bao.example\""), vec![], true),
        (String::new(), vec![("VAULT_CACERT", ca)], true),
        (String::new(), vec![("BAO_CACERT", ca), ("BAO_TLS_SERVER_NAME", "bao.example")], true),
        (String::new(), vec![("VAULT_CAPATH", several)], true),
        (String::new(), vec![("BAO_CACERT_BYTES", &*text), ("VAULT_CAPATH", "/nowhere")], true),
        (String::new(), vec![("VAULT_CACERT", other), ("VAULT_CACERT_BYTES", &text)], false),
        ("insecure_tls = true".to_owned(), vec![], true),
        (String::new(), vec![("VAULT_SKIP_VERIFY", "true")], true),
        (format!("ca_file = \"{other}\""), vec![], false),
        (format!("ca_file = \"{ca}\"\ntls_server_name = \"other.example\""), vec![], false),
        (String::new(), vec![], false),
    ] {
        let outcome = render(&raft, &source, &variables);
        assert_eq!(outcome.code, i32::from(!works), "{source} {variables:?}: {}", outcome.stderr);
        if !works {
            assert!(outcome.stderr.to_lowercase().contains("certificate"), "{source}: {}", outcome.stderr);
        }
        let warned =
            outcome.stderr.lines().any(|line| line.contains("\"WARN\"") && line.contains("insecure"));
        let insecure = source.contains("insecure_tls") || variables.contains(&("VAULT_SKIP_VERIFY", "true"));
        assert_eq!(warned, insecure, "{source}: {}", outcome.stderr);
    }
}

/// Renders with `ca.pem` of the rig as the trusted authorities: it works, or fails with this message.
fn render_trusting(raft: &Raft, trusted: &str, source: &str, says: Option<&str>) {
    let tenant = raft.bao().tenant();
    let rig = rig(raft, &tenant, &format!("ca_file = \"@dir@/ca.pem\"\n{source}"));
    rig.write("ca.pem", trusted);
    match says {
        Some(says) => rig.render_says(says),
        None => assert_eq!(rig.render().code, 0, "{}", rig.read("stderr.1")),
    }
    assert_eq!(says.is_none(), !rig.read("out/password").is_empty(), "{says:?}");
}

#[test]
fn a_certificate_that_is_itself_trusted_is_good_for_its_names_and_its_time() {
    let raft = Raft::start(false);
    let here = "127.0.0.1";
    let mine = self_signed(here, Valid::Now);
    let again = self_signed(here, Valid::Now);
    let named = self_signed("other.example", Valid::Now);
    let (expired, early) = (self_signed(here, Valid::Before), self_signed(here, Valid::Later));
    let (authority, leaf) = signed(here);
    let both = signed_by(&authority, here, true);
    for (shown, trusted, source, says) in [
        (&mine, mine.certificate.pem(), "", None),
        (&mine, again.certificate.pem() + &mine.certificate.pem(), "", None),
        (&named, named.certificate.pem(), "tls_server_name = \"other.example\"", None),
        // curl and the servers' own tools do the same with one certificate in the file.
        (&leaf, leaf.certificate.pem(), "", None),
        (&both, both.certificate.pem(), "", None),
        (
            &mine,
            again.certificate.pem(),
            "",
            Some("it says `CA:TRUE`), and is not trusted here (set `ca_file` to this very certificate"),
        ),
        (&both, authority.pem(), "", Some("it says `CA:TRUE`), and is not trusted here")),
        (
            &leaf,
            mine.certificate.pem(),
            "",
            Some("signed by an authority that is not trusted here (set `ca_file`"),
        ),
        (
            &named,
            named.certificate.pem(),
            "",
            Some(
                "is not for 127.0.0.1 but for other.example (name one of them in `address`, or set `tls_server_name` to it)",
            ),
        ),
        (&expired, expired.certificate.pem(), "", Some("has expired at 2021-01-01T00:00:00Z")),
        (&early, early.certificate.pem(), "", Some("is not valid before 2089-01-01T00:00:00Z")),
    ] {
        raft.show(shown);
        render_trusting(&raft, &trusted, source, says);
    }
}

#[test]
fn who_speaks_no_tls_is_said_to_speak_none() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let rig = rig(&raft, &tenant, "insecure_tls = true");
    let plain = raft.bao().address().replace("http://", "https://");
    rig.whole_config(&rig.read("squire.toml").replace(&raft.tls_address(), &plain));
    rig.render_says("speaks no TLS");
}

#[test]
fn a_client_certificate_is_shown_where_it_is_demanded() {
    let raft = Raft::start(true);
    let file = |name: &str| raft.certificate(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client-key.pem"));
    let with = format!("ca_file = \"{ca}\"\nclient_cert_file = \"{cert}\"\nclient_key_file = \"{key}\"");
    let outcome = render(&raft, &with, &[]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let variables = [("VAULT_CACERT", &*ca), ("VAULT_CLIENT_CERT", &*cert), ("VAULT_CLIENT_KEY", &*key)];
    let outcome = render(&raft, "", &variables);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let outcome = render(&raft, &format!("ca_file = \"{ca}\""), &[]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
}

/// A running process, with a source that trusts the certificates in `ca.pem` of the rig.
fn run_trusting<'a>(rig: &'a Rig, trusted: &str) -> Squire<'a> {
    rig.write("ca.pem", trusted);
    rig.whole_config(&rig.read("squire.toml").replace("startup_timeout = \"3s\"", ""));
    let mut squire = rig.run_command(&["sleep", "1000"]);
    squire.wait_until("it is published", || !rig.read("out/password").is_empty());
    squire
}

/// Waits until a new value is published.
#[track_caller]
fn new_values_come(rig: &Rig, tenant: &Tenant<'_>, squire: &mut Squire<'_>) {
    let next = fresh("next");
    tenant.write("db", &json!({"password": next}));
    squire.wait_until("the next value comes", || rig.read("out/password") == next);
}

#[test]
fn a_new_authority_is_read_when_an_answer_fails_by_tls() {
    for (mutual, by_system) in [(false, false), (false, true), (true, false)] {
        let raft = Raft::start(mutual);
        let tenant = raft.bao().tenant();
        let file = |name: &str| raft.certificate(name).to_str().unwrap().to_owned();
        let identity = format!(
            "client_cert_file = \"{}\"\nclient_key_file = \"{}\"\n",
            file("client.pem"),
            file("client-key.pem")
        );
        let authority = if by_system { "" } else { "ca_file = \"@dir@/ca.pem\"" };
        let source = if mutual { identity + authority } else { authority.to_owned() };
        let rig = rig(&raft, &tenant, &source);
        if by_system {
            rig.set("SSL_CERT_FILE", rig.path("ca.pem").to_str().unwrap());
        }
        let trusted = std::fs::read_to_string(raft.certificate("ca.pem")).unwrap();
        let mut squire = run_trusting(&rig, &trusted);
        let (authority, shown) = signed("127.0.0.1");
        raft.show(&shown);
        raft.bao().crash();
        raft.come_back();
        squire.wait_until("it is not trusted", || {
            rig.read("stderr.1").contains("signed by an authority that is not trusted here")
        });
        rig.write("ca.pem", &authority.pem());
        new_values_come(&rig, &tenant, &mut squire);
    }
}

#[test]
fn an_authority_that_goes_or_comes_in_its_file_is_noticed_though_all_is_well() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    // The directory is replaced by another one, not the file in it.
    let rig = rig(&raft, &tenant, "ca_file = \"@dir@/now/ca.pem\"");
    let trusted = std::fs::read_to_string(raft.certificate("ca.pem")).unwrap();
    rig.write("trusting/ca.pem", &trusted);
    rig.write("other/ca.pem", &signed("127.0.0.1").0.pem());
    let point = |to: &str| {
        std::os::unix::fs::symlink(rig.path(to), rig.path("next")).unwrap();
        std::fs::rename(rig.path("next"), rig.path("now")).unwrap();
    };
    point("trusting");
    let mut squire = run_trusting(&rig, "");
    point("other");
    squire.wait_until("it is no longer trusted", || {
        rig.read("stderr.1").contains("signed by an authority that is not trusted here")
    });
    point("trusting");
    new_values_come(&rig, &tenant, &mut squire);
}

#[test]
fn the_same_holds_for_aws() {
    let aws = Aws::shared();
    let first = self_signed("localhost", Valid::Now);
    let front = Front::before(aws.endpoint(), &first);
    let (rig, name) = (aws.rig(), aws.secret("first"));
    rig.whole_config(&format!(
        "[source.aws]\nrefresh = \"300ms\"\nendpoint = \"{}\"\nca_file = \"@dir@/ca.pem\"\n[secret.x]\npath = \"{name}\"\n\
         [output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"password\"\ninline = \"{{{{x.value}}}}\"\non_change = \"none\"\n",
        front.address()
    ));
    let mut squire = run_trusting(&rig, &first.certificate.pem());
    let says = |words: &str| rig.read("stderr.1").contains(words);
    let (authority, shown) = signed("localhost");
    front.show(&shown);
    squire.wait_until("it is not trusted", || {
        says("signed by an authority that is not trusted here (set `ca_file` to the")
    });
    rig.write("ca.pem", &authority.pem());
    aws.rotate(&name, "second");
    squire.wait_until("the next value comes", || rig.read("out/password") == "second");
    front.show(&signed_by(&authority, "other.example", false));
    squire.wait_until("the name is wrong", || {
        says("is not for localhost but for other.example (name one of them in `endpoint`)")
    });
    front.show(&signed_by(&authority, "localhost", false));
    aws.rotate(&name, "third");
    squire.wait_until("the third value comes", || rig.read("out/password") == "third");
}

#[test]
fn a_sealed_server_is_waited_for() {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let rig = rig(&raft, &tenant, &format!("ca_file = {:?}", raft.certificate("ca.pem")));
    let configuration = rig.read("squire.toml").replace("startup_timeout = \"3s\"", "");
    rig.whole_config(&configuration);
    raft.seal();
    let mut squire = rig.run_command(&["sh", "-c", "touch seen/started; exec sleep 1000"]);
    squire.wait_until("it has tried to log in", || rig.read("stderr.1").contains("login failed"));
    stays_true(std::time::Duration::from_millis(500), "it waits", || squire.is_running());
    assert!(!rig.path("seen/started").exists());
    raft.unseal();
    squire.wait_until("the child starts", || rig.path("seen/started").exists());
    raft.seal();
    let password = rig.read("out/password");
    squire.wait_until("the seal is met", || rig.read("stderr.1").contains("secret not fetched"));
    assert_eq!(rig.read("out/password"), password);
    raft.unseal();
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    let began = std::time::Instant::now();
    while rig.read("out/password") != second {
        assert!(began.elapsed() < 3 * SOON && squire.is_running(), "the new value never came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
