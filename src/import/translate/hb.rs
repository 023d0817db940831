//! Expressions of Handlebars, as values and as text.
//!
//! *Invariant:* the text of an expression leads to what it names from any depth: what is not of a block begins at `@root` in one.

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hb {
    /// A secret, or a part of it.
    Root(String, Vec<String>),
    /// A name that a block defines, or a part of its value.
    Local(String, Vec<String>),
    /// `@first`, `@index` and so on, of the loop at this depth, counted from 1.
    At(&'static str, usize),
    /// A helper's call.
    Call(&'static str, Vec<Hb>),
    /// A constant text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number, as it was written.
    Float(String),
    /// `true` or `false`.
    Bool(bool),
}

impl Hb {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// How deep calls stand within each other here.
    pub(super) fn depth(&self) -> usize {
        let Self::Call(_, arguments) = self else { return 0 };
        1 + arguments.iter().map(Self::depth).max().unwrap_or_default()
    }

    /// What is in this under a name.
    pub(super) fn step(self, name: &str) -> Self {
        let fits = !name.is_empty() && !name.contains([']', '[', '"', '\'', '{', '}', '(', ')']);
        let mut longer = self.clone();
        if let Self::Root(_, steps) | Self::Local(_, steps) = &mut longer
            && fits
        {
            steps.push(name.to_owned());
            return longer;
        }
        Self::Call("lookup", vec![self, Self::text(name)])
    }

    /// What stands between the braces where this is printed, `depth` loops deep.
    pub(super) fn tag(&self, depth: usize) -> String {
        match self {
            Self::Call(name, arguments) if !arguments.is_empty() => {
                let written: Vec<String> =
                    arguments.iter().map(|argument| argument.argument(depth)).collect();
                format!("{name} {}", written.join(" "))
            }
            Self::Call(name, _) => (*name).to_owned(),
            Self::Text(_) | Self::Int(_) | Self::Float(_) | Self::Bool(_) => {
                format!("default {} \"\"", self.argument(depth))
            }
            Self::Root(..) | Self::Local(..) | Self::At(..) => self.argument(depth),
        }
    }

    /// This as an argument.
    pub(super) fn argument(&self, depth: usize) -> String {
        match self {
            Self::Root(name, steps) if depth == 0 => path(name, steps),
            Self::Root(name, steps) => format!("@root.{}", path(name, steps)),
            Self::Local(name, steps) => path(name, steps),
            Self::At(name, level) => format!("@{}{name}", "../".repeat(depth.saturating_sub(*level))),
            Self::Call(_, arguments) if arguments.is_empty() => self.tag(depth),
            Self::Call(..) => format!("({})", self.tag(depth)),
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.clone(),
            Self::Bool(is) => is.to_string(),
        }
    }
}

fn path(name: &str, steps: &[String]) -> String {
    steps.iter().fold(name.to_owned(), |path, step| {
        let plain = step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain { format!("{path}.{step}") } else { format!("{path}.[{step}]") }
    })
}
