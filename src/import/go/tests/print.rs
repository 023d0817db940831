//! A tree → a text that means the same: the way back of the parser.

use crate::import::go::{Branch, Command, Kind, Node, Pipe, Term, Tree};

/// The text of a tree.
pub(super) fn tree(tree: &Tree) -> String {
    let defined = tree
        .defined
        .iter()
        .map(|(name, body)| format!("{{{{define {}}}}}{}{{{{end}}}}", quoted(name), nodes(body)));
    defined.collect::<String>() + &nodes(&tree.body)
}

/// A tree as one line of brackets, for tables.
pub(super) fn shape(tree: &Tree) -> String {
    nodes(&tree.body)
}

fn nodes(list: &[Node]) -> String {
    list.iter().map(node).collect()
}

fn node(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Comment(text) => format!("{{{{/*{text}*/}}}}"),
        Kind::Action(value) => format!("{{{{{}}}}}", pipe(value)),
        Kind::If(branch) => block("if", branch),
        Kind::With(branch) => block("with", branch),
        Kind::Range(branch) => block("range", branch),
        Kind::Break => "{{break}}".to_owned(),
        Kind::Continue => "{{continue}}".to_owned(),
        Kind::Template { name, dot: None } => format!("{{{{template {}}}}}", quoted(name)),
        Kind::Template { name, dot: Some(dot) } => format!("{{{{template {} {}}}}}", quoted(name), pipe(dot)),
    }
}

fn block(keyword: &str, branch: &Branch) -> String {
    let otherwise = match branch.otherwise.as_slice() {
        [] => String::new(),
        list => format!("{{{{else}}}}{}", nodes(list)),
    };
    format!("{{{{{keyword} {}}}}}{}{otherwise}{{{{end}}}}", pipe(&branch.pipe), nodes(&branch.body))
}

fn pipe(pipe: &Pipe) -> String {
    let sign = if pipe.assigns { "=" } else { ":=" };
    let variables = pipe.variables.join(", ");
    let lead = if variables.is_empty() { variables } else { format!("{variables} {sign} ") };
    lead + &pipe.commands.iter().map(command).collect::<Vec<_>>().join(" | ")
}

fn command(command: &Command) -> String {
    command.terms.iter().map(term).collect::<Vec<_>>().join(" ")
}

fn term(value: &Term) -> String {
    match value {
        Term::Dot => ".".to_owned(),
        Term::Nil => "nil".to_owned(),
        Term::Bool(is) => is.to_string(),
        Term::Int(number) => number.to_string(),
        Term::Float(number) => number.clone(),
        Term::Text(text) => quoted(text),
        Term::Function(name) => name.clone(),
        Term::Field(names) => fields(names),
        Term::Variable(name, names) => name.clone() + &fields(names),
        Term::Pipe(inner) => format!("({})", pipe(inner)),
        Term::Chain(inner, names) => term(inner) + &fields(names),
    }
}

fn fields(names: &[String]) -> String {
    names.iter().fold(String::new(), |written, name| written + "." + name)
}

fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
