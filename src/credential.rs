//! Credentials for units of systemd: who asks for which one, whether that unit may have it, and who holds which value.
//!
//! systemd asks before it executes a unit's program (`LoadCredential=ID:SOCKET`, systemd.exec(5)): a process of the unit, still root's, connects
//! from an abstract address that says what it wants, `RANDOM/unit/UNIT/ID`, and reads to the end.
//!
//! Who attacks: another user who reaches the socket, root of a container, and a unit of root that wants what another unit has. Anybody can bind
//! such an address, so it proves nothing. The kernel says two things that nobody can choose: the user of the process that connected, and its
//! control group, which for a process of a unit is that unit's ([`Scope::is_of`]). Whoever is root without bounds can be any unit, and needs no
//! socket for that.
//!
//! *Invariant:* this file and `held` are pure; `credential/` acts. What is not allowed by an entry's `units` is refused.

pub mod held;
mod peer;
pub mod serve;

use std::sync::Arc;

use crate::config::is_credential_name;
use crate::names::Generation;
use crate::plan::Terms;
use crate::secret::{Digest, DigestKey, Secret};

/// systemd takes no larger one.
pub const LARGEST: usize = 1024 * 1024;

/// The longest name of a unit.
const UNIT_LONGEST: usize = 255;

/// Whether this can be the name of a unit.
fn is_unit(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let has_kind = text.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && !kind.is_empty());
    (1..=UNIT_LONGEST).contains(&text.len()) && text.bytes().all(is_fit) && has_kind
}

/// A credential of a release.
#[derive(Clone, Debug)]
pub struct RenderedCredential {
    /// Who may have it.
    pub terms: Arc<Terms>,
    /// Its value.
    pub contents: Secret<[u8]>,
    /// Tells whether the value changed.
    pub digest: Digest,
}

/// Whether a unit that holds a credential of one holds another one with the other.
pub fn differ(one: &[RenderedCredential], other: &[RenderedCredential]) -> bool {
    let same = |one: &RenderedCredential, other: &RenderedCredential| {
        one.digest == other.digest
            && one.terms.name == other.terms.name
            && one.terms.units == other.terms.units
    };
    one.len() != other.len() || !one.iter().zip(other).all(|(one, other)| same(one, other))
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For this unit.
    pub unit: String,
    /// The credential of this name.
    pub name: String,
}

/// Why nothing is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error(
        "the other side did not bind the address that systemd binds, so it does not say for which unit it asks: LoadCredential= of a unit does"
    )]
    Address,
    #[error("the process that asks is not of this unit: its control group is that of {other}")]
    Group { other: String },
    #[error(
        "the control group of the process that asks cannot be seen ({why}): squire has to share the process numbers of systemd, without ProtectProc= or hidepid"
    )]
    NoGroup { why: String },
    #[error("no [[credential]] of this name names this unit in `units`")]
    NotAllowed,
    #[error(
        "there is no value yet, and the unit waited for a minute: the log says what the first release waits for"
    )]
    NoValue,
    #[error("{}", crate::audit::CLOSED)]
    NotAudited,
    #[error("it was closed before it was read, or not read in time")]
    NotRead,
}

impl Wanted {
    /// Reads the abstract address of whoever connected, without the zero at its beginning.
    ///
    /// # Errors
    /// [`Refusal::Address`]
    pub fn parse(address: Option<&[u8]>) -> Result<Self, Refusal> {
        let text = address.and_then(|address| str::from_utf8(address).ok()).ok_or(Refusal::Address)?;
        let parts: Vec<&str> = text.split('/').collect();
        let [random, "unit", unit, name] = parts[..] else { return Err(Refusal::Address) };
        let is_random = (1..=16).contains(&random.len())
            && random.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !is_random || !is_unit(unit) || !is_credential_name(name) {
            return Err(Refusal::Address);
        }
        Ok(Self { unit: unit.to_owned(), name: name.to_owned() })
    }
}

/// Whose units are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the machine: systemd asks as root.
    System,
    /// Those of this user: the user's own systemd asks as that user.
    User(u32),
}

impl Scope {
    /// Who has to ask.
    pub fn user(self) -> u32 {
        match self {
            Self::System => 0,
            Self::User(user) => user,
        }
    }

    /// Whether a process is one of this unit's. `process` and `manager` are what the kernel says of the control groups of the process and of
    /// process 1 (`/proc/PID/cgroup`). Below that of systemd there are slices, and then the unit; what is below the unit is the unit's own.
    ///
    /// # Errors
    /// [`Refusal::Group`], and [`Refusal::NoGroup`] where it is none that systemd made.
    pub fn is_of(self, unit: &str, process: &str, manager: &str) -> Result<(), Refusal> {
        let unknown = |why: &str| Refusal::NoGroup { why: why.to_owned() };
        let kept = HIERARCHIES.iter().filter_map(|hierarchy| Some((hierarchy, group(manager, hierarchy)?)));
        let kept: Vec<_> = kept.collect();
        let is_systemds = |(_, root): &&(_, &str)| root.ends_with(MANAGER);
        if kept.iter().any(|kept| is_systemds(&kept)) {
            // Where there are two, systemd keeps both alike, and who may write to one of them alone leaves no unit.
            return kept.iter().filter(is_systemds).try_for_each(|(hierarchy, root)| {
                let group = group(process, hierarchy).ok_or_else(|| unknown("there is none"))?;
                self.is_below(unit, group, root)
            });
        }
        let (hierarchy, root) = kept.first().ok_or_else(|| unknown("process 1 has none"))?;
        let group = group(process, hierarchy).ok_or_else(|| unknown("there is none"))?;
        self.is_below(unit, group, root)
    }

    /// The same, in one hierarchy.
    fn is_below(self, unit: &str, group: &str, root: &str) -> Result<(), Refusal> {
        let unknown = |why: &str| Refusal::NoGroup { why: why.to_owned() };
        let root = root.strip_suffix(MANAGER).unwrap_or(root).trim_end_matches('/');
        let below = group.strip_prefix(root).filter(|below| below.starts_with('/'));
        let below = below.ok_or_else(|| unknown("it is not below that of process 1"))?;
        let mut parts =
            below.split('/').filter(|part| !part.is_empty() && part.strip_suffix(".slice").is_none());
        let mut found = parts.next().unwrap_or_default();
        if let Self::User(user) = self {
            // A unit of the machine may have the name of one of the user's.
            let above = format!("user@{user}.service");
            if found != above && !found.is_empty() {
                return Err(Refusal::Group { other: format!("{found}, which is not below {above}") });
            }
            found = parts.next().unwrap_or_default();
        }
        // systemd writes a `_` before a name that could be one of the kernel's own files, and before another `_`.
        match found.strip_prefix('_').unwrap_or(found) {
            found if found == unit => Ok(()),
            "" => Err(unknown("it is no unit's")),
            other => Err(Refusal::Group { other: other.to_owned() }),
        }
    }
}

/// The hierarchies that systemd may keep: its own, and the one of version 2.
const HIERARCHIES: [&str; 2] = ["name=systemd", ""];

/// Where systemd is itself, in each hierarchy that it keeps.
const MANAGER: &str = "/init.scope";

/// The path in this hierarchy.
fn group<'a>(text: &'a str, hierarchy: &str) -> Option<&'a str> {
    text.lines().find_map(|found| {
        let (_, rest) = found.split_once(':')?;
        rest.strip_prefix(hierarchy)?.strip_prefix(':')
    })
}

/// A credential as it is served.
#[derive(Clone, Debug)]
pub struct ShownCredential {
    /// Who may have it.
    pub terms: Arc<Terms>,
    /// Its value.
    pub contents: Secret<[u8]>,
    /// Tells in another run, too, whether the value changed.
    pub stamp: Digest,
}

/// All credentials of one release.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which.
    pub generation: Generation,
    credentials: Vec<ShownCredential>,
}

impl Shown {
    /// Those of this release. The stamps are made with this key.
    pub fn new(generation: Generation, rendered: &[RenderedCredential], key: &DigestKey) -> Self {
        let credentials = rendered.iter().map(|rendered| ShownCredential {
            terms: Arc::clone(&rendered.terms),
            contents: rendered.contents.clone(),
            stamp: key.digest(rendered.contents.expose()),
        });
        Self { generation, credentials: credentials.collect() }
    }

    /// What this unit gets under this name: of the first entry that allows it.
    pub fn find(&self, unit: &str, name: &str) -> Option<&ShownCredential> {
        self.credentials.iter().find(|shown| shown.terms.name == name && shown.terms.allow(unit))
    }

    /// What whoever asks for this gets.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`]
    pub fn give(&self, wanted: &Wanted) -> Result<&ShownCredential, Refusal> {
        self.find(&wanted.unit, &wanted.name).ok_or(Refusal::NotAllowed)
    }

    /// What the entries say, in their order.
    pub fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.credentials.iter().map(|shown| &*shown.terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnitReaction;

    #[test]
    fn an_address_is_read_as_systemd_writes_it_and_in_no_other_form() {
        let wanted = Wanted::parse(Some(b"915fd090cb494d41/unit/shop@a.service/db-password")).unwrap();
        assert_eq!(wanted, Wanted { unit: "shop@a.service".to_owned(), name: "db-password".to_owned() });
        let odd = r"0/unit/dev-disk\x2dby:1.swap/a@b,c";
        assert_eq!(Wanted::parse(Some(odd.as_bytes())).unwrap().unit, r"dev-disk\x2dby:1.swap");
        let long = format!("0/unit/{}.service/a", "b".repeat(300));
        let many = "0/".repeat(50);
        for address in [
            "",
            "/",
            "0",
            "0/unit/a.service",
            "0/unit/a.service/",
            "0/unit//a",
            "0/unit/a.service/b/c",
            "0/unit/../a",
            "0/unit/a.service/..",
            "0/unit/a.service/.",
            "0/unit/a.service/a:b",
            "0/unit/a.service/a b",
            "0/unit/a.service/a\n",
            "0/unit/a.service/a\u{e4}",
            "0/unit/a b.service/c",
            "0/unit/a*.service/c",
            "0/unit/a/c",
            "0/unit/.service/c",
            "0/unit/a./c",
            "0/UNIT/a.service/c",
            "/unit/a.service/c",
            "xyz/unit/a.service/c",
            "0A/unit/a.service/c",
            "00000000000000000/unit/a.service/c",
            "0/unit/a.service/c\0",
            &long,
            &many,
        ] {
            assert_eq!(Wanted::parse(Some(address.as_bytes())), Err(Refusal::Address), "{address:?}");
        }
        assert_eq!(Wanted::parse(Some(b"0/unit/a\xff.service/b")), Err(Refusal::Address));
        assert_eq!(Wanted::parse(None), Err(Refusal::Address), "who bound no name");
    }

    #[test]
    fn a_process_is_of_the_unit_whose_control_group_it_is_in_and_of_no_other() {
        let only = |path: &str| format!("0::{path}\n");
        let both = |path: &str| format!("9:name=systemd:{path}\n2:cpu,cpuacct:/\n0::/\n");
        let is_of = |process: &str, manager: &str| Scope::System.is_of("shop.service", process, manager);
        for (process, manager) in [
            (only("/system.slice/shop.service"), only("/init.scope")),
            (only("/shop.service"), only("/")),
            (both("/system.slice/shop.service"), both("/init.scope")),
            (only("/system.slice/shop.service/.control"), only("/init.scope")),
            (only("/a.slice/a-b.slice/shop.service/payload/x.service"), only("/init.scope")),
            (only("/docker/1/system.slice/shop.service"), only("/docker/1/init.scope")),
        ] {
            assert_eq!(is_of(&process, &manager), Ok(()), "{process} {manager}");
        }
        for (process, other) in [
            ("/system.slice/other.service", "other.service"),
            ("/system.slice/shop.service.service", "shop.service.service"),
            ("/system.slice/other.service/shop.service", "other.service"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service", "user@1000.service"),
            ("/machine.slice/machine-a.scope/payload/system.slice/shop.service", "machine-a.scope"),
            ("/docker/1/system.slice/shop.service", "docker"),
        ] {
            let refused = Err(Refusal::Group { other: other.to_owned() });
            assert_eq!(is_of(&only(process), &only("/init.scope")), refused, "{process}");
        }
        for (process, manager) in [
            ("0::/\n", "0::/init.scope\n"),
            ("", "0::/\n"),
            ("0::/a.slice\n", "0::/\n"),
            ("0::/b/shop.service\n", "0::/a/init.scope\n"),
        ] {
            assert!(matches!(is_of(process, manager), Err(Refusal::NoGroup { .. })), "{process} {manager}");
        }
        assert_eq!(
            Scope::System.is_of("_odd.service", "0::/system.slice/__odd.service", "0::/init.scope"),
            Ok(())
        );
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service";
        assert_eq!(Scope::User(1000).is_of("shop.service", own, "0::/init.scope"), Ok(()));
        assert!(Scope::User(1001).is_of("shop.service", own, "0::/init.scope").is_err());
    }

    /// Somebody mounts a hierarchy of that name on a machine of version 2, for old containers; and one is not kept like the other.
    #[test]
    fn the_hierarchy_that_counts_is_one_in_which_systemd_is_itself() {
        let two = |old: &str, new: &str| format!("1:name=systemd:{old}\n0::{new}\n");
        let [shop, evil] = ["/system.slice/shop.service", "/system.slice/evil.service"];
        let is_of = |process: &str, manager: &str| Scope::System.is_of("shop.service", process, manager);
        let refused = Err(Refusal::Group { other: "evil.service".to_owned() });
        let [stray, hybrid, legacy] =
            [("/", "/init.scope"), ("/init.scope", "/init.scope"), ("/init.scope", "/")]
                .map(|(old, new)| two(old, new));
        assert_eq!(is_of(&two("/", shop), &stray), Ok(()));
        assert_eq!(is_of(&two(shop, evil), &stray), refused, "the stray one is chosen by who asks");
        assert_eq!(is_of(&two(shop, shop), &hybrid), Ok(()));
        assert_eq!(is_of(&two(shop, evil), &hybrid), refused);
        assert_eq!(is_of(&two(evil, shop), &hybrid), refused);
        assert_eq!(is_of(&two(shop, "/"), &legacy), Ok(()));
        assert_eq!(is_of(&two(evil, shop), &legacy), refused);
        assert!(is_of(&format!("0::{shop}\n"), &hybrid).is_err(), "it is in one only");
        // As a process in a namespace of control groups sees them: in its own slice, and in another.
        assert_eq!(is_of("0::/../../a.slice/shop.service", "0::/../../init.scope"), Ok(()));
        for tricky in ["/../shop.service", "/../../../shop.service", "/../../a.slice/../shop.service", "/"] {
            assert!(is_of(&format!("0::{tricky}"), "0::/../../init.scope").is_err(), "{tricky}");
        }
    }

    #[test]
    fn what_is_named_like_a_unit_and_is_none_is_refused() {
        let is_of = |path: &str| Scope::System.is_of("shop.service", &format!("0::{path}"), "0::/init.scope");
        for path in [
            "/shop.service.slice",
            "/shop.service.slice/evil.service",
            "/evil.slice/evil.service/shop.service",
            "/system.slice/__shop.service",
            "/system.slice/shop.service (deleted)",
            "/system.slice/Shop.service",
            r"/system.slice/shop\x2eservice",
            "/init.scope/shop.service",
            "/user.slice/user-0.slice/session-1.scope/shop.service",
            "/user.slice/user-0.slice/user@0.service/app.slice/shop.service",
        ] {
            assert!(is_of(path).is_err(), "{path}");
        }
        // A unit of the machine that runs as the user, under the name of one of the user's.
        let of_user =
            |path: &str| Scope::User(7).is_of("shop.service", &format!("0::{path}"), "0::/init.scope");
        for path in [
            "/system.slice/shop.service",
            "/user.slice/user-7.slice/session-1.scope/shop.service",
            "/user.slice/user-7.slice/user@7.service/init.scope",
            "/user.slice/user-7.slice/user@7.service",
            "/user.slice/user-8.slice/user@8.service/shop.service",
            "/user.slice",
        ] {
            assert!(of_user(path).is_err(), "{path}");
        }
        assert_eq!(of_user("/user.slice/user-7.slice/user@7.service/shop.service"), Ok(()));
    }

    fn rendered(name: &str, units: &[&str], value: &str) -> RenderedCredential {
        let terms = Terms {
            name: name.to_owned(),
            units: units.iter().map(|unit| (*unit).to_owned()).collect(),
            on_change: UnitReaction::Restart,
            secrets: Vec::new(),
        };
        let digest = DigestKey::new([0; 32]).digest(value.as_bytes());
        RenderedCredential { terms: Arc::new(terms), contents: Secret::new(value.as_bytes()), digest }
    }

    #[test]
    fn a_unit_gets_what_the_first_entry_says_that_names_it_and_else_nothing() {
        let all = [
            rendered("db", &["shop.service", "shop@*.service"], "one"),
            rendered("db", &["bill.service", "shop@a.service"], "two"),
            rendered("key", &["shop.service"], "three"),
        ];
        let shown = Shown::new(Generation::FIRST, &all, &DigestKey::new([1; 32]));
        let give = |unit: &str, name: &str| {
            let wanted = Wanted { unit: unit.to_owned(), name: name.to_owned() };
            shown.give(&wanted).map(|shown| String::from_utf8(shown.contents.expose().to_vec()).unwrap()).ok()
        };
        for (unit, name, value) in [
            ("shop.service", "db", Some("one")),
            ("shop@a.service", "db", Some("one")),
            ("bill.service", "db", Some("two")),
            ("shop.service", "key", Some("three")),
            ("bill.service", "key", None),
            ("shop@.socket", "db", None),
            ("shop.service", "d", None),
            ("SHOP.service", "db", None),
            ("xshop.service", "db", None),
        ] {
            assert_eq!(give(unit, name).as_deref(), value, "{unit} {name}");
        }
    }

    #[test]
    fn another_value_is_a_difference_and_the_same_is_none() {
        let one = [rendered("db", &["a.service"], "one")];
        assert!(!differ(&one, &[rendered("db", &["a.service"], "one")]) && !differ(&[], &[]));
        for other in [
            vec![],
            vec![rendered("db", &["a.service"], "two")],
            vec![rendered("key", &["a.service"], "one")],
        ] {
            assert!(differ(&one, &other), "{other:?}");
        }
    }
}
