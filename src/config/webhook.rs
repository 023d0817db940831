//! `[webhook]`: who may push, and what is refreshed then.
//!
//! *Invariant:* there is a door that a webhook can come by: the listener or the socket.

use ipnet::{IpNet, Ipv4Net};

use super::reader::{Table, Value, every};
use super::value::{Form, WORD};
use super::{AgentConfig, Place, SocketConfig};
use crate::names::SecretName;

/// `[webhook]`: a rotation job may say that there are new values.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfig {
    /// `key`: a template of one field of a secret, by which webhooks are signed.
    pub key: String,
    /// `secrets`: what is fetched then; all if there are none. Default all.
    pub secrets: Vec<SecretName>,
    /// `allow`: the networks that a webhook may come from by the listener; any if there are none. Default any.
    pub allow: Vec<IpNet>,
    /// Where it stands in the configuration.
    pub place: Place,
}

/// Reads `[webhook]`.
pub(super) fn webhook(table: Option<Table<'_>>, agent: &AgentConfig) -> Option<WebhookConfig> {
    let mut table = table?;
    if agent.listen.is_none() && agent.socket == SocketConfig::Nowhere {
        table.report(
            "nobody could send one: `agent.socket` is \"none\" and there is no `agent.listen`; write for example \
             listen = \"127.0.0.1:9790\" in [agent]",
        );
    }
    let key = table.require("key", "key = \"{{hook.key}}\", where [secret.hook] has the key");
    let key = key.and_then(|key| key.verbatim("a template in quotes, such as \"{{hook.key}}\""));
    let secrets = table.take("secrets").and_then(|value| secrets(&value)).unwrap_or_default();
    let allow = table.take("allow").and_then(|value| networks(&value)).unwrap_or_default();
    let place = table.place().clone();
    table.finish();
    Some(WebhookConfig { key: key?, secrets, allow, place })
}

fn secrets(value: &Value<'_>) -> Option<Vec<SecretName>> {
    let items = value.list("a list of names, such as [\"db\"]")?;
    if items.is_empty() {
        value.report("names no secret, so a webhook would do nothing; leave it out to refresh all of them");
    }
    every(items.iter().map(|item| item.read(&WORD).map(SecretName::new)))
}

fn networks(value: &Value<'_>) -> Option<Vec<IpNet>> {
    let items = value.list("a list of networks, such as [\"10.0.0.0/8\", \"::1/128\"]")?;
    if items.is_empty() {
        value.report("allows nobody; leave it out to allow every address, or take [webhook] away");
    }
    every(items.iter().map(|item| item.read(&NETWORK)))
}

/// An address alone is a network of one.
const NETWORK: Form<IpNet> = Form {
    expected: "a network, such as \"10.0.0.0/8\"",
    shown: true,
    read: |text| {
        let network =
            text.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)));
        let network = network.ok_or("is no network; write for example \"10.0.0.0/8\" or \"::1/128\"")?;
        if network.addr() != network.network() {
            return Err(format!("has bits beyond its prefix; write \"{}\"", network.trunc()));
        }
        Ok(canonical(network))
    },
};

/// A network of IPv4 that is written as one of IPv6, as senders are known that come so.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let prefix = mapped.prefix_len().checked_sub(96);
    let parts = mapped.addr().to_ipv4_mapped().zip(prefix);
    parts.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_network_is_the_one_that_its_senders_are_known_by() {
        let known = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(known("::ffff:127.0.0.0/104"), "127.0.0.0/8");
        assert_eq!(known("::ffff:192.0.2.1/128"), "192.0.2.1/32");
        assert_eq!(known("::ffff:0.0.0.0/95"), "::ffff:0.0.0.0/95", "it has others, too");
        assert_eq!((known("10.0.0.0/8"), known("::1/128")), ("10.0.0.0/8".to_owned(), "::1/128".to_owned()));
    }
}
