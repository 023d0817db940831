//! Clocks that jump: a machine that wakes up, a clock that somebody sets, a program that was halted, a server with another time.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Bao, CHILD, Clock, LogIns, Postgres, Rig, Tenant, database_file, fresh, kv_file, record, recovered,
    stays_true, works,
};

const HOUR: i64 = 3600;

/// The requests to the server besides log-ins: (renewals of the token, of leases, mints, reads of KV).
fn asked(bao: &Bao) -> [usize; 4] {
    ["update auth/token/renew-self", "update sys/leases/renew", "read database/creds/", "read secret/data/"]
        .map(|beginning| bao.count(beginning))
}

/// A rig with a clock, a token and a lease of an hour and a half, and a secret that is re-read every ten minutes.
fn rig(tenant: &Tenant<'_>, clock: &Clock, role: &str) -> Rig {
    tenant.bao().connect_database(Postgres::shared(), role, 5400, 54000);
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(tenant);
    clock.give_to(&rig);
    rig.config_of_source(
        "address = \"@address@\"\nrefresh = \"10m\"\nlook_up_every = \"1h\"",
        &format!("{}{}{CHILD}", kv_file("app"), database_file(Postgres::shared(), role)),
    );
    rig
}

#[test]
fn a_machine_that_slept_for_an_hour_does_what_is_due_once() {
    let bao = Bao::start();
    let tenant = bao.tenant_with(&json!({"token_ttl": "90m", "token_max_ttl": "24h"}));
    let clock = Clock::new();
    let rig = rig(&tenant, &clock, "slept");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/slept")
    });
    let url = rig.read("out/slept");
    assert_eq!(asked(&bao), [0, 0, 1, 1]);
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    clock.sleep_for(HOUR);
    // The clocks are compared every few seconds.
    let bound = Duration::from_secs(6);
    let took =
        recovered(&mut squire, Instant::now(), bound, "token and lease are renewed, KV is re-read", || {
            rig.read("out/app") == second && asked(&bao) == [1, 1, 1, 2]
        });
    stays_true(Duration::from_secs(8), "nothing is done twice", || {
        std::thread::sleep(Duration::from_millis(200));
        asked(&bao) == [1, 1, 1, 2]
    });
    assert_eq!((rig.read("out/slept"), rig.read("seen/starts").as_str()), (url, "start\n"));
    assert_eq!(bao.count("update auth/approle/login"), 1);
    record(
        "clock jumps ahead by an hour: the machine slept",
        Some(took),
        "files and process untouched",
        "token and lease renewed once, KV re-read once; no login, no new database user",
    );
}

#[test]
fn a_wall_clock_that_is_set_ends_nothing() {
    let bao = Bao::start();
    let tenant = bao.tenant_with(&json!({"token_ttl": "90m", "token_max_ttl": "24h"}));
    for (role, ahead) in [("ahead", HOUR), ("behind", -HOUR)] {
        let before = (asked(&bao), bao.count("update auth/approle/login"));
        let clock = Clock::new();
        let rig = rig(&tenant, &clock, role);
        let mut squire = rig.run();
        let file = format!("out/{role}");
        squire
            .wait_until("everything is there", || rig.read("seen/starts") == "start\n" && works(&rig, &file));
        let url = rig.read(&file);
        clock.set_wall_ahead(ahead);
        stays_true(Duration::from_secs(8), "each thing is asked for once more at most", || {
            std::thread::sleep(Duration::from_millis(200));
            let now = asked(&bao);
            let more = |index: usize| now[index] - before.0[index];
            more(0) <= 1 && more(1) <= 1 && more(2) == 1 && more(3) <= 2
        });
        assert!(works(&rig, &file));
        assert_eq!((rig.read(&file), rig.read("seen/starts").as_str()), (url, "start\n"));
        assert_eq!(bao.count("update auth/approle/login"), before.1 + 1);
    }
    record(
        "wall clock set an hour ahead or back",
        None,
        "files and process untouched",
        "same token, same lease; leases are counted by the monotonic clock",
    );
}

#[test]
fn a_program_that_was_halted_for_longer_than_its_leases_makes_good_at_once() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    for role in ["halted1", "halted2", "halted3"] {
        bao.connect_database(postgres, role, 4, 3600);
    }
    let tenant = bao.tenant_with(&json!({"token_ttl": "8s"}));
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(&tenant);
    let roles = ["halted1", "halted2", "halted3"];
    let files: Vec<_> = roles.iter().map(|role| database_file(postgres, role)).collect();
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), files.concat()));
    let mut squire = rig.run();
    let all_work = || roles.iter().all(|role| works(&rig, &format!("out/{role}")));
    squire.wait_until("everything is there", || rig.read("seen/starts") == "start\n" && all_work());
    squire.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(12));
    assert!(!all_work(), "the credentials outlived their leases of 4 s");
    let before = (bao.count("read database/creds/"), bao.count("update auth/approle/login"));
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    squire.signal(Signal::SIGCONT);
    let bound = Duration::from_secs(2);
    let took = recovered(&mut squire, Instant::now(), bound, "all is new", || {
        rig.read("out/app") == second && all_work()
    });
    let mut log_ins = LogIns::start(&rig, &["out/halted1", "out/halted2", "out/halted3"]);
    stays_true(Duration::from_secs(5), "nothing is done twice", || {
        std::thread::sleep(Duration::from_millis(200));
        bao.count("read database/creds/") == before.0 + roles.len()
            && bao.count("update auth/approle/login") == before.1 + 1
    });
    log_ins.stop();
    assert!(log_ins.failed_outside(&[]).is_empty(), "{:#?}", log_ins.failed_outside(&[]));
    assert_eq!(rig.read("seen/starts"), "start\n");
    record(
        "squire halted (SIGSTOP) for longer than token and leases",
        Some(took),
        "the credentials end on the server",
        "one login, one new database user a secret, KV re-read; nothing twice",
    );
}

/// Only the difference matters, so Squire's clock is the wrong one.
#[test]
fn a_server_whose_clock_is_an_hour_off_is_used_as_any_other() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    for (role, ahead) in [("off1", HOUR), ("off2", -HOUR)] {
        bao.connect_database(postgres, role, 4, 3600);
        let tenant = bao.tenant_with(&json!({"token_ttl": "8s", "token_max_ttl": "1h"}));
        tenant.write("app", &json!({"password": fresh("first")}));
        let rig = Rig::new(&tenant);
        let clock = Clock::new();
        clock.set_wall_ahead(ahead);
        clock.give_to(&rig);
        let web = r#"
            [secret.web]
            path   = "pki/issue/web"
            params = { common_name = "web.internal", ttl = "24h" }
            [[file]]
            path   = "web.pem"
            inline = "{{web.certificate}}"
        "#;
        rig.config(&format!("{}{}{web}{CHILD}", kv_file("app"), database_file(postgres, role)));
        let issued = bao.count("update pki/issue/web");
        let mut squire = rig.run();
        let file = format!("out/{role}");
        squire
            .wait_until("everything is there", || rig.read("seen/starts") == "start\n" && works(&rig, &file));
        let url = rig.read(&file);
        let mut log_ins = LogIns::start(&rig, &[&file]);
        stays_true(Duration::from_secs(12), "the lease is kept", || rig.read(&file) == url);
        log_ins.stop();
        assert!(log_ins.failed_outside(&[]).is_empty(), "{:#?}", log_ins.failed_outside(&[]));
        let second = fresh("second");
        tenant.write("app", &json!({"password": second}));
        squire.wait_until("KV is followed", || rig.read("out/app") == second);
        assert_eq!(bao.count("update pki/issue/web"), issued + 1);
    }
}

#[test]
fn a_certificate_that_has_ended_already_is_not_asked_for_again_and_again() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let clock = Clock::new();
    // For Squire the certificate ended an hour ago, when it was issued.
    clock.set_wall_ahead(2 * HOUR);
    clock.give_to(&rig);
    rig.config(
        r#"
        [secret.web]
        path   = "pki/issue/web"
        params = { common_name = "web.internal", ttl = "1h" }
        [[file]]
        path   = "web.pem"
        inline = "{{web.certificate}}\n{{web.private_key}}"
        "#,
    );
    let mut squire = rig.run_command(&["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]);
    squire.wait_until("the first one was issued", || bao.count("update pki/issue/web") >= 1);
    stays_true(Duration::from_secs(15), "squire goes on", || squire.is_running());
    let issued = bao.count("update pki/issue/web");
    // The mint budget: three at once, then one in 5 s.
    assert!(issued <= 3 + 15 / 5 + 1, "{issued} certificates in 15 s");
    let log = rig.read("stderr.1");
    let said = log.lines().any(|line| {
        (line.contains("\"WARN\"") || line.contains("\"ERROR\"")) && line.contains("\"secret\":\"web\"")
    });
    assert!(said, "nothing was said of a certificate that has ended");
}
