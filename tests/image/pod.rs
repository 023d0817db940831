//! `deploy/podman` by `podman kube play`: an init container publishes and hands its token and its lease over to the sidecar.

use serde_json::Value;

use crate::machine::{Container, Machine};
use crate::site::{Site, repository};
use crate::support::{Bao, Postgres, SOON, holds_within, log_in, wait_until};

/// `deploy/podman/pod.yaml` with the directories of a site, a name of its own, and the network of the machine, which the server is on.
pub(crate) struct Pod {
    machine: &'static Machine,
    name: String,
    file: String,
}

impl Pod {
    /// Starts it after a change of its specification.
    pub(crate) fn play(machine: &'static Machine, site: &Site, change: impl FnOnce(&mut Value)) -> Self {
        let text = std::fs::read_to_string(repository("deploy/podman/pod.yaml")).unwrap();
        let mut text = text;
        for (from, to) in
            [("/etc/squire/shop", "etc"), ("/run/shop/secrets", "secrets"), ("/run/shop/squire", "run")]
        {
            assert!(text.contains(&format!("path: {from},")), "{from}");
            text =
                text.replace(&format!("path: {from},"), &format!("path: {},", site.rig.path(to).display()));
        }
        let mut pod: Value = serde_norway::from_str(&text).unwrap();
        let name = format!("shop-{:08x}", fastrand::u32(..));
        pod["metadata"]["name"] = name.clone().into();
        pod["spec"]["hostNetwork"] = true.into();
        change(&mut pod["spec"]);
        // JSON is YAML.
        site.rig.write("pod.yaml", &pod.to_string());
        let file = site.rig.path("pod.yaml").to_str().unwrap().to_owned();
        let pod = Self { machine, name, file };
        machine.must(&["kube", "play", &pod.file]);
        pod
    }

    /// One of its containers.
    pub(crate) fn container(&self, name: &str) -> Container {
        Container::of_pod(self.machine, &format!("{}-{name}", self.name))
    }

    /// Ends it as an operator does.
    fn down(&self) {
        self.machine.must(&["kube", "down", &self.file]);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.machine.podman(&["pod", "rm", "--force", "--time", "0", &self.name]);
    }
}

/// The configuration of `deploy/podman` for a server and a role of the database.
fn config(address: &str, role: &str) -> String {
    let text = std::fs::read_to_string(repository("deploy/podman/squire.toml")).unwrap();
    let adapted =
        text.replace("https://vault.internal:8200", address).replace("creds/shop", &format!("creds/{role}"));
    assert!(adapted.contains(address) && adapted.contains(role));
    adapted
}

/// The user that the app was last told of; its password is a canary from then on.
fn told(site: &Site) -> Option<(String, String)> {
    let notes = site.notes();
    let last = notes.iter().rev().find_map(|note| note.strip_prefix("HUP "))?;
    let read: Value = serde_json::from_str(last).ok()?;
    site.rig.canaries().add_all(&read["password"]);
    Some((read["user"].as_str()?.to_owned(), read["password"].as_str()?.to_owned()))
}

#[test]
fn an_init_container_hands_its_lease_over_to_the_sidecar() {
    let Some(machine) = Machine::shared() else { return };
    // Its own server, whose requests are counted.
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    let role = format!("p{:06x}", fastrand::u32(..) >> 8);
    bao.connect_database(postgres, &role, 3600, 7200);
    let tenant = bao.tenant();
    let site = Site::new(&tenant);
    site.rig.write("etc/squire.toml", &config(bao.address(), &role));
    let creds = format!("database/creds/{role}");
    let logs_in = |told: Option<(String, String)>| {
        told.is_some_and(|(user, password)| log_in(&postgres.url_for(&user, &password)).is_ok())
    };

    let pod = Pod::play(machine, &site, |spec| {
        // The app tells where the test looks.
        let seen = serde_json::json!({"name": "seen", "hostPath": {"path": site.rig.path("seen"), "type": "Directory"}});
        spec["volumes"].as_array_mut().unwrap().push(seen);
        let mount = serde_json::json!({"name": "seen", "mountPath": "/seen"});
        spec["containers"][1]["volumeMounts"].as_array_mut().unwrap().push(mount);
    });
    let (squire, app) = (pod.container("squire"), pod.container("shop"));
    // What the init container published was there before the sidecar and the app were.
    squire.until("the sidecar has taken over", || {
        squire.log().contains("lease of an earlier run adopted") && site.rig.path("seen/pid").exists()
    });
    assert_eq!(bao.leases(&creds).len(), 1, "one lease in all");
    assert_eq!(bao.count(&format!("read {creds}")), 1, "{:?}", bao.requests());
    assert_eq!(bao.count("update auth/approle/login"), 1, "{:?}", bao.requests());
    let first: Value = serde_json::from_str(&site.rig.read("secrets/app/secret")).unwrap();
    site.rig.canaries().add_all(&first["password"]);

    let refresh = ["exec", squire.name(), "squire", "refresh", "-c", "/etc/squire/squire.toml", "--wait"];
    machine.must(&refresh);
    app.until("the app has another user", || {
        told(&site).is_some_and(|(user, _)| first["user"] != user.as_str())
    });
    assert!(logs_in(told(&site)));
    let notes = site.notes();
    assert!(!notes.iter().any(|note| note.starts_with("FORBIDDEN")), "{notes:?}");
    site.assert_says_no_secret(&squire.log());
    // In this order: `kube down` alone leaves Squire no time to give back.
    app.stop();
    assert_eq!(squire.stop(), 0);
    let mut left = Vec::new();
    let given_back = holds_within(SOON, || {
        left = bao.leases(&creds);
        left.is_empty()
    });
    assert!(given_back, "{left:?} are left");
    wait_until(SOON, "the user is gone", || !logs_in(told(&site)));
    assert!(!site.rig.path("secrets/app/secret").exists(), "a secret is left");
    pod.down();
}
