//! Wrapped by the transit engine of a server.
//!
//! *Invariant:* a token that was made for this is revoked afterwards.

use super::{Closed, Transit, Wrapped};
use crate::config::{ServerVariables, VaultConfig};
use crate::fact::chain;
use crate::secret::Secret;
use crate::source::vault::Vault;
use crate::source::{Fault, Grant, Source as _};

/// The result of unwrapping once, right after wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The server unwraps it to the same credential.
    Well,
    /// The login may wrap, but not unwrap.
    Denied,
}

pub(super) async fn unwrap(wrapped: &Transit, server: &ServerVariables) -> Result<Secret<str>, Closed> {
    let config = server.vault(Some(&wrapped.address), wrapped.namespace.as_deref()).map_err(Closed::Way)?;
    let (vault, grant) = log_in(&config).await?;
    let key = (wrapped.mount.as_str(), wrapped.key.as_str());
    let opened = vault.decrypt(&grant, key, &wrapped.ciphertext).await;
    end(&vault, &grant).await;
    opened.map_err(Closed::Server)
}

/// Wraps a credential with a key of the engine at this mount, on the server that the variables name, and tries to unwrap it.
///
/// # Errors
/// What is wrong with the variables, the server or the login.
pub async fn wrap(
    credential: &Secret<str>,
    key @ (mount, name): (&str, &str),
    server: &ServerVariables,
) -> Result<(Wrapped, Tried), Closed> {
    let config = server.vault(None, None).map_err(Closed::Way)?;
    let (vault, grant) = log_in(&config).await?;
    let sealed = vault.encrypt(&grant, key, credential).await;
    let tried = match &sealed {
        Ok(ciphertext) => Some(vault.decrypt(&grant, key, ciphertext).await),
        Err(_) => None,
    };
    end(&vault, &grant).await;
    let ciphertext = sealed.map_err(Closed::Server)?;
    let tried = match tried {
        Some(Ok(opened)) if opened.expose() == credential.expose() => Tried::Well,
        Some(Err(Fault::Denied { .. })) => Tried::Denied,
        Some(Err(fault)) => return Err(Closed::Server(fault)),
        Some(Ok(_)) | None => {
            return Err(Closed::Way("the unwrapped credential differs from the wrapped one".to_owned()));
        }
    };
    let address = config.addresses.into_iter().next().unwrap_or_default();
    let (namespace, mount, key) = (config.namespace, mount.to_owned(), name.to_owned());
    Ok((Wrapped::Transit(Transit { address, namespace, mount, key, ciphertext }), tried))
}

async fn log_in(config: &VaultConfig) -> Result<(Vault, Grant), Closed> {
    let vault = Vault::new(config).map_err(|error| Closed::Way(chain(&error)))?;
    let grant = vault.log_in().await.map_err(Closed::Server)?;
    Ok((vault, grant))
}

async fn end(vault: &Vault, grant: &Grant) {
    if grant.revocable {
        // It also ends by itself.
        vault.revoke_grant(grant).await.ok();
    }
}
