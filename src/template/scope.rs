//! The meaning of a path at its place in a template: a field of a secret, or something local.
//!
//! It resolves paths as Handlebars does when it renders: every block that changes the context pushes one scope.
//!
//! *Invariant:* a path is refused if it cannot be attributed to a secret, or to a value made from a secret that was referred to.

use handlebars::template::{BlockParam, Parameter};
use handlebars::{Path, PathSeg};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Every secret by its name: the outermost context.
    Everything,
    /// A secret or a part of one.
    Secret { name: String, field: Field },
    /// A value that the template made.
    Local,
}

/// The field of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Whole,
    Named(String),
    /// One of the items, in an `each`.
    Any,
}

impl Target {
    /// The meaning of a name at this place.
    fn field(self, step: &str) -> Self {
        match self {
            Self::Everything => Self::Secret { name: step.to_owned(), field: Field::Whole },
            Self::Secret { name, field: Field::Whole } => {
                Self::Secret { name, field: Field::Named(step.to_owned()) }
            }
            Self::Secret { .. } | Self::Local => self,
        }
    }

    /// The meaning of an item of it, in an `each`.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Secret { name, field: Field::Whole } => Self::Secret { name, field: Field::Any },
            Self::Everything | Self::Secret { .. } | Self::Local => self,
        }
    }
}

/// The context of relative names.
#[derive(Debug)]
pub(super) struct Scope {
    base: Target,
    names: Vec<(String, Target)>,
}

impl Scope {
    /// `names`: the names that the scope itself defines.
    pub(super) fn new(base: Target, names: Vec<(String, Target)>) -> Self {
        Self { base, names }
    }
}

/// The scopes from the outermost in.
#[derive(Debug)]
pub(super) struct Scopes(Vec<Scope>);

impl Scopes {
    pub(super) fn outermost() -> Self {
        Self(vec![Scope::new(Target::Everything, Vec::new())])
    }

    pub(super) fn enter(&mut self, scope: Scope) {
        self.0.push(scope);
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// The context here.
    pub(super) fn here(&self) -> Target {
        self.0.last().map_or(Target::Everything, |scope| scope.base.clone())
    }

    /// The meaning of a path here, or what is wrong with it.
    pub(super) fn resolve(&self, path: &Path) -> Result<Target, String> {
        match path {
            Path::Local((level, name, raw)) => self.local(*level, name, raw),
            Path::Relative((segments, raw)) => {
                let up = segments.iter().filter(|segment| matches!(segment, PathSeg::Ruled(_))).count();
                let names: Vec<&str> = segments.iter().filter_map(named).collect();
                self.relative(is_rooted(raw), up, &names)
                    .ok_or_else(|| format!("`{raw}` climbs out of the template"))
            }
        }
    }

    fn relative(&self, rooted: bool, up: usize, names: &[&str]) -> Option<Target> {
        let (base, names) = match names {
            _ if rooted => (Target::Everything, names),
            [first, rest @ ..] if self.named(first).is_some() => (self.named(first)?.clone(), rest),
            _ => (self.0.iter().rev().nth(up)?.base.clone(), names),
        };
        Some(names.iter().fold(base, |target, step| target.field(step)))
    }

    /// A name of a block: Handlebars looks for it in every scope from the innermost to the outermost, even after `../`.
    fn named(&self, name: &str) -> Option<&Target> {
        let mut names = self.0.iter().rev().flat_map(|scope| &scope.names);
        names.find(|(known, _)| known == name).map(|(_, target)| target)
    }

    /// `@index` and similar names.
    fn local(&self, level: usize, name: &str, raw: &str) -> Result<Target, String> {
        match name {
            "index" | "key" | "first" | "last" if level < self.0.len() => Ok(Target::Local),
            "root" => Err("`@root` alone is every secret: name one, as in `@root.db.password`".to_owned()),
            _ => Err(format!(
                "there is no `{raw}`; there are `@index`, `@key`, `@first`, `@last` and `@root.…`"
            )),
        }
    }
}

/// Handlebars does not export the kinds of its segments, so the written path tells `@root` from `..`.
pub(super) fn is_rooted(raw: &str) -> bool {
    let current = ["this.", "this/", "./"];
    current.iter().find_map(|prefix| raw.strip_prefix(prefix)).unwrap_or(raw).starts_with("@root")
}

/// The name in a segment; none for `..` and `@root`.
pub(super) fn named(segment: &PathSeg) -> Option<&str> {
    if let PathSeg::Named(name) = segment { Some(name) } else { None }
}

/// The names that a block defines, as in `as |value key|`.
pub(super) fn block_names(names: Option<&BlockParam>) -> Vec<&str> {
    match names {
        Some(BlockParam::Single(one)) => vec![one],
        Some(BlockParam::Pair((one, other))) => vec![one, other],
        _ => Vec::new(),
    }
    .into_iter()
    .filter_map(Parameter::as_name)
    .collect()
}
