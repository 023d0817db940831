//! One program of `deploy/integrations` and what it works with: its AppRole, its secrets, its database, and the Squire above it.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::setup::{LONG, Setup, deployed, path, tests_venv};
use crate::support::postgres::SUPERUSER;
use crate::support::{Bao, Postgres, Rig, Squire, status, wait_until};

/// A program with an application of its own at the server.
pub(crate) struct Shop<'a> {
    pub(crate) rig: Rig,
    bao: &'a Bao,
    program: &'static str,
    app: String,
    setup: Setup,
}

impl<'a> Shop<'a> {
    /// The program in this directory of `deploy/integrations`, with these tables of `shop.toml` beside the AppRole `app`, and with these values
    /// of secrets in place of those that the set-up would make.
    pub(crate) fn new(
        program: &'static str,
        bao: &'a Bao,
        postgres: Option<&Postgres>,
        tables: &[&str],
        secrets: &Value,
    ) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let app = format!("app{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let rig = Rig::at(bao.address());
        for name in ["setup", "id"] {
            std::fs::create_dir(rig.path(name)).unwrap();
            rig.allow_secrets_in(name);
        }
        let tables = [tables, &["approle.app"]].concat();
        let setup = Setup::new(&rig.path("setup"), bao, postgres, &app, &tables);
        let mut given = json!({"secret": secrets});
        if let Some(postgres) = postgres {
            postgres.execute(&format!("CREATE DATABASE {app}"));
            given["database"] = json!({"main": {"username": SUPERUSER, "password": postgres.password()}});
        }
        setup.give(&given);
        let shop = Self { rig, bao, program, app, setup };
        shop.learn(&given);
        shop
    }

    /// The name of the application.
    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// Changes the settings of the set-up.
    pub(crate) fn change_settings(&self, from: &str, to: &str) {
        let settings = self.setup.settings();
        assert!(settings.contains(from), "{from} is not in {settings}");
        self.setup.write_settings(&settings.replace(from, to));
    }

    /// Gives the set-up these values of secrets, instead of those of the beginning.
    pub(crate) fn give_only(&self, secrets: &Value) {
        self.learn(secrets);
        self.setup.give(&json!({"secret": secrets}));
    }

    /// Sets the server up, and starts the program under Squire with the configuration that is beside it. Programs of the rig's directory
    /// `programs` come before all others. Places and names are those of the
    /// test, and what else is in `changes` is replaced, too.
    pub(crate) fn open(&self, changes: &[(&str, &str)]) -> Squire<'_> {
        self.setup.succeed(&["--secrets", "{dir}/secrets.json", "--issue", "{dir}/../id"]);
        let wrapped = self.rig.read(&format!("id/{}-app.wrapped-secret-id", self.app));
        self.rig.canaries().add(&wrapped);
        let program = deployed(&format!("integrations/{}", self.program));
        let mut text = std::fs::read_to_string(program.join("squire.toml")).unwrap();
        let app = &self.app;
        for (from, to) in [
            ("/etc/squire", "@dir@/id"),
            ("/run/squire-id", "@dir@/id"),
            ("/run/secrets/shop", "@dir@/out"),
            ("/opt/shop", program.to_str().unwrap()),
            ("shop-app", &format!("{app}-app")),
            ("secret/shop/", &format!("secret/{app}/")),
            ("creds/shop-", &format!("creds/{app}-")),
            ("dbname=shop", &format!("dbname={app}")),
            ("5432/shop", &format!("5432/{app}")),
            ("\"30s\"\n", "\"1s\"\n"),
        ] {
            text = text.replace(from, to);
        }
        for (from, to) in changes {
            assert!(text.contains(from), "{from} is not in {text}");
            text = text.replace(from, to);
        }
        self.rig.whole_config(&text);
        self.rig.set("VAULT_ADDR", self.bao.address());
        self.rig.set("PYTHONDONTWRITEBYTECODE", "1");
        self.rig.set("PATH", &format!("{}:{}", self.rig.path("programs").display(), path()));
        self.rig.set("NODE_PATH", tests_venv("../test-node/node_modules").to_str().unwrap());
        self.rig.run()
    }

    /// Writes a new version of a secret.
    pub(crate) fn put(&self, name: &str, fields: &Value) {
        self.learn(fields);
        self.bao.api().post(&format!("secret/data/{}/{name}", self.app), &json!({"data": fields}));
    }

    /// Learns what must not leak: a program may say who it is.
    fn learn(&self, fields: &Value) {
        for (name, value) in fields.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(_) if name == "username" => {}
                Some(text) => self.rig.canaries().add(text),
                None => self.learn(value),
            }
        }
    }

    /// The lines that the program has printed so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.rig.read("stdout.1");
        text[..text.rfind('\n').map_or(0, |end| end + 1)].lines().map(str::to_owned).collect()
    }

    /// Waits for this many more lines that contain a text.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, squire: &mut Squire<'_>, more: usize, text: &str) {
        let count = || self.lines().iter().filter(|line| line.contains(text)).count();
        let before = count();
        squire.wait_at_most(LONG, &format!("{more} more lines with {text}"), || count() >= before + more);
    }

    /// Checks that everything that the program has done went well, and that it was never started anew.
    #[track_caller]
    pub(crate) fn all_went_well(&self) {
        let lines = self.lines();
        assert!(lines.iter().all(|line| line.starts_with("ok")), "{lines:?}");
        self.was_never_restarted();
    }

    /// Checks that the process of the beginning still runs.
    #[track_caller]
    pub(crate) fn was_never_restarted(&self) {
        assert_eq!(status(&self.rig)["process"]["starts"], 1);
    }

    /// Waits until the newest rollout of at least this generation is committed.
    #[track_caller]
    pub(crate) fn wait_for_commit(&self, generation: u64) {
        wait_until(LONG, &format!("generation {generation} is committed"), || {
            status(&self.rig)["generation"]["live"].as_u64().is_some_and(|live| live >= generation)
        });
    }
}
