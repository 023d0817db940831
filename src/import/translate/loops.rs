//! What the variables around a loop are in its rounds: counters, and what differs in the first round only.
//!
//! *Invariant:* a variable that is set in a loop in another way is unknown in it and behind it; nothing is guessed.

use super::value::{Const, Value};
use crate::import::go::{Command, Kind, Node, Pipe, Term};

/// The names of the variables that are set (by `=`) somewhere in these nodes, each once.
pub(super) fn assigned(nodes: &[Node]) -> Vec<String> {
    let mut names = Vec::new();
    each_assignment(nodes, &mut |pipe, _| {
        for name in &pipe.variables {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    });
    names
}

/// What a variable with the value `before` is while a loop at this depth runs over this body.
pub(super) fn in_rounds(name: &str, before: &Value, body: &[Node], level: usize) -> Value {
    let unknown = || {
        Value::Unknown(format!(
            "`{name}` changes in a loop in a way that has no equivalent; @index, @first and @last tell \
                about the round"
        ))
    };
    let mut nested = false;
    let mut set = Vec::new();
    each_assignment(body, &mut |pipe, around| {
        if pipe.variables.first().map(String::as_str) == Some(name) {
            nested |= !around.iter().all(|(pipe, body)| is_of_first_round(pipe, name, before, *body));
            set.push((pipe.clone(), around.len()));
        }
    });
    match (before, set.as_slice()) {
        (Value::Const(Const::Int(start)), [(pipe, 0)]) if is_increment(pipe, name) => {
            Value::Counter(level, *start)
        }
        (Value::Const(first), [(pipe, _), rest @ ..]) if !nested => match constant(pipe) {
            Some(later) if rest.iter().all(|(other, _)| constant(other).as_ref() == Some(&later)) => {
                Value::Once(level, first.clone(), later)
            }
            _ => unknown(),
        },
        _ => unknown(),
    }
}

/// A body without `continue`: what follows an `if` that ends with one goes into its `else`. Nothing where that does not do, or with a `break`.
pub(super) fn without_continue(body: &[Node]) -> Option<Vec<Node>> {
    let mut kept = Vec::new();
    for (index, node) in body.iter().enumerate() {
        if !leaves(std::slice::from_ref(node)) {
            kept.push(node.clone());
            continue;
        }
        let Kind::If(branch) = &node.kind else { return None };
        let (last, before) = branch.body.split_last()?;
        if last.kind != Kind::Continue || leaves(before) || leaves(&branch.otherwise) {
            return None;
        }
        let mut branch = branch.clone();
        branch.body = before.to_vec();
        branch.otherwise.extend(without_continue(body.get(index + 1..).unwrap_or_default())?);
        kept.push(Node { span: node.span.clone(), kind: Kind::If(branch) });
        return Some(kept);
    }
    Some(kept)
}

/// Whether there is a `break` or `continue` of the loop around these.
fn leaves(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match &node.kind {
        Kind::Break | Kind::Continue => true,
        Kind::If(branch) | Kind::With(branch) => leaves(&branch.body) || leaves(&branch.otherwise),
        Kind::Range(branch) => leaves(&branch.otherwise),
        Kind::Action(_) | Kind::Text(_) | Kind::Comment(_) | Kind::Template { .. } => false,
    })
}

/// What decides a block, and whether this is about its body and not its `else`.
type Around<'n> = (&'n Pipe, bool);

/// Calls this for each `=`, with what decides the blocks around it, and whether it stands in their body or in their `else`.
fn each_assignment(nodes: &[Node], found: &mut dyn FnMut(&Pipe, &[Around<'_>])) {
    fn walk<'n>(
        nodes: &'n [Node],
        around: &mut Vec<Around<'n>>,
        found: &mut dyn FnMut(&Pipe, &[Around<'_>]),
    ) {
        for node in nodes {
            match &node.kind {
                Kind::Action(pipe) if pipe.assigns => found(pipe, around),
                Kind::If(branch) | Kind::With(branch) | Kind::Range(branch) => {
                    if branch.pipe.assigns {
                        found(&branch.pipe, around);
                    }
                    for (nodes, is_body) in [(&branch.body, true), (&branch.otherwise, false)] {
                        around.push((&branch.pipe, is_body));
                        walk(nodes, around, found);
                        around.pop();
                    }
                }
                Kind::Action(_)
                | Kind::Text(_)
                | Kind::Comment(_)
                | Kind::Break
                | Kind::Continue
                | Kind::Template { .. } => {}
            }
        }
    }
    walk(nodes, &mut Vec::new(), found);
}

/// Whether this branch of `if $name` or `if not $name` is taken in the first round.
fn is_of_first_round(pipe: &Pipe, name: &str, before: &Value, is_body: bool) -> bool {
    let Value::Const(first) = before else { return false };
    let is_variable =
        |term: &Term| matches!(term, Term::Variable(variable, names) if variable == name && names.is_empty());
    match terms(pipe) {
        Some([one]) => is_variable(one) && is_body == first.is_true(),
        Some([Term::Function(function), one]) => {
            function == "not" && is_variable(one) && is_body != first.is_true()
        }
        _ => false,
    }
}

/// The terms of a pipeline of one command.
fn terms(pipe: &Pipe) -> Option<&[Term]> {
    match pipe.commands.as_slice() {
        [Command { terms }] => Some(terms),
        _ => None,
    }
}

/// `add $name 1`, `add 1 $name` and `$name | add 1`
fn is_increment(pipe: &Pipe, name: &str) -> bool {
    let is_variable =
        |term: &Term| matches!(term, Term::Variable(variable, names) if variable == name && names.is_empty());
    let is_add = |function: &str| function == "add" || function == "sprig_add";
    match pipe.commands.as_slice() {
        [Command { terms }] => match terms.as_slice() {
            [Term::Function(function), Term::Int(1), one] | [Term::Function(function), one, Term::Int(1)] => {
                is_add(function) && is_variable(one)
            }
            [Term::Function(function), one] => function == "sprig_add1" && is_variable(one),
            _ => false,
        },
        [Command { terms: first }, Command { terms: second }] => {
            match (first.as_slice(), second.as_slice()) {
                ([one], [Term::Function(function), Term::Int(1)]) => is_add(function) && is_variable(one),
                _ => false,
            }
        }
        _ => false,
    }
}

fn constant(pipe: &Pipe) -> Option<Const> {
    match terms(pipe)? {
        [Term::Bool(is)] => Some(Const::Bool(*is)),
        [Term::Int(number)] => Some(Const::Int(*number)),
        [Term::Text(text)] => Some(Const::Text(text.clone())),
        _ => None,
    }
}
