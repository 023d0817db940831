//! Random trees, printed and read again; random texts, which must not panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::print;
use crate::import::go::{Branch, Command, Delimiters, Kind, Node, Pipe, Term, Tree, parse};

/// Names of which none is a keyword.
const NAME: &str = "[a-d_][A-Da-d0-9é]{0,3}x";

fn node(kind: Kind) -> Node {
    Node { span: 0..0, kind }
}

fn simple_term() -> impl Strategy<Value = Term> {
    prop_oneof![
        Just(Term::Dot),
        Just(Term::Variable("$".to_owned(), Vec::new())),
        any::<bool>().prop_map(Term::Bool),
        any::<i64>().prop_map(Term::Int),
        (0..1000_u32, 1..99_u32).prop_map(|(whole, part)| Term::Float(format!("{whole}.{part}"))),
        "\\PC{0,6}".prop_map(Term::Text),
        "[\"\\\\\n\t{}-]{0,4}".prop_map(Term::Text),
        NAME.prop_map(Term::Function),
        proptest::collection::vec(NAME, 1..3).prop_map(Term::Field),
        proptest::collection::vec(NAME, 1..3).prop_map(|names| Term::Variable("$".to_owned(), names)),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    simple_term().prop_recursive(3, 12, 3, |inner| {
        let pipe = pipe_of(inner).prop_map(|pipe| Term::Pipe(Box::new(pipe)));
        let chain = (pipe.clone(), proptest::collection::vec(NAME, 1..3));
        prop_oneof![pipe, chain.prop_map(|(inner, names)| Term::Chain(Box::new(inner), names))]
    })
}

/// The first term of what gets a value is a function.
fn pipe_of(term: impl Strategy<Value = Term> + Clone) -> impl Strategy<Value = Pipe> + Clone {
    let arguments = proptest::collection::vec(term.clone(), 0..3);
    let first = (term, arguments.clone()).prop_map(|(first, rest)| command(first, rest));
    let later = (NAME, arguments).prop_map(|(name, rest)| command(Term::Function(name), rest));
    (first, proptest::collection::vec(later, 0..3)).prop_map(|(first, later)| {
        let commands = std::iter::once(first).chain(later).collect();
        Pipe { span: 0..0, variables: Vec::new(), assigns: false, commands }
    })
}

fn command(first: Term, rest: Vec<Term>) -> Command {
    Command { terms: std::iter::once(first).chain(rest).collect() }
}

fn pipe() -> impl Strategy<Value = Pipe> + Clone {
    pipe_of(term().boxed())
}

fn leaf() -> impl Strategy<Value = Kind> {
    prop_oneof![
        "[ -z\n]{1,8}".prop_map(Kind::Text),
        "[ -)+-z\n]{0,6}".prop_map(Kind::Comment),
        pipe().prop_map(Kind::Action),
        pipe().prop_map(|mut pipe| {
            pipe.variables = vec!["$new".to_owned()];
            Kind::Action(pipe)
        }),
        (NAME, proptest::option::of(pipe())).prop_map(|(name, dot)| Kind::Template { name, dot }),
    ]
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let list = |kind: BoxedStrategy<Kind>| {
        proptest::collection::vec(kind.prop_map(node), 0..4).prop_map(joined).boxed()
    };
    leaf()
        .boxed()
        .prop_recursive(4, 24, 4, move |inner| {
            let branch = (pipe(), list(inner.clone()), list(inner))
                .prop_map(|(pipe, body, otherwise)| Branch { pipe, body, otherwise });
            (branch, 0..3).prop_map(|(mut branch, kind)| match kind {
                0 => Kind::If(branch),
                1 => Kind::With(branch),
                _ => {
                    branch.body.push(node(Kind::Break));
                    branch.pipe.variables = vec!["$k".to_owned(), "$v".to_owned()];
                    Kind::Range(branch)
                }
            })
        })
        .prop_map(node)
        .prop_map(|one| vec![one])
        .boxed()
        .prop_flat_map(|one| proptest::collection::vec(Just(one), 1..3))
        .prop_map(|lists| joined(lists.concat()))
}

/// Two texts beside each other would be read as one.
fn joined(list: Vec<Node>) -> Vec<Node> {
    let mut joined: Vec<Node> = Vec::new();
    for next in list {
        match (joined.last_mut().map(|last| &mut last.kind), &next.kind) {
            (Some(Kind::Text(before)), Kind::Text(after)) => before.push_str(after),
            _ => joined.push(next),
        }
    }
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_printed_tree_is_read_again(body in nodes(), name in NAME, defined in nodes()) {
        let written = Tree { body, defined: BTreeMap::from([(name, defined)]) };
        let text = print::tree(&written);
        let blank = |nodes: &Vec<Node>| nodes.iter().all(|node| matches!(&node.kind, Kind::Text(text) if text.trim().is_empty()));
        prop_assume!(!written.defined.values().any(blank));
        prop_assert_eq!(parse(&text, &Delimiters::default()), Ok(written), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "(\\{\\{|\\}\\}|-|[ -~\n]|é|if|end|\\$x|range|with|else|/\\*|\\*/|\"|`){0,24}") {
        let read = parse(&text, &Delimiters::default());
        if let Err(error) = read {
            prop_assert!(text.is_char_boundary(error.at), "{} in {}", error.at, text);
        }
        drop(parse(&text, &Delimiters::new(Some("-"), Some("-"))));
    }
}
