//! What the user asked for, checked once: after this module nobody checks a value of the configuration again.
//!
//! [`parse`] turns the text of a configuration file into a [`Config`] or into *every* [`Problem`] it has, each with its place.
//!
//! *Invariant:* pure. The text, the file's name and the environment are arguments; no file is opened here.

mod agent;
mod audit;
mod auth;
mod credential;
pub mod env_file;
mod file;
mod foreign;
mod listing;
mod output;
mod params;
mod passed;
mod problem;
mod process;
mod proxy;
mod reader;
mod reference;
mod rollout;
mod same;
mod secret;
mod server;
mod setting;
mod source;
mod syntax;
mod text;
mod value;
mod version;
mod webhook;
mod window;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use crate::names::{SecretName, SourceName};
use crate::secret::Secret;

pub use auth::{COLLECTOR_VARIABLES, CREDENTIAL_VARIABLES};
pub use credential::is_credential_name;
pub use file::{parse, survey};
pub use passed::{PASSED_KEY, PASSED_SECRET_ID, passed};
pub use problem::{Place, Problem};
pub use proxy::{AutoAuth, ProxyConfig, ProxyListen};
pub use reference::References;
#[cfg(test)]
pub(crate) use secret::TEMPLATE_WORDS;
pub use server::ServerVariables;
pub use source::{AWS_VARIABLES, is_this_machine};
pub use value::{Account, Mode};
pub use webhook::WebhookConfig;
pub use window::{Opening, Window};

/// How the environment is asked: the name of a variable → its value, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[source.NAME]`
    pub sources: BTreeMap<SourceName, SourceConfig>,
    /// `[secret.NAME]`
    pub secrets: BTreeMap<SecretName, SecretConfig>,
    /// `[output]`
    pub output: OutputConfig,
    /// `output.mount` and `output.mount_size`; `None` publishes on what is there.
    pub mount: Option<MountConfig>,
    /// `[[file]]`, in the order written
    pub files: Vec<FileConfig>,
    /// `[process]`
    pub process: ProcessConfig,
    /// `[rollout]`
    pub rollout: RolloutConfig,
    /// `[agent]`
    pub agent: AgentConfig,
    /// `[audit]`; without it nothing is written down.
    pub audit: Option<AuditConfig>,
    /// `[webhook]`
    pub webhook: Option<WebhookConfig>,
    /// `[proxy]`
    pub proxy: Option<ProxyConfig>,
    /// `[[credential]]`, in the order written
    pub credentials: Vec<CredentialConfig>,
    /// `startup_timeout`: how long to wait for the first release; `None` where it was not said.
    pub startup_timeout: Option<Duration>,
}

/// `[source.NAME]`: where secrets come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceConfig {
    /// `type = "vault"`: HashiCorp Vault or OpenBao.
    Vault(VaultConfig),
    /// `type = "store"`: the embedded store.
    Store(StoreConfig),
    /// `type = "aws"`: AWS Secrets Manager.
    Aws(AwsConfig),
}

impl SourceConfig {
    /// How often static secrets are re-read.
    pub fn refresh(&self) -> Duration {
        match self {
            Self::Vault(vault) => vault.refresh,
            Self::Store(store) => store.refresh,
            Self::Aws(aws) => aws.refresh,
        }
    }

    /// What is dangerous, or not as somebody may expect.
    pub fn cautions(&self) -> &[String] {
        match self {
            Self::Vault(vault) => &vault.cautions,
            Self::Store(_) => &[],
            Self::Aws(aws) => &aws.cautions,
        }
    }
}

/// AWS Secrets Manager, and how to log in to it. What is not said is found where every tool of AWS finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsConfig {
    /// `region`, or `AWS_REGION`, or `AWS_DEFAULT_REGION`
    pub region: Option<String>,
    /// `endpoint`: of Secrets Manager, where it is not the region's.
    pub endpoint: Option<String>,
    /// `profile`: of AWS's own configuration files.
    pub profile: Option<String>,
    /// `ca_file`, or `AWS_CA_BUNDLE`.
    pub authorities: Authorities,
    /// `proxy`, or the variables for all programs.
    pub proxy: Proxy,
    /// `refresh`: how often secrets are re-read. Default 5 minutes.
    pub refresh: Duration,
    /// `[source.NAME.assume_role]`
    pub assume_role: Option<AssumedRole>,
    /// What the environment holds, unless a profile is named.
    pub keys: Option<AwsKeys>,
    /// What is dangerous, or not as somebody may expect: for whoever starts Squire.
    pub cautions: Vec<String>,
}

/// `[source.NAME.assume_role]`: a role that is taken on with the credentials that are found.
#[derive(Clone, Debug, PartialEq)]
pub struct AssumedRole {
    /// `arn`
    pub arn: String,
    /// `external_id`: what the owner of the role asks for.
    pub external_id: Option<String>,
    /// `session_name`: who we are in the audit. Default `squire`.
    pub session_name: String,
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`
#[derive(Clone, Debug)]
pub struct AwsKeys {
    /// Which key.
    pub id: String,
    /// The key itself.
    pub key: Secret<str>,
    /// What goes with a temporary key.
    pub session_token: Option<Secret<str>>,
}

/// An embedded store, and how to log in to it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// `file`, or `SQUIRE_STORE`
    pub file: PathBuf,
    /// `refresh`: how often secrets are re-read though nothing says that they changed. Default 5 minutes.
    pub refresh: Duration,
    /// `hooks`, or `SQUIRE_STORE_HOOKS`: what the hooks execute that policies name, where this agent rotates.
    pub hooks: Option<PathBuf>,
    /// As whom.
    pub login: StoreLogin,
    /// Where a credential of that login is unwrapped, if it is wrapped by a server.
    pub server: ServerVariables,
}

/// As whom a store is opened.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreLogin {
    /// `key_file`: the owner. Default: what systemd passed.
    Owner {
        /// Where the owner's key is.
        key_file: PathBuf,
    },
    /// `role_id` or `role_id_file`, and `secret_id_file`.
    Role {
        /// Which role.
        id: RoleId,
        /// Where its secret-id is. Default: what systemd passed.
        secret_id_file: PathBuf,
    },
}

/// A HashiCorp Vault or OpenBao server, and how to log in to it.
#[derive(Clone, Debug, PartialEq)]
pub struct VaultConfig {
    /// `address` or `addresses`: tried in this order. At least one; `http` or `https`, or `unix` with the path of a socket.
    pub addresses: Vec<String>,
    /// `namespace`, without slashes at its ends.
    pub namespace: Option<String>,
    /// `ca_file`, or the variables of the server's own tools.
    pub authorities: Authorities,
    /// `proxy`, or the variables of the server's own tools or for all programs.
    pub proxy: Proxy,
    /// `client_cert_file` and `client_key_file`: PEM, both or neither.
    pub client_identity: Option<ClientIdentity>,
    /// `tls_server_name`: the name that the server's certificate has to bear, where it is not the address's.
    pub tls_server_name: Option<String>,
    /// `insecure_tls`: do not verify the server's certificate.
    pub insecure_tls: bool,
    /// `allow_redirects`: follow a redirect to a host outside `addresses` too. Default false.
    pub allow_redirects: bool,
    /// `refresh`: how often static secrets are re-read. Default 5 minutes.
    pub refresh: Duration,
    /// `look_up_every`: how often the token and its leases are looked up, to notice that somebody revoked one. Default 60 seconds.
    pub look_up_every: Duration,
    /// `[source.NAME.auth.…]`
    pub auth: AuthConfig,
    /// `[[source.NAME.token_file]]`: where the token is written, for other programs.
    pub token_files: Vec<TokenFileConfig>,
    /// What is dangerous, or not as somebody may expect: for whoever starts Squire.
    pub cautions: Vec<String>,
}

/// `[[source.NAME.token_file]]`: the token of a source as a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenFileConfig {
    /// `path`: absolute.
    pub path: PathBuf,
    /// `mode`. Default 0400.
    pub mode: Mode,
    /// `owner`: a name or a number; `None` is the user of the process.
    pub owner: Option<Account>,
    /// `group`: a name or a number; `None` is the one that the file system gives.
    pub group: Option<Account>,
    /// `make_dir`: makes the directory that it is in. `None`: it has to be there.
    pub make_dir: Option<DirectoryConfig>,
    /// `wrap_ttl`: the file has a response-wrapping token instead, which lives for so long; 10 seconds at least.
    pub wrap_ttl: Option<Duration>,
    /// Where it stands in the configuration.
    pub place: Place,
}

/// By which way servers are reached.
#[derive(Clone, Debug, Default)]
pub enum Proxy {
    /// Directly.
    #[default]
    None,
    /// Through this proxy: `proxy`, or a variable of the server's own tools.
    Always(Secret<str>),
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say. The addresses may hold a login.
    Environment {
        /// Through this where TLS is spoken.
        https: Option<Secret<str>>,
        /// Through this where it is not.
        http: Option<Secret<str>>,
        /// Not to these.
        except: String,
    },
}

impl Proxy {
    /// Whether TLS is spoken with a proxy itself.
    pub fn speaks_tls(&self) -> bool {
        let speaks = |proxy: &Secret<str>| proxy.expose().starts_with("https:");
        match self {
            Self::None => false,
            Self::Always(proxy) => speaks(proxy),
            Self::Environment { https, http, .. } => [https, http].into_iter().flatten().any(speaks),
        }
    }
}

/// Who may have signed the certificate of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Whom this system trusts.
    #[default]
    System,
    /// `ca_file`: who is in this file, in PEM.
    File(PathBuf),
    /// Who is in any file of this directory, in PEM.
    Directory(PathBuf),
    /// Who stands here, in PEM.
    Text(String),
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientIdentity {
    /// PEM, the client's own certificate first.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthConfig {
    /// `[source.NAME.auth.approle]`
    AppRole(AppRoleConfig),
    /// `[source.NAME.auth.token]`, or the variables of the server's own tools: a token that somebody else made.
    Token {
        /// `file`
        from: CredentialFrom,
    },
    /// `[source.NAME.auth.jwt]`: a JWT that somebody keeps fresh in a file.
    Jwt(JwtConfig),
    /// `[source.NAME.auth.kubernetes]`: the same with the token of a pod's service account.
    Kubernetes(JwtConfig),
    /// `[source.NAME.auth.cert]`: the source's client certificate, which is there.
    Cert(CertConfig),
    /// `[source.NAME.auth.userpass]` and `[source.NAME.auth.ldap]`: a user with a password in a file.
    Password(PasswordConfig),
    /// `[source.NAME.auth.aws]`: a request to AWS that only its identity can have signed.
    Aws(Box<AwsLoginConfig>),
    /// `[source.NAME.auth.gcp]`: what Google's metadata service says of this machine.
    Gcp(GcpLoginConfig),
    /// `[source.NAME.auth.azure]`: the same of Azure's.
    Azure(AzureLoginConfig),
}

/// A login with a name and a password.
#[derive(Clone, Debug, PartialEq)]
pub struct PasswordConfig {
    /// Which method it is.
    pub kind: PasswordKind,
    /// `mount`: where the method is mounted below `auth/`. Default the name of the method.
    pub mount: String,
    /// `username`: a name without a slash.
    pub username: String,
    /// `password_file`; read again at each login.
    pub file: PathBuf,
}

/// The methods that take a password. They are asked in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordKind {
    /// The server knows the users itself.
    Userpass,
    /// A directory knows them.
    Ldap,
}

impl PasswordKind {
    /// The name of the method.
    pub fn word(self) -> &'static str {
        match self {
            Self::Userpass => "userpass",
            Self::Ldap => "ldap",
        }
    }
}

/// A login with an identity of AWS's IAM.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsLoginConfig {
    /// `mount`: where the method is mounted below `auth/`. Default `aws`.
    pub mount: String,
    /// `role`
    pub role: String,
    /// `region`: of the STS that the request is for. Default `us-east-1`, which has the address without a region.
    pub region: String,
    /// `server_id`: signed with the request, where the server asks for it, so that no other server can use that.
    pub server_id: Option<String>,
    /// Where the credentials are.
    pub account: AwsConfig,
}

/// A login of a machine of Google's cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct GcpLoginConfig {
    /// `mount`: where the method is mounted below `auth/`. Default `gcp`.
    pub mount: String,
    /// `role`
    pub role: String,
    /// `metadata`: the address of the metadata service.
    pub metadata: String,
}

/// A login of a machine of Azure.
#[derive(Clone, Debug, PartialEq)]
pub struct AzureLoginConfig {
    /// `mount`: where the method is mounted below `auth/`. Default `azure`.
    pub mount: String,
    /// `role`
    pub role: String,
    /// `resource`: whom the token is for; as in the configuration of the server's method.
    pub resource: String,
    /// `client_id`: which managed identity, if the machine has several.
    pub client_id: Option<String>,
    /// `metadata`: the address of the metadata service.
    pub metadata: String,
}

/// An AppRole login.
#[derive(Clone, Debug, PartialEq)]
pub struct AppRoleConfig {
    /// `mount`: where the method is mounted below `auth/`. Default `approle`.
    pub mount: String,
    /// `role_id` or `role_id_file`.
    pub role_id: RoleId,
    /// Roles with `bind_secret_id = false` have none.
    pub secret_id: Option<SecretIdConfig>,
}

/// Where the secret-id of an AppRole login comes from, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretIdConfig {
    /// `secret_id_file`
    pub from: CredentialFrom,
    /// `unwrap`: the file holds a response-wrapping token instead. Default false.
    pub unwrap: bool,
    /// `delete_secret_id`: the file is removed after a successful login. Default: the value of `unwrap`.
    pub delete: bool,
    /// `keep_secret_id`: where there is a ledger, the secret-id is kept in it for a restart. Default: whether the login uses the file up,
    /// by `unwrap` or `delete_secret_id`.
    pub keep: bool,
}

/// Where a credential is.
#[derive(Clone, Debug)]
pub enum CredentialFrom {
    /// In a file, read again at each login.
    File(PathBuf),
    /// In an environment variable, read once; only where the configuration names no login at all.
    Variable(&'static str, Secret<str>),
}

impl CredentialFrom {
    /// The file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Variable(..) => None,
        }
    }
}

impl fmt::Display for CredentialFrom {
    /// Where it is, and nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Variable(name, _) => f.write_str(name),
        }
    }
}

/// A login with a signed token that says who we are.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtConfig {
    /// `mount`: where the method is mounted below `auth/`. Default the name of the method.
    pub mount: String,
    /// `role`
    pub role: String,
    /// `jwt_file`, or `token_file` of the Kubernetes method; read again at each login.
    pub file: PathBuf,
}

/// A login with the client certificate of the connection.
#[derive(Clone, Debug, PartialEq)]
pub struct CertConfig {
    /// `mount`: where the method is mounted below `auth/`. Default `cert`.
    pub mount: String,
    /// `name`: the certificate role; without it the server takes the first that fits.
    pub name: Option<String>,
}

/// The role id is a name, not a credential, so it may stand in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum RoleId {
    /// `role_id`
    Inline(String),
    /// `role_id_file`
    File(PathBuf),
}

/// `[secret.NAME]`: a named want.
#[derive(Clone, Debug)]
pub struct SecretConfig {
    /// `source`; may be left out where there is only one.
    pub source: SourceName,
    /// `path`, without slashes at its ends: `secret/redis/main`, `database/creds/app`.
    pub path: String,
    /// `params`: makes it a write.
    pub params: Option<serde_json::Map<String, serde_json::Value>>,
    /// `version`, `version_stage` or `version_id`: pins a version.
    pub version: Option<Version>,
    /// `kind`: what is mounted there; `None` asks the server.
    pub kind: Option<EngineKind>,
    /// `list`: the path is a folder.
    pub list: Option<Listing>,
    /// `tags`: of a folder of AWS, only what has all of these.
    pub tags: BTreeMap<String, String>,
    /// `refresh`, else the source's.
    pub refresh: Duration,
    /// `max_size`, else the source's, else 1 MiB: what it may weigh (see [`crate::size`]).
    pub max_size: usize,
    /// Where it stands in the configuration.
    pub place: Place,
}

/// `secret.NAME.kind`: what is mounted where a secret is, for servers that do not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// `"kv1"`
    Kv1,
    /// `"kv2"`
    Kv2,
    /// `"other"`: whatever makes its answers itself, such as databases and PKI.
    Other,
}

/// The path of a folder that is chosen by tags alone. No name of a secret has such a character.
pub const EVERYWHERE: &str = "*";

/// `secret.NAME.list`: the path is a folder, and the secret is what is in it: a map from the name of each entry to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Listing {
    /// `true`: the entries of the folder itself.
    Level,
    /// `"tree"`: everything below it. The name of an entry is its path from the folder on: `a/b`.
    Tree,
}

/// Which version of a secret is meant, where it is not the newest one that is in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(untagged)]
pub enum Version {
    /// Of KV v2 and of the store; from 1 on.
    Number(u64),
    /// Of AWS: the one with this label, `AWSCURRENT`, `AWSPREVIOUS`, `AWSPENDING` or one's own.
    Stage(String),
    /// Of AWS: the very one.
    Id(String),
}

impl Version {
    /// Its number, where versions have numbers.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Stage(_) | Self::Id(_) => None,
        }
    }
}

/// `[output]`: where and how files are published.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputConfig {
    /// `dir`: absolute; relative files live here. `None` where there is no relative file.
    pub dir: Option<PathBuf>,
    /// `dir_mode`: of the directories that Squire makes. Default 0755.
    pub dir_mode: Mode,
    /// `allow_disk`: publish although it is not on tmpfs or ramfs.
    pub allow_disk: bool,
}

/// The file system that Squire mounts to publish on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountConfig {
    /// `mount`
    pub kind: MountKind,
    /// `dir`: where.
    pub dir: PathBuf,
    /// `mount_size`: what it may hold, as `mount` takes it. Default `16m`.
    pub size: String,
}

/// `output.mount`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// `"tmpfs"`: for everybody.
    Tmpfs,
    /// `"private"`: for Squire and what it starts.
    Private,
}

/// `[[file]]`: one rendered file. Mode, owner and group fall back to those of `[output]`.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// `path`: relative (normalized, no `..`): part of the generation; absolute: replaced by one rename.
    pub path: PathBuf,
    /// `template` or `inline`.
    pub template: TemplateSource,
    /// `mode`. Default 0400.
    pub mode: Mode,
    /// `owner`: a name or a number; `None` is Squire's own.
    pub owner: Option<Account>,
    /// `group`: a name or a number; `None` is the one that the file system gives.
    pub group: Option<Account>,
    /// `make_dir`: makes the directory that an absolute `path` is in. `None`: it has to be there.
    pub make_dir: Option<DirectoryConfig>,
    /// `on_change`; `None` is the process's.
    pub on_change: Option<Reaction>,
    /// Where it stands in the configuration, for problems that only a later stage can find.
    pub place: Place,
}

/// A directory that Squire makes for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// `mode`. Default: that of the output's directories.
    pub mode: Mode,
    /// `owner`; `None` is the file's.
    pub owner: Option<Account>,
    /// `group`; `None` is the file's.
    pub group: Option<Account>,
}

/// Where the text of a template is.
#[derive(Clone, Debug)]
pub enum TemplateSource {
    /// `template`: a file; a relative one is beside the configuration.
    File(PathBuf),
    /// `inline`
    Inline(String),
    /// `base64`: the text of one that renders base64, of which the file is the bytes.
    Base64(String),
    /// `each`: no template, but a directory with a file for each field of this secret.
    Each(SecretName),
}

/// `[[credential]]`: a value that units of systemd load from Squire's socket.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// `name`: as `LoadCredential=` of the unit has it.
    pub name: String,
    /// `units`: who may have it; `*` and `?` stand for others.
    pub units: Vec<String>,
    /// `template`, `inline` or `base64`.
    pub template: TemplateSource,
    /// `on_change`. Default restart.
    pub on_change: UnitReaction,
    /// Where it stands in the configuration.
    pub place: Place,
}

/// What a change of a credential asks of the units that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitReaction {
    /// `"restart"`: so they load the new one.
    Restart,
    /// `"reload"`
    Reload,
    /// `"none"`
    Nothing,
}

/// What a change asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// `"restart"`
    Restart,
    /// A signal's name.
    Signal(Signal),
    /// Something that is done for others than the process.
    Act(Action),
    /// `"none"`
    Nothing,
}

/// What is done beside what the process itself is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub act: Act,
    /// `required`: a release is taken back if this cannot be done. Default false.
    pub is_required: bool,
}

/// The kinds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A signal to a process that is not ours.
    SignalTo(SignalTo),
    /// `{ run = ["…"], timeout = "30s" }`
    Run(RunCommand),
    /// A request.
    Call(HttpCall),
    /// Units of systemd that hold a credential of before are restarted or reloaded. No key of a file says it.
    Units(UnitReaction),
}

/// `{ signal = "HUP", pid_file = "…" }` or `{ signal = "HUP", process = "…" }`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalTo {
    /// `signal`
    pub signal: Signal,
    /// Who gets it.
    pub target: SignalTarget,
}

/// How to find a process that Squire did not start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignalTarget {
    /// `pid_file`: absolute; it holds the number.
    PidFile(PathBuf),
    /// `process`: the name of its program, in a PID namespace that Squire shares.
    Process(String),
}

/// `{ http = "http://…", method = "POST", timeout = "30s" }`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpCall {
    /// `method`. Default POST.
    pub method: String,
    /// `http`
    pub url: String,
    /// Given up after this long. Default 30 seconds.
    pub timeout: Duration,
}

/// A command that a reaction or a check runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunCommand {
    /// Program and arguments; at least the program. No shell.
    pub command: Vec<String>,
    /// Killed after this long. Default 30 seconds.
    pub timeout: Duration,
}

/// `[process]`: the child.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// `command`; what stands after `--` on the command line wins over it.
    pub command: Option<Vec<String>>,
    /// `env`: variable → template, with its place for later problems.
    pub env: BTreeMap<String, EnvConfig>,
    /// `env_from`: secrets of which each field is a variable. What `env` says wins, then the later one.
    pub env_from: Vec<EnvFrom>,
    /// `vault_token` and `restart_on_new_token`: it gets the token of a source.
    pub token: Option<ProcessTokenConfig>,
    /// `on_change`: for the environment, and for every file that does not say. Default restart.
    pub on_change: Reaction,
    /// `stop_signal`. Default SIGTERM.
    pub stop_signal: Signal,
    /// `stop_timeout`: from the stop signal to SIGKILL. Default 30 seconds.
    pub stop_timeout: Duration,
    /// `restart`, `restart_limit`, `restart_period`: what follows when it exits by itself.
    pub restart: RestartConfig,
    /// `restart_mode`: how a successor takes its place.
    pub restart_mode: RestartMode,
    /// `listen`: sockets that Squire holds for it.
    pub listen: Vec<Listen>,
    /// How it stands on this machine.
    pub setting: SettingConfig,
    /// The first key, but for `env`, that says how a process is run.
    pub said: Option<Place>,
}

/// `process.vault_token`: the process gets the token of a source, in the variables that the server's own tools read.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessTokenConfig {
    /// Whose.
    pub source: SourceName,
    /// `restart_on_new_token`: it is started anew when there is another token. Default false.
    pub restarts: bool,
    /// Where it stands.
    pub place: Place,
}

/// How the process stands on this machine; what is not said is as with Squire.
#[derive(Clone, Debug)]
pub struct SettingConfig {
    /// `user`
    pub user: Option<Account>,
    /// `group`; `None` is the user's.
    pub group: Option<Account>,
    /// `groups`: supplementary; `None` is the user's.
    pub groups: Option<Vec<Account>>,
    /// `working_dir`: absolute.
    pub working_dir: Option<PathBuf>,
    /// `umask`
    pub umask: Option<u32>,
    /// `env_clear`: nothing of Squire's environment, but for `env_pass`.
    pub env_clear: bool,
    /// `env_pass`: names with `*` and `?` that are passed on, though they would not be.
    pub env_pass: Vec<String>,
    /// `env_deny`: names that are not passed on. Wins over `env_pass`.
    pub env_deny: Vec<String>,
    /// `limits`, by name.
    pub limits: BTreeMap<&'static str, Limit>,
    /// `no_new_privs`: nothing that it executes gains privileges.
    pub no_new_privs: bool,
    /// Where `[process]` stands.
    pub place: Place,
}

/// A limit of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// What holds, in the unit of `setrlimit`.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// A socket that Squire holds for its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `tcp://HOST:PORT`
    Tcp(String),
    /// `unix:/PATH`
    Unix(PathBuf),
}

/// What follows when the process exits by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartConfig {
    /// `restart`. Default never.
    pub policy: RestartPolicy,
    /// `restart_limit`: so often within `period`; the next time Squire ends. Default 5.
    pub limit: u32,
    /// `restart_period`: what the limit is counted in, so a process that ran for this long begins a new count. Default 5
    /// minutes.
    pub period: Duration,
}

/// `process.restart`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// `"never"`: Squire ends with the process's exit code.
    Never,
    /// `"on-failure"`: it is started again unless its exit code is 0.
    OnFailure,
    /// `"always"`
    Always,
}

/// `process.restart_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartMode {
    /// `"replace"`: the process is stopped, then its successor is started.
    Replace,
    /// `"overlap"`: the successor is started and proves itself, then the process is stopped.
    Overlap,
}

/// A secret of which each field is a variable of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFrom {
    /// The secret.
    pub secret: SecretName,
    /// Stands before the name of a field.
    pub prefix: String,
    /// Stands behind it.
    pub suffix: String,
    /// The whole name is written in capitals.
    pub upper: bool,
    /// `_` stands for each character that the name of a variable cannot have.
    pub sanitize: bool,
    /// For problems that are found later.
    pub place: Place,
}

/// One variable of `process.env`.
#[derive(Clone, Debug)]
pub struct EnvConfig {
    /// A Handlebars template, always inline.
    pub template: String,
    /// Where it stands.
    pub place: Place,
}

/// `[rollout]`
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutConfig {
    /// `settle`: changes that come within this long of the first one make one rollout. Default 100 ms.
    pub settle: Duration,
    /// `grace`: old leases live this long after the commit. Default 30 seconds.
    pub grace: Duration,
    /// `check`: commands that a staged release has to pass, in this order.
    pub checks: Vec<RunCommand>,
    /// `probe`: how a published release proves that the process is well with it.
    pub proof: Proof,
    /// `window`: when rollouts may happen; `None` is always.
    pub window: Option<Window>,
}

/// `rollout.probe`, or what holds without it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Proof {
    /// Not set: a process that was restarted because of a release lives for a short time with it.
    #[default]
    ShortLife,
    /// `"none"`
    Nothing,
    /// What is asked.
    Probe(ProbeConfig),
}

impl Proof {
    /// What the configuration asks for in words.
    pub fn probe(&self) -> Option<&ProbeConfig> {
        match self {
            Self::Probe(probe) => Some(probe),
            Self::ShortLife | Self::Nothing => None,
        }
    }
}

/// What a probe asks, how often, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeConfig {
    /// What is asked.
    pub kind: ProbeKind,
    /// `period`: from one try to the next. Default 1 second.
    pub period: Duration,
    /// `timeout`: how long the process may take to be well. Default 30 seconds.
    pub timeout: Duration,
    /// `attempt_timeout`: how long one try may take. Default 5 seconds.
    pub attempt_timeout: Duration,
    /// `successes`: so many tries in a row have to succeed. Default 1.
    pub successes: u32,
    /// `failures`: so many failures in a row end it before its time; `None` waits for `timeout`.
    pub failures: Option<u32>,
    /// Where it stands.
    pub place: Place,
}

impl ProbeConfig {
    /// The process lives for this long.
    pub fn alive(lasts: Duration) -> Self {
        Self {
            kind: ProbeKind::Alive(lasts),
            period: lasts,
            timeout: lasts,
            attempt_timeout: lasts,
            successes: 1,
            failures: None,
            place: Place::default(),
        }
    }
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// `http = "http://127.0.0.1:8080/healthz"`
    Http(HttpProbe),
    /// `tcp = "127.0.0.1:5432"`: a connection is accepted. Host and port.
    Tcp(String),
    /// `command = ["…"]`: it exits with 0. It is told the process's number in `SQUIRE_PID`.
    Command(Vec<String>),
    /// `alive = "5s"`: the process runs for that long.
    Alive(Duration),
    /// `notify = true`: it sends `READY=1` to `NOTIFY_SOCKET`, which only this process has.
    Notify,
}

/// A request whose answer tells health.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// `http`: the address, `http://` only.
    pub url: String,
    /// `status`: what is well. Default: any from 200 to 399.
    pub status: Option<u16>,
    /// `body`: what the answer has to contain.
    pub body: Option<String>,
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// `ledger` and `ledger_key_file`; without one a restarted agent makes token and leases anew.
    pub ledger: Option<LedgerConfig>,
    /// `on_stop`; `None` gives back where there is a process, and leaves where there is none.
    pub on_stop: Option<OnStop>,
    /// `confine`: the kernel keeps the agent from writing anywhere else. Default true.
    pub confine: bool,
    /// `mlock`: no page of Squire is swapped out. Default false.
    pub mlock: bool,
    /// `socket`: where whoever runs Squire asks it and gives it orders.
    pub socket: SocketConfig,
    /// `listen`: an address where anybody who reaches it may read status and metrics. Default none.
    pub listen: Option<SocketAddr>,
    /// `reload`: when the configuration is read anew. Default `"asked"`.
    pub reload: ReloadWhen,
}

/// `agent.socket`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketConfig {
    /// Nothing was said: `SQUIRE_SOCKET`, or where Squire writes anyway.
    Usual,
    /// At this absolute path.
    At(PathBuf),
    /// `"none"`
    Nowhere,
}

/// `[audit]`: where it is written down what was done with secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// `file`: absolute.
    pub file: PathBuf,
    /// `anchor`: absolute, in another directory. Default: in the ledger.
    pub anchor: PathBuf,
    /// `max_size`: a larger file is full, and a new one begins. Default 16 MiB.
    pub max_size: u64,
    /// `keep`: how many full files are kept. Default 8.
    pub keep: usize,
    /// `on_failure`. Default `refuse`.
    pub on_failure: OnFailure,
}

/// `audit.on_failure`: what happens while the audit cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// `"refuse"`: leases are renewed, nothing new is fetched.
    Refuse,
    /// `"go_on"`: it is only said.
    GoOn,
    /// `"stop"`: Squire ends.
    Stop,
}

/// `reload`: when a running Squire reads its configuration and its templates anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadWhen {
    /// `"asked"`: on SIGHUP where there is no process, and when an operator asks for it.
    #[default]
    Asked,
    /// `"watch"`: also when one of these files changes.
    Watch,
}

/// Where the sealed token and leases are. `allow_disk` of `[output]` is for it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// `ledger`: absolute; a directory that nobody else may enter, apart from the output.
    pub directory: PathBuf,
    /// `ledger_key_file`: absolute; `None` is beside the pages.
    pub key_file: Option<PathBuf>,
}

/// `on_stop`: what becomes of the token, its leases and the published files when Squire stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// `"give_back"`: the token and its leases are revoked, the files removed.
    GiveBack,
    /// `"leave"`: they stay, for whoever comes after or still uses them.
    Leave,
}
