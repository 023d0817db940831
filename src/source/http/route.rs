//! Chooses the way to an address: directly, through a proxy, or by a socket of this machine.
//!
//! *Invariant:* pure. This machine, and addresses that only this machine can reach, are never asked through a proxy.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::origin;
use crate::config::{Proxy, is_this_machine};
use crate::secret::Secret;

/// See the module.
#[derive(Debug)]
pub(super) struct Routes(Option<Matcher>);

/// One way to a server.
pub(super) enum Route {
    /// By the network.
    Direct,
    /// By this socket.
    Socket(String),
    /// Through a proxy that only forwards bytes, since TLS is with the server itself.
    Tunnel(Intercept),
    /// Through a proxy that reads the request.
    Forward(Intercept),
}

impl Routes {
    pub(super) fn new(proxy: &Proxy) -> Self {
        let matcher = match proxy {
            Proxy::None => return Self(None),
            Proxy::Always(proxy) => Matcher::builder().all(proxy.expose().to_owned()),
            Proxy::Environment { https, http, except } => {
                let text = |proxy: &Option<_>| {
                    proxy.as_ref().map_or_else(String::new, |proxy: &Secret<str>| proxy.expose().to_owned())
                };
                Matcher::builder().https(text(https)).http(text(http)).no(except.clone())
            }
        };
        Self(Some(matcher.build()))
    }

    pub(super) fn to(&self, uri: &Uri) -> Route {
        let host = uri.host().unwrap_or_default();
        if let Some(socket) = origin::socket(host) {
            return Route::Socket(socket);
        }
        let matcher = self.0.as_ref().filter(|_| !is_near(host));
        match matcher.and_then(|matcher| matcher.intercept(uri)) {
            None => Route::Direct,
            Some(proxy) if uri.scheme_str() == Some("https") => Route::Tunnel(proxy),
            Some(proxy) => Route::Forward(proxy),
        }
    }
}

/// Where clouds have the same services over IPv6. AWS: `fd00:ec2::254` for machines, `fd00:ec2::23` for the pods of EKS. Google: `fd20:ce::254`.
const OF_CLOUDS: [[u16; 2]; 2] = [[0xfd00, 0xec2], [0xfd20, 0xce]];

/// Whether a host is this machine, or only this machine reaches it: the services of a cloud for its machines have link-local addresses.
fn is_near(host: &str) -> bool {
    if is_this_machine(host) {
        return true;
    }
    // An IPv4 address may be written as one of IPv6.
    match host.trim_matches(['[', ']']).parse().map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            let [one, two, ..] = address.segments();
            address.is_unicast_link_local() || OF_CLOUDS.contains(&[one, two])
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(proxy: &Proxy, address: &str) -> String {
        match Routes::new(proxy).to(&address.parse().unwrap()) {
            Route::Direct => "direct".to_owned(),
            Route::Socket(socket) => socket,
            Route::Tunnel(proxy) => format!("tunnel {}", proxy.uri()),
            Route::Forward(proxy) => format!("forward {}", proxy.uri()),
        }
    }

    #[test]
    fn the_environment_says_a_proxy_for_each_scheme_and_who_needs_none() {
        let environment = Proxy::Environment {
            https: Some(Secret::new("http://user:word@p:1")),
            http: Some(Secret::new("q:2")),
            except: "internal, 10.0.0.0/8,exact.example".to_owned(),
        };
        for (address, expected) in [
            ("https://vault.example:8200", "tunnel http://p:1/"),
            ("http://vault.example:8200", "forward http://q:2/"),
            ("https://vault.internal", "direct"),
            ("https://10.1.2.3", "direct"),
            ("https://11.1.2.3", "tunnel http://p:1/"),
            ("https://exact.example", "direct"),
            ("https://localhost:1", "direct"),
            ("http://127.0.0.1:1", "direct"),
            ("http://[::1]:1", "direct"),
            ("http://169.254.169.254", "direct"),
            ("http://[fd00:ec2::254]", "direct"),
            ("http://[fd00:ec2::23]/v1/credentials", "direct"),
            ("http://[fd20:ce::254]", "direct"),
            ("http://[::ffff:127.0.0.1]:1", "direct"),
            ("http://[::ffff:169.254.169.254]", "direct"),
            ("http://[fd00:ec3::23]", "forward http://q:2/"),
        ] {
            assert_eq!(way(&environment, address), expected, "{address}");
        }
        assert_eq!(way(&Proxy::None, "https://vault.example"), "direct");
    }

    #[test]
    fn a_proxy_that_is_named_is_for_all_but_what_is_near() {
        let always = Proxy::Always(Secret::new("https://p:1"));
        assert_eq!(way(&always, "https://vault.internal"), "tunnel https://p:1/");
        assert_eq!(way(&always, "http://vault.internal"), "forward https://p:1/");
        assert_eq!(way(&always, "http://169.254.170.2/credentials"), "direct");
        let socket = origin::Address::parse("unix:///run/vault.sock").unwrap().origin.uri("/v1/a").unwrap();
        assert_eq!(way(&always, &socket.to_string()), "/run/vault.sock");
    }
}
