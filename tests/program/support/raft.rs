//! An OpenBao server as in production: sealed at its start, integrated storage, TLS.
//!
//! The tests set it up through a second listener without TLS, which Squire does not know.
//!
//! *Invariant:* certificates are made for each server and are not valid elsewhere.

use std::path::PathBuf;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::bao::Bao;
use super::certificates::{Shown, authority};
use super::daemon::free_port;
use super::front::shown_on;
use super::{SOON, holds_within, scratch, wait_until};

/// A running server, unsealed and with everything mounted, until it is sealed.
pub(crate) struct Raft {
    bao: Bao,
    tls_port: u16,
    unseal_key: String,
    certificates: TempDir,
}

impl Raft {
    /// A server of the test's own. With `mutual` it demands client certificates of its authority.
    pub(crate) fn start(mutual: bool) -> Self {
        (0..5)
            .find_map(|_| Self::try_start(mutual))
            .expect("the bao server with raft did not start in five tries")
    }

    fn try_start(mutual: bool) -> Option<Self> {
        let directory = scratch::on_disk("raft");
        let certificates = make_certificates();
        let (plain_port, tls_port, cluster_port) = (free_port(), free_port(), free_port());
        let file = |name: &str| certificates.path().join(name).display().to_string();
        let demand = if mutual {
            format!("tls_require_and_verify_client_cert = true\n tls_client_ca_file = \"{}\"", file("ca.pem"))
        } else {
            "tls_disable_client_certs = true".to_owned()
        };
        let configuration = format!(
            r#"
            storage "raft" {{ path = "{data}"  node_id = "one" }}
            listener "tcp" {{ address = "127.0.0.1:{plain_port}"  tls_disable = true }}
            listener "tcp" {{
                address = "127.0.0.1:{tls_port}"
                cluster_address = "127.0.0.1:{cluster_port}"
                tls_cert_file = "{cert}"
                tls_key_file = "{key}"
                {demand}
            }}
            listener "unix" {{ address = "{socket}" }}
            api_addr = "https://127.0.0.1:{tls_port}"
            cluster_addr = "https://127.0.0.1:{cluster_port}"
            "#,
            socket = file("bao.sock"),
            data = directory.path().display(),
            cert = file("server.pem"),
            key = file("server-key.pem"),
        );
        let plain = format!("http://127.0.0.1:{plain_port}");
        let bao = Bao::launch(directory, &[], &configuration, &plain);
        let mut initialised = None;
        holds_within(SOON, || {
            initialised = bao.api().try_post("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
            initialised.as_ref().is_some_and(|(status, _)| *status == 200) || bao.has_ended()
        });
        let (_, keys) = initialised.filter(|(status, _)| *status == 200)?;
        let unseal_key = keys["keys_base64"][0].as_str().unwrap().to_owned();
        let bao = bao.with_token(keys["root_token"].as_str().unwrap());
        let raft = Self { bao, tls_port, unseal_key, certificates };
        raft.unseal();
        raft.bao.api().post("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}}));
        raft.bao.mount_all();
        Some(raft)
    }

    /// The client for the test itself.
    pub(crate) fn bao(&self) -> &Bao {
        &self.bao
    }

    /// The address with TLS.
    pub(crate) fn tls_address(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port)
    }

    /// One of `ca.pem`, `client.pem`, `client-key.pem`, `other-ca.pem` (which signed nothing here).
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.certificates.path().join(name)
    }

    /// The address of its socket.
    pub(crate) fn socket_address(&self) -> String {
        format!("unix://{}", self.certificate("bao.sock").display())
    }

    /// Uses this certificate from now on, instead of its first one.
    pub(crate) fn show(&self, shown: &Shown) {
        std::fs::write(self.certificate("server.pem"), shown.certificate.pem()).unwrap();
        std::fs::write(self.certificate("server-key.pem"), shown.key.serialize_pem()).unwrap();
        self.bao.reload();
        wait_until(SOON, "the server shows its new certificate", || {
            shown_on(self.tls_port).is_some_and(|der| der[..] == shown.certificate.der()[..])
        });
    }

    /// Seals the server: it answers 503 to everything.
    pub(crate) fn seal(&self) {
        self.bao.api().post("sys/seal", &json!({}));
    }

    /// Starts the server again after a crash and unseals it.
    pub(crate) fn come_back(&self) {
        self.bao.start_again();
        wait_until(SOON, "the server answers again", || self.bao.api().try_get("sys/seal-status").is_some());
        self.unseal();
    }

    /// Unseals it and waits until it is the leader of its cluster of one.
    pub(crate) fn unseal(&self) {
        self.bao.api().post("sys/unseal", &json!({"key": self.unseal_key}));
        wait_until(SOON, "the unsealed server is active", || {
            self.bao.api().try_get("sys/health").is_some_and(|(status, _)| status == 200)
        });
    }
}

fn make_certificates() -> TempDir {
    let directory = scratch::on_disk("tls");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let ours = authority("Squire test authority");
    write("ca.pem", &ours.pem());
    write("other-ca.pem", &authority("Some other authority").pem());
    for (name, usage) in
        [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let key = KeyPair::generate().unwrap();
        let mut parameters =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "bao.example".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &ours).unwrap();
        write(&format!("{name}.pem"), &certificate.pem());
        write(&format!("{name}-key.pem"), &key.serialize_pem());
    }
    directory
}
