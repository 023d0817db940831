//! What the containers of one test share: a server with a secret, the configuration, and the volumes.

use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::json;

use crate::machine::{Machine, SHOP, SQUIRE};
use crate::support::{Bao, Outcome, Rig, Tenant, fresh};

/// The user in the image.
pub(crate) const USER: u32 = 65532;

/// Nothing that a container could do without: no writable root, no `/tmp`, no `/etc/passwd`, no `/proc/sys`, no capability. Podman's filter of
/// system calls is on.
pub(crate) const BARE: [&str; 6] = [
    "--read-only",
    "--read-only-tmpfs=false",
    "--passwd=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--security-opt=mask=/proc/sys",
];

/// A rig whose directories are volumes: `etc` with configuration and credentials, `secrets` and `run` of Squire's, `seen` of the app's.
pub(crate) struct Site {
    pub(crate) rig: Rig,
}

impl Site {
    /// With the credentials of this tenant.
    pub(crate) fn new(tenant: &Tenant<'_>) -> Self {
        let rig = Rig::new(tenant);
        for credential in ["role-id", "secret-id"] {
            rig.write(&format!("etc/{credential}"), &rig.read(credential));
        }
        Self::of(rig)
    }

    /// The volumes of this rig.
    pub(crate) fn of(rig: Rig) -> Self {
        let site = Self { rig };
        for volume in ["etc", "secrets", "run", "seen"] {
            std::fs::create_dir_all(site.rig.path(volume)).unwrap();
            site.rig.allow_secrets_in(volume);
            site.give(volume, USER);
        }
        site
    }

    /// Gives a directory, with what is in it, to a user.
    pub(crate) fn give(&self, directory: &str, user: u32) {
        let directory = self.rig.path(directory);
        for entry in std::fs::read_dir(&directory).unwrap() {
            chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
        }
        chown(directory, Some(user), Some(user)).unwrap();
    }

    /// Writes the configuration: the source at this address, then the rest.
    pub(crate) fn config(&self, address: &str, rest: &str) {
        let text = format!(
            r#"
            [source.vault]
            address = "{address}"
            refresh = "500ms"
            [source.vault.auth.approle]
            role_id_file   = "/etc/squire/role-id"
            secret_id_file = "/etc/squire/secret-id"
            [secret.db]
            path = "secret/@tenant@/db"
            [output]
            dir = "/secrets/app"
            [[file]]
            path   = "secret"
            inline = "{{{{db.password}}}}"
            {rest}
            "#
        );
        self.rig.write("etc/squire.toml", &text);
    }

    /// The option that mounts one of the volumes.
    pub(crate) fn volume(&self, name: &str, at: &str) -> String {
        format!("--volume={}:{at}", self.rig.path(name).display())
    }

    /// The options, image and command of a container of Squire, with all that is restricted.
    pub(crate) fn squire(&self, machine: &Machine, options: &[&str], command: &[&str]) -> Vec<String> {
        let (etc, secrets) = (self.volume("etc", "/etc/squire:ro"), self.volume("secrets", "/secrets"));
        let run = self.volume("run", "/run/squire");
        let own = ["--network=host", "--env=SQUIRE_LOG=trace", &etc, &run];
        // A test may have something else at this place.
        let usual = [secrets.as_str()];
        let has_own = options.iter().any(|option| option.contains("/secrets"));
        let secrets = if has_own { &[][..] } else { &usual[..] };
        [&BARE[..], machine.memory(), &own, secrets, options, &[SQUIRE], command]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// Runs `squire render` in a container to its end.
    pub(crate) fn render(&self, machine: &Machine, options: &[&str]) -> Outcome {
        let command = ["render", "-c", "/etc/squire/squire.toml"];
        let arguments = self.squire(machine, options, &command);
        let arguments: Vec<_> =
            ["run", "--rm"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let outcome = machine.podman(&arguments);
        self.assert_says_no_secret(&outcome.stdout);
        self.assert_says_no_secret(&outcome.stderr);
        outcome
    }

    /// The options, image and command of the app.
    pub(crate) fn app(&self, options: &[&str]) -> Vec<String> {
        let volumes = [self.volume("secrets", "/secrets:ro"), self.volume("seen", "/seen")];
        let user = format!("--user={USER}:{USER}");
        let fixed = ["--network=none", "--read-only", "--cap-drop=all", &user, &volumes[0], &volumes[1]];
        [&fixed, options, &[SHOP, "/bin/shop"]].concat().into_iter().map(str::to_owned).collect()
    }

    /// What the app noted, as far as the lines are complete.
    pub(crate) fn notes(&self) -> Vec<String> {
        crate::support::notes(&self.rig)
    }

    #[track_caller]
    pub(crate) fn assert_says_no_secret(&self, log: &str) {
        assert_eq!(self.rig.canaries().hunt().find(log.as_bytes()), None, "it leaked");
    }
}

/// Borrowed arguments.
pub(crate) fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A tenant of the shared server whose secret has a new password.
pub(crate) fn tenant() -> (Tenant<'static>, String) {
    let tenant = Bao::shared().tenant();
    let password = rotate(&tenant);
    (tenant, password)
}

/// Gives the secret another password.
pub(crate) fn rotate(tenant: &Tenant<'_>) -> String {
    let password = fresh("password");
    tenant.write("db", &json!({ "password": password }));
    password
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}
