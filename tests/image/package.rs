//! The package of `deploy/package/build`: installed by dpkg in a root of its own, where nothing else is, run there, and removed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::site::repository;
use crate::support::{Outcome, fresh, on_tmpfs, skipped};

/// Runs a program to its end, with this as its input.
fn run(command: &mut Command, input: &str) -> Outcome {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A package manager's root with nothing in it.
fn dpkg(root: &Path, arguments: &[&str]) -> Outcome {
    let outcome =
        run(Command::new("dpkg").arg("--root").arg(root).arg("--force-depends").args(arguments), "");
    assert_eq!(outcome.code, 0, "dpkg {arguments:?}: {outcome:?}");
    outcome
}

/// The installed program, with the devices that every machine has, and nothing else.
fn squire(root: &Path, arguments: &[&str], input: &str) -> String {
    let mut bwrap = Command::new("bwrap");
    bwrap.arg("--bind").arg(root).args([
        "/",
        "--dev",
        "/dev",
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
    ]);
    let outcome = run(bwrap.arg("/usr/bin/squire").args(arguments), input);
    assert_eq!(outcome.code, 0, "squire {arguments:?}: {outcome:?}");
    outcome.stdout
}

#[test]
fn the_package_is_installed_runs_and_is_removed_without_a_trace() {
    if !geteuid().is_root() {
        skipped("the package: dpkg needs root for a root of its own");
        return;
    }
    let package = format!("target/package/squire_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
    let package = repository(&package);
    assert!(Path::new(&package).exists(), "there is no {package}: start the tests with tests/run");
    let root = on_tmpfs("root");
    let root = root.path();
    std::fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    std::fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    dpkg(root, &["--install", &package]);
    assert!(dpkg(root, &["--status", "squire"]).stdout.contains("Status: install ok installed"));
    assert_eq!(dpkg(root, &["--verify", "squire"]).stdout, "", "a file is not as it was packed");
    is_whole(root);
    works(root);
    dpkg(root, &["--purge", "squire"]);
    for gone in ["usr/bin/squire", "usr/share/man", "lib/systemd"] {
        assert!(!root.join(gone).exists(), "{gone} is left");
    }
}

/// Program, units, manual pages and completions are where Debian has them.
fn is_whole(root: &Path) {
    for unit in
        ["squire@.service", "squire@.socket", "squire-credentials.service", "squire-credentials.socket"]
    {
        let installed = std::fs::read(root.join("lib/systemd/system").join(unit)).unwrap();
        assert_eq!(installed, std::fs::read(repository(&format!("deploy/systemd/{unit}"))).unwrap());
    }
    let pages = root.join("usr/share/man/man1");
    for page in ["squire", "squire-run", "squire-store"] {
        let page = run(Command::new("zcat").arg(pages.join(format!("{page}.1.gz"))), "");
        assert!(page.code == 0 && page.stdout.contains(".TH "), "{page:?}");
    }
    let completions = root.join("usr/share/bash-completion/completions/squire");
    let completed =
        run(Command::new("bash").args(["-c", "source $0 && complete -p squire"]).arg(completions), "");
    assert!(completed.stdout.contains("_squire"), "{completed:?}");
    for file in
        ["zsh/vendor-completions/_squire", "fish/vendor_completions.d/squire.fish", "doc/squire/copyright"]
    {
        assert!(root.join("usr/share").join(file).exists(), "{file}");
    }
}

/// The program needs no library and no `/proc` for a store.
fn works(root: &Path) {
    assert_eq!(squire(root, &["--version"], "").split_whitespace().nth(1), Some(env!("CARGO_PKG_VERSION")));
    let password = fresh("password");
    squire(root, &["store", "--store", "/app.store", "init"], "");
    let put = ["store", "--store", "/app.store", "put", "prod/app/db"];
    squire(root, &put, &serde_json::json!({ "password": password }).to_string());
    let got = squire(root, &["store", "--store", "/app.store", "get", "prod/app/db", "--show"], "");
    assert!(got.contains(&password), "{got}");
}
