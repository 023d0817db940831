//! Lists the names of all secrets of a part of a KV mount.

use hyper::StatusCode;
use serde::Deserialize;

use super::answers::Envelope;
use super::api::{self, Call};
use super::{Fault, Grant, Longest, Vault};

#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

impl Vault {
    /// The paths of all secrets at and below this one, in order. An agent does not use it, because its configuration names its paths.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if no KV is mounted there, [`Fault::Gone`] if nothing is there, and those of any request.
    pub async fn tree(&self, grant: &Grant, path: &str) -> Result<Vec<String>, Fault> {
        let mount = self.mounts.of(&self.api, &grant.token, path).await?;
        let Some(mounted) = mount.mounted().filter(|_| mount.engine.is_kv()) else {
            return Err(Fault::Malformed {
                why: format!("{path}: {} is not KV, and cannot be listed", mount.path),
            });
        };
        let root = path.trim_end_matches('/');
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.names(grant, &mounted.folder(&folder).0).await? {
                let path = format!("{folder}/{name}");
                match path.strip_suffix('/') {
                    Some(folder) => folders.push(folder.to_owned()),
                    None => found.push(path),
                }
            }
        }
        if found.is_empty() {
            // A folder may be a secret too.
            found.push(root.to_owned());
        }
        found.sort();
        Ok(found)
    }

    /// The names in a folder, whose path is that of the API and ends with a slash; none if there is no such folder.
    pub(super) async fn names(&self, grant: &Grant, path: &str) -> Result<Vec<String>, Fault> {
        let mut call = Call::get(path);
        call.longest = Longest::List;
        call.query = Some("list=true".to_owned());
        let answer = self.api.ask(Some(&grant.token), call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Else nothing is mounted there, or this is no such server.
            let fault = api::refusal(&answer, path, "list");
            return if matches!(fault, Fault::Gone { .. }) { Ok(Vec::new()) } else { Err(fault) };
        }
        let names: Names = api::parsed::<Envelope<_>>(&answer, path, "list")?.into_data(path)?;
        Ok(names.keys)
    }
}
