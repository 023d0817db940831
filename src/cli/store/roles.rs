//! `squire store role`: the roles of a store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use serde_json::json;

use super::place::Place;
use super::{Failed, output, write_private};
use crate::ordered::Order as _;
use crate::store::{Moment, NewRole, Right, RoleKeyPair};

#[derive(Debug, Subcommand)]
pub(super) enum RoleCommand {
    /// Make a role; its secret-id is shown once
    #[command(after_help = ROLE_EXAMPLES)]
    Add {
        /// Its name
        name: String,
        /// May read secrets that match
        #[arg(long, value_name = "GLOB")]
        read: Vec<String>,
        /// May store new versions, delete and undelete
        #[arg(long, value_name = "GLOB")]
        write: Vec<String>,
        /// May rotate by the secret's own policy
        #[arg(long, value_name = "GLOB")]
        rotate: Vec<String>,
        /// May destroy, make policies and approve
        #[arg(long, value_name = "GLOB")]
        admin: Vec<String>,
        /// Expires after this long: 30d, 12h
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// Ends after this many log-ins
        #[arg(long, value_name = "N")]
        uses: Option<u64>,
        /// Write the secret-id here, and do not show it
        #[arg(long, value_name = "FILE")]
        secret_id_to: Option<PathBuf>,
    },
    /// List the roles
    List,
    /// Revoke a role; its environments get new keys
    Revoke {
        /// Which
        name: String,
    },
}

const ROLE_EXAMPLES: &str = "\
Examples:
  squire store role add web --read 'prod/app/*' --secret-id-to /run/squire-id/secret-id
  squire store role add ci --write 'dev/**' --expires 90d --uses 1000

* stays within a part of the path, ** does not. The environment, the first part, is no pattern.";

impl RoleCommand {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        match self {
            Self::Add { name, read, write, rotate, admin, expires, uses, secret_id_to } => {
                let grants: BTreeMap<_, _> = [
                    (Right::Read, read),
                    (Right::Write, write),
                    (Right::Rotate, rotate),
                    (Right::Admin, admin),
                ]
                .into_iter()
                .filter(|(_, globs)| !globs.is_empty())
                .map(|(right, globs)| (right, globs.clone()))
                .ordered();
                if grants.is_empty() {
                    return Err(Failed::Usage(
                        "the role may do nothing: write for example --read 'prod/app/*'".to_owned(),
                    ));
                }
                let expires = expires.map(|after| Moment::from(SystemTime::now()).plus(after));
                let new = NewRole { name: name.clone(), grants, expires, uses: *uses };
                let pair = add(place, &new, secret_id_to.as_deref())?;
                output::role(&pair, secret_id_to.as_deref(), place.json)
            }
            Self::List => output::roles(&place.open()?.roles()?, place.json),
            Self::Revoke { name } => {
                let mut store = place.open()?;
                store.revoke_role(name)?;
                place.leave_nothing(&store);
                place.tell(
                    &format!("{name}: revoked; its environments have new keys"),
                    &json!({ "revoked": name }),
                )
            }
        }
    }
}

/// The secret-id is in its file before the role is made, and is removed if the role could not be made.
fn add(place: &Place, new: &NewRole, secret_id_to: Option<&Path>) -> Result<RoleKeyPair, Failed> {
    let mut written = None;
    let made = place.open()?.add_role(new, |pair| {
        let Some(file) = secret_id_to else { return Ok(()) };
        write_private(file, pair.secret_id.expose(), "write the secret-id to")?;
        written = Some(file);
        Ok(())
    });
    if let Some(file) = written.filter(|_| made.is_err()) {
        fs::remove_file(file).ok();
    }
    Ok(made?)
}
