//! Three OpenBao servers as one cluster, with integrated storage, on loopback and without TLS.
//!
//! *Invariant:* every node answers reads itself, with a small delay, and passes writes on to the leader.

use serde_json::json;

use super::bao::Bao;
use super::daemon::free_port;
use super::{SOON, holds_within, scratch, wait_until};

/// A running cluster, unsealed and with everything mounted.
pub(crate) struct Cluster {
    nodes: Vec<Bao>,
}

impl Cluster {
    /// A cluster of the test's own.
    pub(crate) fn start() -> Self {
        (0..5).find_map(|_| Self::try_start()).expect("the cluster did not start in five tries")
    }

    fn try_start() -> Option<Self> {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let first = launch(0, &ports);
        let mut answer = None;
        holds_within(SOON, || {
            answer = first.api().try_post("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
            answer.as_ref().is_some_and(|(status, _)| *status == 200) || first.has_ended()
        });
        let (_, keys) = answer.filter(|(status, _)| *status == 200)?;
        let key = keys["keys_base64"][0].as_str()?;
        let token = keys["root_token"].as_str()?;
        let first = first.with_token(token);
        if !unseal(&first, key, 200) {
            return None;
        }
        let mut nodes = vec![first];
        for number in 1..3 {
            let node = launch(number, &ports).with_token(token);
            if !unseal(&node, key, 429) {
                return None;
            }
            nodes.push(node);
        }
        // Until the cluster counts it as stable, a node that joins has no vote, and without it no leader can be elected.
        wait_until(SOON * 3, "all three nodes vote", || {
            let servers =
                nodes[0].api().get("sys/storage/raft/configuration")["data"]["config"]["servers"].clone();
            servers.as_array().is_some_and(|servers| {
                servers.len() == 3 && servers.iter().all(|server| server["voter"] == true)
            })
        });
        nodes[0].api().post("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}}));
        nodes[0].mount_all();
        Some(Self { nodes })
    }

    /// The leader at the start of the cluster.
    pub(crate) fn leader(&self) -> &Bao {
        &self.nodes[0]
    }

    /// The other nodes.
    pub(crate) fn standbys(&self) -> &[Bao] {
        &self.nodes[1..]
    }

    /// Ends the first leader and returns its successor once there is one; `meanwhile` is called repeatedly until then.
    pub(crate) fn crash_leader(&self, mut meanwhile: impl FnMut()) -> &Bao {
        self.leader().crash();
        let mut successor = None;
        wait_until(SOON * 3, "there is another leader", || {
            meanwhile();
            successor = self.standbys().iter().find(|node| health(node) == Some(200));
            successor.is_some()
        });
        successor.unwrap()
    }
}

fn launch(number: usize, ports: &[(u16, u16)]) -> Bao {
    let directory = scratch::on_disk("cluster");
    let (port, cluster_port) = ports[number];
    let join: Vec<String> = ports
        .iter()
        .map(|(port, _)| format!("retry_join {{ leader_api_addr = \"http://127.0.0.1:{port}\" }}\n"))
        .collect();
    let configuration = format!(
        r#"
        storage "raft" {{
            path = "{data}"
            node_id = "node-{number}"
            {join}
        }}
        listener "tcp" {{
            address = "127.0.0.1:{port}"
            cluster_address = "127.0.0.1:{cluster_port}"
            tls_disable = true
        }}
        api_addr = "http://127.0.0.1:{port}"
        cluster_addr = "https://127.0.0.1:{cluster_port}"
        "#,
        join = join.concat(),
        data = directory.path().display(),
    );
    Bao::launch(directory, &[], &configuration, &format!("http://127.0.0.1:{port}"))
}

/// Unseals a node repeatedly until its health has this status, since a node that has not joined yet cannot be unsealed.
fn unseal(node: &Bao, key: &str, healthy: u16) -> bool {
    holds_within(SOON * 2, || {
        if health(node) != Some(healthy) {
            node.api().try_post("sys/unseal", &json!({"key": key}));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        health(node) == Some(healthy) || node.has_ended()
    }) && !node.has_ended()
}

fn health(node: &Bao) -> Option<u16> {
    node.api().try_get("sys/health").map(|(status, _)| status)
}
