//! Rewrites a template so that everything it prints, and every value it needs, passes through one of our helpers.
//!
//! `{{db.password}}` becomes `{{@print db.password}}`, and `(eq db.port 1)` becomes `(eq (@value db.port) 1)`. A template cannot write
//! these names itself, since a name has no `@` in Handlebars' grammar.
//!
//! *Invariant:* no expression is left that Handlebars would print by its own rules (null as nothing, maps as `[object]`).

use std::collections::HashMap;
use std::mem;

use handlebars::Template as Tree;
use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, Subexpression, TemplateElement};
use serde_json::Value;

use super::catalogue::{self, Absence, Form};

/// Prints text, a number or a boolean; anything else is an error.
pub(super) const PRINT: &str = "@print";
/// A value that must be there.
pub(super) const VALUE: &str = "@value";
/// A value, or null.
pub(super) const OPTIONAL: &str = "@optional";
/// Prints nothing; its values must be there.
pub(super) const REQUIRE: &str = "@require";
/// Prints nothing; its first value has to be one for `each`. The second argument tells whether there is an `else`.
pub(super) const WALKABLE: &str = "@walkable";
/// Prints nothing; its first value has to be one for `with`. The second argument tells whether there is an `else`.
pub(super) const ENTERABLE: &str = "@enterable";
/// Our variants of helpers that return null for a missing value, where that is allowed.
pub(super) const LENIENT: [(&str, &str); 4] =
    [("env", "@env"), ("file", "@file"), ("lookup", "@lookup"), ("meta", "@meta")];

/// Rewrites a template whose helpers are all known.
pub(super) fn rewrite(tree: &mut Tree) {
    let mut places = mem::take(&mut tree.mapping).into_iter();
    for mut element in mem::take(&mut tree.elements) {
        let place = places.next();
        if let Some(guard) = rewrite_element(&mut element) {
            tree.elements.push(guard);
            tree.mapping.extend(place.clone());
        }
        tree.elements.push(element);
        tree.mapping.extend(place);
    }
}

/// The element to put before this one, if any.
fn rewrite_element(element: &mut TemplateElement) -> Option<TemplateElement> {
    match element {
        TemplateElement::Expression(expression) | TemplateElement::HtmlExpression(expression) => {
            *element = print(expression);
            None
        }
        TemplateElement::HelperBlock(block) => {
            let guard = guard(block);
            rewrite_values(block);
            block.template.as_mut().map(rewrite);
            block.inverse.as_mut().map(rewrite);
            guard
        }
        TemplateElement::DecoratorBlock(definition) => {
            definition.template.as_mut().map(rewrite);
            None
        }
        TemplateElement::PartialExpression(call) => rewrite_partial_call(call),
        TemplateElement::RawString(_)
        | TemplateElement::Comment(_)
        | TemplateElement::DecoratorExpression(_)
        | TemplateElement::PartialBlock(_)
        | _ => None,
    }
}

/// `{{path}}`, `{{(helper …)}}` and `{{helper …}}` → `{{@print …}}`
fn print(expression: &mut HelperTemplate) -> TemplateElement {
    let name = mem::replace(&mut expression.name, Parameter::Name(String::new()));
    let takes_nothing =
        |helper: &catalogue::Helper| helper.form == Form::Inline && *helper.values.start() == 0;
    let is_call = name.as_name().and_then(catalogue::find).is_some_and(takes_nothing);
    let mut shown = if !is_call && expression.params.is_empty() && expression.hash.is_empty() {
        name
    } else {
        let (values, named) = (mem::take(&mut expression.params), mem::take(&mut expression.hash));
        Parameter::Subexpression(Subexpression::new(name, values, named))
    };
    rewrite_inner(&mut shown);
    call(PRINT, vec![shown])
}

/// Only paths need a guard: a helper raises its own error.
fn guard(block: &HelperTemplate) -> Option<TemplateElement> {
    let name = match block.name.as_name() {
        Some("each") => WALKABLE,
        Some("with") => ENTERABLE,
        _ => return None,
    };
    let path = block.params.first().filter(|value| matches!(value, Parameter::Path(_)))?;
    let has_else = Parameter::Literal(Value::Bool(block.inverse.is_some()));
    Some(call(name, vec![path.clone(), has_else]))
}

fn rewrite_partial_call(partial: &mut DecoratorTemplate) -> Option<TemplateElement> {
    partial.params.iter_mut().chain(partial.hash.values_mut()).for_each(rewrite_inner);
    let values = partial.params.iter().chain(partial.hash.values());
    let paths: Vec<Parameter> = values.filter(|value| matches!(value, Parameter::Path(_))).cloned().collect();
    (!paths.is_empty()).then(|| call(REQUIRE, paths))
}

/// Rewrites the arguments of a call by what a missing one means to its helper.
fn rewrite_values(helper_call: &mut HelperTemplate) {
    let helper = helper_call.name.as_name().and_then(catalogue::find);
    let absence = helper.map_or(Absence::Checked, |helper| helper.absence);
    for (index, value) in helper_call.params.iter_mut().enumerate() {
        let nullable = absence == Absence::Null || (absence == Absence::FirstNull && index == 0);
        if nullable {
            make_lenient(value);
        }
        rewrite_inner(value);
        match absence {
            Absence::Guarded => wrap_path(value, VALUE),
            Absence::Null => wrap_path(value, OPTIONAL),
            Absence::Checked | Absence::FirstNull => {}
        }
    }
    helper_call.hash.values_mut().for_each(rewrite_inner);
}

fn rewrite_inner(value: &mut Parameter) {
    if let Parameter::Subexpression(inner) = value
        && let TemplateElement::Expression(helper_call) = inner.element.as_mut()
    {
        rewrite_values(helper_call);
    }
}

fn wrap_path(value: &mut Parameter, helper: &str) {
    if matches!(value, Parameter::Path(_)) {
        let path = mem::replace(value, Parameter::Name(String::new()));
        let name = Parameter::Name(helper.to_owned());
        *value = Parameter::Subexpression(Subexpression::new(name, vec![path], HashMap::new()));
    }
}

/// `(env …)` → `(@env …)`
fn make_lenient(value: &mut Parameter) {
    if let Parameter::Subexpression(inner) = value
        && let TemplateElement::Expression(helper_call) = inner.element.as_mut()
        && let Some((_, lenient)) =
            LENIENT.iter().find(|(strict, _)| helper_call.name.as_name() == Some(*strict))
    {
        helper_call.name = Parameter::Name((*lenient).to_owned());
    }
}

fn call(helper: &str, values: Vec<Parameter>) -> TemplateElement {
    *Subexpression::new(Parameter::Name(helper.to_owned()), values, HashMap::new()).element
}
