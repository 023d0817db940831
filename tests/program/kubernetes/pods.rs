//! Each shape as a pod that runs, with logins by tokens of a cluster, a real OpenBao, and users in a real PostgreSQL.
//!
//! Who attacks: a pod with a token that was made for somebody else; a neighbour in the pod that looks at what is Squire's.

use std::fs;
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::cluster::{Cluster, NAMESPACE};
use super::injection::{admitted, plain_pod};
use super::kubelet::Kubelet;
use super::tools::{BASES, base, of_kind, pod_of};
use crate::support::{Bao, Postgres, Rig, SOON, free_port, fresh, log_in, wait_until};

/// The most that Squire may use, as each base has it (`limits.memory`), in KiB.
const LIMIT: u64 = 64 * 1024;

/// A cluster, and a secret server that takes its pods.
struct Site {
    cluster: Cluster,
    bao: Bao,
    key: String,
}

impl Site {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Site> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Sets both up as `docs/deployment.md` says; the policy is what `squire policy` prints for the bases.
    fn start() -> Self {
        let (cluster, bao, key) = (Cluster::start(), Bao::start(), fresh("api-key"));
        bao.connect_database(Postgres::shared(), "shop", 3600, 7200);
        let api = bao.api();
        api.post("secret/data/shop/api", &json!({ "data": { "key": key } }));
        let policy: String = BASES.iter().map(|name| policy(&config_of(&base(name)))).collect();
        api.post("sys/policies/acl/shop", &json!({ "policy": policy }));
        api.post("sys/auth/kubernetes", &json!({ "type": "kubernetes" }));
        let authority = rcgen::generate_simple_self_signed(["cluster".to_owned()]).unwrap().cert.pem();
        let config = json!({ "kubernetes_host": cluster.address(), "kubernetes_ca_cert": authority, "token_reviewer_jwt": cluster.token("vault", "api"), "disable_local_ca_jwt": true });
        api.post("auth/kubernetes/config", &config);
        let role = json!({ "bound_service_account_names": ["shop"], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault",
            "token_policies": ["shop"], "token_ttl": "1h" });
        api.post("auth/kubernetes/role/shop", &role);
        api.post("sys/auth/jwt", &json!({ "type": "jwt" }));
        api.post(
            "auth/jwt/config",
            &json!({ "jwt_validation_pubkeys": [cluster.public_key()], "jwt_supported_algs": ["ES256"] }),
        );
        let subject = format!("system:serviceaccount:{NAMESPACE}:shop");
        let role = json!({ "role_type": "jwt", "bound_audiences": ["vault"], "bound_subject": subject, "user_claim": "sub",
            "token_policies": ["shop"], "token_ttl": "1h" });
        api.post("auth/jwt/role/shop", &role);
        Self { cluster, bao, key }
    }

    fn rig(&self) -> Rig {
        let rig = Rig::at(self.bao.address());
        rig.canaries().add(&self.key);
        rig
    }

    /// A pod, with its `ConfigMap` for this server, and a port of its own in place of 9790; without a token.
    fn without_token<'a>(
        &self,
        rig: &'a Rig,
        pod: Value,
        config: &str,
        apps: &[(&str, &str)],
    ) -> (Kubelet<'a>, String) {
        let listen = format!("127.0.0.1:{}", free_port());
        let adapted = config
            .replace("https://vault.vault.svc:8200", self.bao.address())
            .replace("0.0.0.0:9790", &listen);
        assert_ne!(adapted, config);
        (Kubelet::new(rig, pod, &adapted, apps), listen)
    }

    /// The pod of a base, with a token.
    fn pod<'a>(&self, rig: &'a Rig, name: &str, apps: &[(&str, &str)]) -> Kubelet<'a> {
        let objects = base(name);
        let (mut kubelet, _) = self.without_token(rig, pod_of(&objects).unwrap(), &config_of(&objects), apps);
        kubelet.project(&self.cluster.token("shop", &kubelet.audience()));
        kubelet
    }
}

fn config_of(objects: &[Value]) -> String {
    of_kind(objects, "ConfigMap")["data"]["squire.toml"].as_str().unwrap().to_owned()
}

/// The least policy of a configuration.
fn policy(config: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_squire"))
        .args(["policy", "-c"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// No secret is in what Squire said or wrote elsewhere.
#[track_caller]
fn assert_nothing_leaked(rig: &Rig) {
    assert_eq!(rig.leak(&rig.canaries().hunt()), None);
}

/// An app that tells what it reads, each time that it is something else, and what it can do that it should not.
const READER: &str = r#"
    trap 'exit 0' TERM
    echo "user $(id -u) groups $(id -G)"
    (echo x > /secrets/app/x) 2>/dev/null && echo FORBIDDEN: it writes
    (echo x > /x) 2>/dev/null && echo FORBIDDEN: it writes to its root
    ls /run/squire /var/run/secrets/squire /etc/squire >/dev/null 2>&1 && echo FORBIDDEN: it sees what is Squire\'s
    while :; do
        now=$(cat /secrets/app/db.json)
        [ "$now" = "$last" ] || echo "read $now"
        last=$now
        sleep 0.05
    done
"#;

/// The last credentials that the app read: the user, and whether PostgreSQL takes them.
fn credentials(kubelet: &Kubelet<'_>, rig: &Rig, name: &str) -> (String, bool) {
    let log = kubelet.log(name);
    let Some(last) =
        log.lines().rev().find_map(|line| serde_json::from_str::<Value>(line.strip_prefix("read ")?).ok())
    else {
        return (String::new(), false);
    };
    rig.canaries().add_all(&last["password"]);
    let [user, password] = ["user", "password"].map(|field| last[field].as_str().unwrap().to_owned());
    let works = log_in(&Postgres::shared().url_for(&user, &password)).is_ok();
    (user, works)
}

/// Waits until PostgreSQL does not take them any more: the server removes the user after it has answered.
#[track_caller]
fn gone(kubelet: &Kubelet<'_>, rig: &Rig, name: &str) {
    wait_until(SOON, "the credentials are given back", || !credentials(kubelet, rig, name).1);
}

/// Memory of a process, by the name that the kernel has for it, in KiB.
fn memory(process: i32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_sidecar_comes_before_the_app_and_ends_after_it() {
    // Its own server, since it is halted.
    let site = Site::start();
    let (rig, objects) = (site.rig(), base("sidecar"));
    let (mut kubelet, listen) =
        site.without_token(&rig, pod_of(&objects).unwrap(), &config_of(&objects), &[("shop", READER)]);
    // Without its token Squire waits, alive, and the app is not started.
    kubelet.start_only("squire");
    kubelet.until("squire", "it waits for the token", || {
        kubelet.log("squire").contains("/var/run/secrets/squire/token")
    });
    assert!(kubelet.probe("squire", "livenessProbe") && !kubelet.probe("squire", "startupProbe"));
    // Neither is it while the server is down.
    site.bao.halt();
    kubelet.project(&site.cluster.token("shop", "vault"));
    assert!(kubelet.probe("squire", "livenessProbe") && !kubelet.probe("squire", "startupProbe"));
    site.bao.go_on();
    kubelet.start();
    let check = kubelet.exec("squire", &["squire", "check", "-c", "/etc/squire/squire.toml"]);
    assert!(check.status.success(), "{check:?}");
    kubelet.until("shop", "the app has credentials", || credentials(&kubelet, &rig, "shop").1);
    let (first, _) = credentials(&kubelet, &rig, "shop");

    // New credentials reach the app.
    let refresh = kubelet.exec("squire", &["squire", "refresh", "-c", "/etc/squire/squire.toml", "--wait"]);
    assert!(refresh.status.success(), "{refresh:?}");
    kubelet.until(
        "shop",
        "the app has others",
        || matches!(credentials(&kubelet, &rig, "shop"), (user, true) if user != first),
    );
    // An outage is no reason to restart it, nor to take the pod out of service.
    site.bao.halt();
    assert!(kubelet.probe("squire", "livenessProbe") && kubelet.probe("squire", "startupProbe"));
    site.bao.go_on();

    // A ConfigMap that is exchanged is taken, in place.
    let file = "[[file]]\npath = \"user\"\ninline = \"{{db.username}}\"\n[agent]";
    let changed = fs::read_to_string(kubelet.volume("squire-config").join("squire.toml"))
        .unwrap()
        .replace("[agent]", file);
    kubelet.exchange("squire-config", "squire.toml", &changed, 0o644);
    let user = kubelet.volume("squire-secrets").join("app/user");
    kubelet.until("squire", "the new file is there", || fs::read_to_string(&user).is_ok());

    // A Squire that is killed takes over what it held.
    let (held, _) = credentials(&kubelet, &rig, "shop");
    // The most that was resident, with the pages of the program itself, which the kernel may drop; and what is Squire's own.
    let [peak, own] = ["VmHWM:", "RssAnon:"].map(|what| memory(kubelet.process("squire"), what));
    kill(Pid::from_raw(kubelet.process("squire")), Signal::SIGKILL).unwrap();
    kubelet.wait("squire");
    kubelet.start_only("squire");
    kubelet.until("squire", "it is ready again", || kubelet.probe("squire", "startupProbe"));
    assert_eq!(credentials(&kubelet, &rig, "shop"), (held, true));
    let metrics =
        ureq::get(format!("http://{listen}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("squire_"), "{metrics}");

    assert_eq!(kubelet.stop(), [("shop".to_owned(), 0), ("squire".to_owned(), 0)]);
    gone(&kubelet, &rig, "shop");
    assert!(fs::metadata(kubelet.volume("squire-secrets").join("app/db.json")).is_err(), "the file is left");
    let log = kubelet.log("shop");
    assert!(log.starts_with("user 10001 groups ") && log.lines().next().unwrap().contains("65532"), "{log}");
    assert!(!log.contains("FORBIDDEN"), "{log}");
    eprintln!("this build of Squire as a sidecar: {peak} KiB at most, {own} KiB of its own");
    assert!(own < LIMIT / 2, "{own} KiB");
    assert_nothing_leaked(&rig);
}

/// A node is drained while the server does not answer: what Squire holds cannot be given back, and the pod ends all the same, well within the 60
/// seconds of its grace (`Kubelet::wait` has fewer).
#[test]
fn a_pod_that_is_drained_in_an_outage_ends_in_time() {
    let site = Site::start();
    let rig = site.rig();
    let mut kubelet = site.pod(&rig, "sidecar", &[("shop", READER)]);
    kubelet.start();
    kubelet.until("shop", "the app has credentials", || credentials(&kubelet, &rig, "shop").1);
    site.bao.halt();
    assert_eq!(kubelet.stop(), [("shop".to_owned(), 0), ("squire".to_owned(), 0)]);
    assert!(fs::metadata(kubelet.volume("squire-secrets").join("app/db.json")).is_err(), "the file is left");
    site.bao.go_on();
    assert_nothing_leaked(&rig);
}

#[test]
fn an_init_container_publishes_and_ends() {
    let site = Site::shared();
    let rig = site.rig();
    let mut kubelet = site.pod(&rig, "init", &[("shop", "cat /secrets/app/api-key")]);
    let check = kubelet.exec("squire", &["squire", "check", "-c", "/etc/squire/squire.toml"]);
    assert!(check.status.success(), "{check:?}");
    kubelet.start();
    assert_eq!((kubelet.wait("shop"), kubelet.log("shop")), (0, site.key.clone()));
    assert_nothing_leaked(&rig);
}

/// A token that was made for another service is no login, whoever presents it; neither is one of another account.
#[test]
fn a_token_for_somebody_else_is_refused() {
    let site = Site::shared();
    for name in ["init", "sidecar"] {
        for (account, audience) in [("shop", "https://kubernetes.default.svc"), ("other", "vault")] {
            let (rig, objects) = (site.rig(), base(name));
            let (mut kubelet, _) =
                site.without_token(&rig, pod_of(&objects).unwrap(), &config_of(&objects), &[]);
            kubelet.project(&site.cluster.token(account, audience));
            kubelet.start_only("squire");
            kubelet
                .until("squire", "the login is refused", || kubelet.log("squire").contains("login refused"));
            if name == "init" {
                assert_eq!(kubelet.wait("squire"), 1, "the pod starts");
            } else {
                assert!(!kubelet.probe("squire", "startupProbe") && kubelet.probe("squire", "livenessProbe"));
            }
            assert!(fs::metadata(kubelet.volume("squire-secrets").join("app/..data")).is_err());
            assert_nothing_leaked(&rig);
        }
    }
}

/// Writes its environment where only this container looks.
const WRAPPED: &str = r#"
    echo "{\"user\": \"$DB_USER\", \"password\": \"$DB_PASSWORD\"}" >> /run/squire/seen
    env | grep -q VAULT_ && echo FORBIDDEN: it has what is Squire\'s
    trap 'exit 0' TERM
    while :; do sleep 0.05; done
"#;

#[test]
fn a_wrapper_is_process_1_of_the_apps_container() {
    let site = Site::shared();
    let rig = site.rig();
    let mut kubelet = site.pod(&rig, "wrapper", &[("shop", WRAPPED)]);
    kubelet.start();
    kubelet.until("shop", "the app runs", || kubelet.probe("shop", "startupProbe"));
    let check = kubelet
        .exec("shop", &["/squire-bin/squire", "check", "-c", "/etc/squire/squire.toml", "--", "/bin/sh"]);
    assert!(check.status.success(), "{check:?}");
    let refresh =
        kubelet.exec("shop", &["/squire-bin/squire", "refresh", "-c", "/etc/squire/squire.toml", "--wait"]);
    assert!(refresh.status.success(), "{refresh:?}");
    let seen: Vec<Value> =
        rig.read("volumes/squire-run/seen").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(seen.len() == 2 && seen[0] != seen[1], "the app is restarted with other credentials");
    for seen in &seen {
        rig.canaries().add_all(&seen["password"]);
    }
    assert!(works(&seen[1]) && kubelet.probe("shop", "livenessProbe"));
    assert_eq!(kubelet.stop(), [("shop".to_owned(), 0)]);
    wait_until(SOON, "the credentials are given back", || !works(&seen[1]));
    assert!(!kubelet.log("shop").contains("FORBIDDEN"), "{}", kubelet.log("shop"));
    assert_nothing_leaked(&rig);
}

fn works(seen: &Value) -> bool {
    let [user, password] = ["user", "password"].map(|field| seen[field].as_str().unwrap().to_owned());
    log_in(&Postgres::shared().url_for(&user, &password)).is_ok()
}

/// With half of the memory that the base allows.
#[test]
fn a_job_ends_and_squire_ends_with_it() {
    let site = Site::shared();
    let (rig, objects) = (site.rig(), base("job"));
    let mut pod = pod_of(&objects).unwrap();
    pod["spec"]["initContainers"][0]["resources"]["limits"]["memory"] = json!("32Mi");
    let task = "echo \"read $(cat /secrets/app/db.json)\"";
    let (mut kubelet, _) = site.without_token(&rig, pod, &config_of(&objects), &[("migrate", task)]);
    kubelet.project(&site.cluster.token("shop", &kubelet.audience()));
    kubelet.start();
    assert_eq!(kubelet.wait("migrate"), 0);
    assert!(kubelet.runs("squire") && credentials(&kubelet, &rig, "migrate").1, "it is stopped only now");
    assert_eq!(kubelet.stop(), [("migrate".to_owned(), 0), ("squire".to_owned(), 0)]);
    gone(&kubelet, &rig, "migrate");
    assert_nothing_leaked(&rig);
}

#[test]
fn a_cron_job_ends_as_its_task_does_and_leaves_nothing() {
    let site = Site::shared();
    let rig = site.rig();
    let task = "echo \"{\\\"user\\\": \\\"$DB_USER\\\", \\\"password\\\": \\\"$DB_PASSWORD\\\"}\" > /run/squire/seen; exit 3";
    let mut kubelet = site.pod(&rig, "cronjob", &[("report", task)]);
    kubelet.start();
    assert_eq!(kubelet.wait("report"), 3, "{}", kubelet.log("report"));
    let seen: Value = serde_json::from_str(&rig.read("volumes/squire-run/seen")).unwrap();
    rig.canaries().add_all(&seen["password"]);
    wait_until(SOON, "the credentials are given back", || !works(&seen));
    assert_nothing_leaked(&rig);
}

#[test]
fn an_injected_pod_runs_like_one_that_was_written_so() {
    let site = Site::shared();
    let rig = site.rig();
    let (mut kubelet, _) =
        site.without_token(&rig, admitted(&plain_pod()), &config_of(&base("sidecar")), &[("shop", READER)]);
    kubelet.project(&site.cluster.token("shop", &kubelet.audience()));
    kubelet.start();
    kubelet.until("shop", "the app has credentials", || credentials(&kubelet, &rig, "shop").1);
    assert_eq!(kubelet.stop(), [("shop".to_owned(), 0), ("squire".to_owned(), 0)]);
    gone(&kubelet, &rig, "shop");
    assert!(!kubelet.log("shop").contains("FORBIDDEN"), "{}", kubelet.log("shop"));
    assert_nothing_leaked(&rig);
}

/// `medium: Memory` was forgotten.
#[test]
fn a_volume_on_a_disk_is_refused() {
    let site = Site::shared();
    let rig = site.rig();
    let objects = base("sidecar");
    let mut pod = pod_of(&objects).unwrap();
    for volume in pod["spec"]["volumes"].as_array_mut().unwrap() {
        if volume["name"] == "squire-secrets" {
            volume["emptyDir"].as_object_mut().unwrap().remove("medium");
        }
    }
    let (mut kubelet, _) = site.without_token(&rig, pod, &config_of(&objects), &[]);
    kubelet.project(&site.cluster.token("shop", "vault"));
    kubelet.start_only("squire");
    assert_eq!(kubelet.wait("squire"), 125, "{}", kubelet.log("squire"));
    assert!(kubelet.log("squire").contains("may keep secrets on disk"), "{}", kubelet.log("squire"));
    let nothing = || fs::read_dir(kubelet.volume("squire-secrets")).unwrap().count() == 0;
    wait_until(std::time::Duration::from_secs(1), "nothing is on the disk", nothing);
}
