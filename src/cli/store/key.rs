//! `squire store key`: keeps the credential of a store somewhere else than in a plain file beside it.
//!
//! *Invariant:* credentials are written only to files that their owner alone can read, never over an existing file, and never to stdout.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::place::Place;
use super::{Failed, input, write_private};
use crate::secret::Secret;
use crate::shares::{self, Misfit, Quorum, Share};
use crate::source::wrapped::{self, TPM_DEVICE, Tried, Wrapped, Written};
use crate::store::{Credential, OwnerSecret, Store, StoreError};

/// The longest share that is read, in bytes: a share is a line.
const LONGEST_SHARE: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Split the owner's key into shares for several people
    #[command(after_help = SPLIT_EXAMPLES)]
    Split {
        /// How many shares are needed, of how many: 3-of-5
        quorum: Quorum,
        /// The beginning of the shares' file names, before -1, -2, … [default: the key file's name with .share]
        #[arg(long, value_name = "FILE")]
        to_prefix: Option<PathBuf>,
    },
    /// Wrap a credential, so that its file alone opens nothing
    #[command(after_help = WRAP_EXAMPLES)]
    Wrap(WrapAsked),
    /// Restore the owner's key from its shares
    Combine {
        /// The files of the shares, in any order
        #[arg(required = true)]
        shares: Vec<PathBuf>,
        /// The file for the key
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(super) struct WrapAsked {
    /// The owner's key, a role's secret-id or a passphrase
    file: PathBuf,
    /// With this key of a Vault's or OpenBao's transit engine; address and login as for `squire run`
    #[arg(long, value_name = "KEY", required_unless_present = "tpm", conflicts_with = "tpm")]
    transit: Option<String>,
    /// The mount of the transit engine
    #[arg(long, default_value = "transit")]
    mount: String,
    /// With the TPM 2.0 of this machine; then only this machine can unwrap it
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = TPM_DEVICE)]
    tpm: Option<PathBuf>,
    /// The file for the result; it must not exist yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

const WRAP_EXAMPLES: &str = "\
Examples:
  VAULT_ADDR=… VAULT_TOKEN=… squire store key wrap squire.store.key --transit squire --to wrapped.key
  squire store key wrap squire.store.key --tpm --to sealed.key
  squire store list --key-file wrapped.key                  unwraps it with the login of its own environment

What was wrapped stands wherever the plain file stood: --key-file, --secret-id-file, --passphrase-file, and the configuration.";

const SPLIT_EXAMPLES: &str = "\
Examples:
  squire store key split 3-of-5 --to-prefix /media/usb/share
  squire store key combine a-share b-share c-share --to squire.store.key

Each share is a line of text. Give each to somebody else, and remove the files. `squire store rekey` makes another key, of which
the shares know nothing: split it again.";

impl KeyCommand {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        match self {
            Self::Split { quorum, to_prefix } => split(place, *quorum, to_prefix.as_deref()),
            Self::Wrap(asked) => asked.perform(place),
            Self::Combine { shares, to } => combine(place, shares, to),
        }
    }
}

impl WrapAsked {
    fn perform(&self, place: &Place) -> Result<(), Failed> {
        let credential = match wrapped::read_patiently(&self.file) {
            Ok(Written::Plain(credential)) => credential,
            Ok(Written::Wrapped(_)) => return Err(self.unfit("is wrapped already".to_owned())),
            Err(closed) => return Err(self.unfit(closed.to_string())),
        };
        if self.to.exists() {
            return Err(StoreError::Exists { file: self.to.clone() }.into());
        }
        let (wrapped, tried) = self.wrap(&credential)?;
        write_private(&self.to, &wrapped.document(), "write the wrapped credential to")?;
        let (file, to) = (self.file.display(), self.to.display());
        let text = match tried {
            Tried::Well => format!("{to} is {file}, wrapped: {file} can be removed now"),
            Tried::Denied => format!(
                "{to} is {file}, wrapped, and this login may not unwrap it: try it with one that may before you remove {file}"
            ),
        };
        place.tell(&text, &json!({ "wrapped": self.to, "tried": tried == Tried::Well }))
    }

    fn wrap(&self, credential: &Secret<str>) -> Result<(Wrapped, Tried), Failed> {
        let wrapped = match (&self.transit, &self.tpm) {
            (Some(transit), _) => {
                let key = (self.mount.as_str(), transit.as_str());
                input::waited_for(wrapped::wrap_by_transit(credential, key, input::server()))?
            }
            (None, Some(device)) => {
                wrapped::wrap_by_tpm(credential, device).map(|wrapped| (wrapped, Tried::Well))
            }
            (None, None) => return Err(Failed::Usage("say by what: --transit or --tpm".to_owned())),
        };
        wrapped.map_err(|why| self.unfit(format!("cannot be wrapped: {why}")))
    }

    fn unfit(&self, why: String) -> Failed {
        StoreError::Credential { what: self.file.display().to_string(), why }.into()
    }
}

fn split(place: &Place, quorum: Quorum, to_prefix: Option<&Path>) -> Result<(), Failed> {
    let key_file = place.key_file();
    let key = input::credential(&key_file)?;
    let bad =
        |why: &str| StoreError::Credential { what: key_file.display().to_string(), why: why.to_owned() };
    let shares = shares::split(key.expose(), quorum, &mut rand::rng()).map_err(bad)?;
    // If the key did not open the store, its shares would turn out to be useless only when they are needed.
    if place.store.exists() {
        drop(Store::open(&place.store, &Credential::Owner(OwnerSecret::Key(key)))?);
    }
    let prefix = to_prefix.map_or_else(|| key_file.with_added_extension("share"), Path::to_owned);
    let files: Vec<_> = shares.iter().map(|share| numbered(&prefix, share.number())).collect();
    if let Some(file) = files.iter().find(|file| file.exists()) {
        return Err(StoreError::Exists { file: file.clone() }.into());
    }
    for (written, (share, file)) in shares.iter().zip(&files).enumerate() {
        let outcome = write_private(file, share.line().expose(), "write a share to");
        if outcome.is_err() {
            // An incomplete set of shares is removed, since it would be of no use.
            files.iter().take(written).for_each(|file| drop(fs::remove_file(file)));
            return Ok(outcome?);
        }
    }
    let text = format!(
        "made {} shares, {}-1 to -{}: any {} of them make the key again. Give each to somebody else, and remove the files",
        quorum.all(),
        prefix.display(),
        quorum.all(),
        quorum.needed(),
    );
    place.tell(&text, &json!({ "needed": quorum.needed(), "shares": files }))
}

fn numbered(prefix: &Path, number: u8) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{number}"));
    name.into()
}

fn combine(place: &Place, files: &[PathBuf], to: &Path) -> Result<(), Failed> {
    let shares = files.iter().map(|file| share(file)).collect::<Result<Vec<_>, _>>()?;
    let key = shares::combine(&shares).map_err(|misfit| misfitting(files, &misfit))?;
    write_private(to, key.expose(), "write the owner's key to")?;
    let text = format!("{} is the owner's key again", to.display());
    place.tell(&text, &json!({ "key_file": to }))
}

fn share(file: &Path) -> Result<Share, Failed> {
    let failed = |source| StoreError::Io { doing: "read the share", file: file.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(file).map_err(failed)?.take(LONGEST_SHARE).read_to_end(&mut bytes).map_err(failed)?;
    let line: Secret<str> = Secret::new(String::from_utf8_lossy(&bytes));
    Share::parse(line.expose()).map_err(|why| unfit(file.display().to_string(), &why))
}

/// Names the file in an error.
fn misfitting(files: &[PathBuf], misfit: &Misfit) -> Failed {
    let what = match misfit {
        Misfit::OtherSet { at, .. } | Misfit::Twice { at, .. } => files.get(*at),
        Misfit::TooFew { .. } | Misfit::Forged => None,
    };
    match what {
        Some(file) => unfit(file.display().to_string(), misfit),
        None => unfit("the key cannot be made:".to_owned(), misfit),
    }
}

fn unfit(what: String, why: &impl ToString) -> Failed {
    StoreError::Unfit { what, why: why.to_string() }.into()
}
