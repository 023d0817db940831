//! Walks a parsed template: collects the secrets that it refers to, and refuses templates that could not render or whose references could
//! not be traced.
//!
//! It follows the same way as rendering, with both branches of every block, and into each partial from where it is called, since the
//! meaning of a name in a partial depends on the caller.
//!
//! *Invariant:* after the walk, every helper and partial in the template is known, and so is every secret that rendering can use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, Subexpression, TemplateElement};
use handlebars::{Path, Template as Tree};
use serde_json::Value;

use super::catalogue::{self, Form, Helper};
use super::scan::BLOCKS;
use super::scope::{Field, Scope, Scopes, Target, block_names};
use super::{Place, Problem, Reference};
use crate::secret::meta::KEYS;

/// The largest number of elements that a walk may visit: partials that call partials multiply.
const ELEMENTS: usize = 200_000;

/// What a template needs.
pub(super) struct Needs {
    /// Each reference once, by place.
    pub(super) references: Vec<Reference>,
    /// The files that it includes, as far as it names them literally.
    pub(super) included: BTreeSet<PathBuf>,
}

/// Walks the template.
pub(super) fn find(tree: &Tree) -> Result<Needs, Problem> {
    let mut walk = Walk {
        place: Place::START,
        scopes: Scopes::outermost(),
        partials: BTreeMap::new(),
        calls: Vec::new(),
        depth: 0,
        visited: 0,
        found: BTreeSet::new(),
        included: BTreeSet::new(),
    };
    walk.template(tree)?;
    Ok(Needs { references: walk.found.into_iter().collect(), included: walk.included })
}

struct Walk<'t> {
    /// The tag that the walk is at.
    place: Place,
    scopes: Scopes,
    /// The partials defined so far.
    partials: BTreeMap<&'t str, &'t Tree>,
    /// The partials that the walk is in.
    calls: Vec<&'t str>,
    depth: usize,
    visited: usize,
    found: BTreeSet<Reference>,
    included: BTreeSet<PathBuf>,
}

impl<'t> Walk<'t> {
    fn template(&mut self, tree: &'t Tree) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > BLOCKS + 1 {
            return self.refuse(format!("blocks and partials are nested more than {BLOCKS} deep"));
        }
        for (index, element) in tree.elements.iter().enumerate() {
            // The `else` of a chain has no position of its own: it keeps that of its block.
            if let Some(mapping) = tree.mapping.get(index) {
                self.place = Place { line: mapping.0, column: mapping.1 };
            }
            self.visited += 1;
            if self.visited > ELEMENTS {
                return self.refuse("partials call each other too often");
            }
            self.element(element)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn element(&mut self, element: &'t TemplateElement) -> Result<(), Problem> {
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                self.expression(call)
            }
            TemplateElement::HelperBlock(call) => self.block(call),
            TemplateElement::DecoratorBlock(definition) => self.definition(definition),
            TemplateElement::PartialExpression(call) => self.partial(call),
            TemplateElement::PartialBlock(_) => {
                self.refuse("a partial cannot be called with a block: use `{{> name}}`")
            }
            TemplateElement::DecoratorExpression(decorator) => {
                let name = decorator.name.as_name().unwrap_or_default();
                self.refuse(format!("there is no decorator `{name}`; there is `{{{{#*inline \"name\"}}}}`"))
            }
            _ => self.refuse("this kind of tag is not supported"),
        }
    }

    /// `{{path}}`, `{{helper value}}` or `{{(helper value)}}`
    fn expression(&mut self, call: &'t HelperTemplate) -> Result<(), Problem> {
        let alone = call.params.is_empty() && call.hash.is_empty();
        if let Parameter::Subexpression(inner) = &call.name
            && alone
        {
            return self.subexpression(inner);
        }
        let is_helper = call.name.as_name().and_then(catalogue::find).is_some();
        if let Parameter::Path(path) = &call.name
            && alone
            && !is_helper
        {
            return self.path(path).map(drop);
        }
        self.inline_call(call)
    }

    fn subexpression(&mut self, inner: &'t Subexpression) -> Result<(), Problem> {
        if let TemplateElement::Expression(call) = inner.as_element() {
            self.inline_call(call)
        } else {
            self.refuse("this is not a call of a helper")
        }
    }

    fn inline_call(&mut self, call: &'t HelperTemplate) -> Result<(), Problem> {
        let helper = self.helper(&call.name, Form::Inline)?;
        self.call(helper, call)
    }

    /// The helper of this name, if it is allowed here.
    fn helper(&self, name: &Parameter, form: Form) -> Result<&'static Helper, Problem> {
        let name = name.as_name().unwrap_or_default();
        let Some(helper) = catalogue::find(name) else {
            let near = catalogue::suggestion(name, catalogue::HELPERS.iter().map(|helper| helper.name));
            let hint = match form {
                Form::Block if near.is_empty() => {
                    "; the fields of a secret are entered with `#with` or `#each`"
                }
                Form::Inline | Form::Block | Form::Both => "",
            };
            return self.refuse(format!("there is no helper `{}`{near}{hint}", catalogue::plain(name)));
        };
        match (helper.form, form) {
            (Form::Block, Form::Inline) => self.refuse(format!("`{name}` is a block: {}", helper.usage)),
            (Form::Inline, Form::Block) => self.refuse(format!("`{name}` is not a block: {}", helper.usage)),
            _ => Ok(helper),
        }
    }

    /// The arguments of a call.
    fn call(&mut self, helper: &'static Helper, call: &'t HelperTemplate) -> Result<(), Problem> {
        let count = call.params.len();
        if !helper.values.contains(&count) {
            let usage = helper.usage;
            return self.refuse(format!("`{}` does not take {count} values; usage: {usage}", helper.name));
        }
        let takes = |key: &str| key == "includeZero" && matches!(helper.name, "if" | "unless");
        if let Some(key) = call.hash.keys().filter(|key| !takes(key)).min() {
            let usage = helper.usage;
            return self.refuse(format!("`{}` takes no `{key}=`; usage: {usage}", helper.name));
        }
        match (helper.name, call.params.as_slice()) {
            ("lookup", [Parameter::Path(path), Parameter::Literal(Value::String(key))]) => {
                self.path_to_field(path, Some(key)).map(drop)
            }
            ("meta", [subject, key]) => self.meta(subject, key),
            ("file", [Parameter::Literal(Value::String(path))]) => {
                self.included.insert(PathBuf::from(path));
                Ok(())
            }
            (_, values) => self.values(values.iter().chain(call.hash.values())),
        }
    }

    /// `(meta secret "key")`: what is known of a secret beside its fields.
    fn meta(&mut self, subject: &'t Parameter, key: &'t Parameter) -> Result<(), Problem> {
        if let Some(name) = self.calls.last() {
            // There the secret has lost its name.
            return self.refuse(format!(
                "`meta` cannot be used in a partial: pass on what it gives, as in `{{{{> {name} version=(meta db \"version\")}}}}`"
            ));
        }
        let mut target = Target::Local;
        if let Parameter::Path(path) = subject {
            target = self.scopes.resolve(path).map_err(|why| Problem::new(self.place, why))?;
        }
        let Target::Secret { name: secret, field: Field::Whole } = target else {
            return self.refuse(
                "`meta` is about a secret, as in `{{meta db \"version\"}}`, and not about a part of one",
            );
        };
        if let Parameter::Literal(Value::String(key)) = key
            && !KEYS.contains(&key.as_str())
        {
            let near = catalogue::suggestion(key, KEYS.into_iter());
            let known = format!("; it has {}", catalogue::list(KEYS.into_iter()));
            let hint = if near.is_empty() { known } else { near };
            return self.refuse(format!("`meta` has no `{}`{hint}", catalogue::plain(key)));
        }
        self.value(key)?;
        let Place { line, column } = self.place;
        self.found.insert(Reference { line, column, secret, field: None, meta: true });
        Ok(())
    }

    fn values(&mut self, values: impl Iterator<Item = &'t Parameter>) -> Result<(), Problem> {
        for value in values {
            self.value(value)?;
        }
        Ok(())
    }

    /// What a value leads to.
    fn value(&mut self, value: &'t Parameter) -> Result<Target, Problem> {
        match value {
            Parameter::Path(path) => self.path(path),
            Parameter::Subexpression(inner) => self.subexpression(inner).map(|()| Target::Local),
            Parameter::Literal(_) | Parameter::Name(_) => Ok(Target::Local),
            _ => self.refuse("this kind of value is not supported"),
        }
    }

    fn path(&mut self, path: &Path) -> Result<Target, Problem> {
        self.path_to_field(path, None)
    }

    /// Notes the secret and field of a path, or of `key` in it.
    fn path_to_field(&mut self, path: &Path, key: Option<&str>) -> Result<Target, Problem> {
        let target = self.scopes.resolve(path).map_err(|message| Problem::new(self.place, message))?;
        match &target {
            Target::Everything => self.refuse("this is every secret: name one"),
            Target::Secret { name, field } => {
                let field = match field {
                    Field::Whole => key,
                    Field::Named(field) => Some(field.as_str()),
                    Field::Any => None,
                };
                let Place { line, column } = self.place;
                let (secret, field) = (name.clone(), field.map(str::to_owned));
                self.found.insert(Reference { line, column, secret, field, meta: false });
                Ok(target)
            }
            Target::Local => Ok(target),
        }
    }

    /// `{{#helper value}}…{{else}}…{{/helper}}`; only `each` and `with` change the context, and not for the `else`.
    fn block(&mut self, call: &'t HelperTemplate) -> Result<(), Problem> {
        let place = self.place;
        let helper = self.helper(&call.name, Form::Block)?;
        self.call(helper, call)?;
        let names = self.names(helper, call)?;
        let target = match (helper.name, call.params.first()) {
            ("each" | "with", Some(Parameter::Path(path))) => Some(self.path(path)?),
            ("each" | "with", _) => Some(Target::Local),
            _ => None,
        };
        let scope = target.map(|target| match helper.name {
            "each" => Scope::new(target.clone().item(), bind(&names, [target.item(), Target::Local])),
            _ => Scope::new(target.clone(), bind(&names, [target, Target::Local])),
        });
        if let Some(body) = &call.template {
            self.within(scope, body)?;
        }
        self.place = place;
        call.inverse.as_ref().map_or(Ok(()), |inverse| self.template(inverse))
    }

    /// The names that a block defines, if it may define that many.
    fn names(&self, helper: &Helper, call: &'t HelperTemplate) -> Result<Vec<&'t str>, Problem> {
        let names = block_names(call.block_param.as_ref());
        let most = match helper.name {
            "each" => 2,
            "with" => 1,
            _ => 0,
        };
        if names.len() > most {
            return self.refuse(format!("`{}` gives {most} names, not {}", helper.name, names.len()));
        }
        Ok(names)
    }

    fn within(&mut self, scope: Option<Scope>, body: &'t Tree) -> Result<(), Problem> {
        let Some(scope) = scope else { return self.template(body) };
        self.scopes.enter(scope);
        self.template(body)?;
        self.scopes.leave();
        Ok(())
    }

    /// `{{#*inline "name"}}…{{/inline}}`
    fn definition(&mut self, definition: &'t DecoratorTemplate) -> Result<(), Problem> {
        let decorator = definition.name.as_name().unwrap_or_default();
        if decorator != "inline" {
            let message =
                format!("there is no decorator `{decorator}`; there is `{{{{#*inline \"name\"}}}}`");
            return self.refuse(message);
        }
        let [Parameter::Literal(Value::String(name))] = definition.params.as_slice() else {
            return self.refuse("a partial is defined with its name in quotes: {{#*inline \"name\"}}");
        };
        if self.depth > 1 {
            return self.refuse("a partial is defined outside of blocks and other partials");
        }
        let (Some(body), true) = (&definition.template, definition.hash.is_empty()) else {
            return self.refuse("a partial is defined with a name and a body, and nothing else");
        };
        if self.partials.insert(name, body).is_some() {
            return self.refuse(format!("the partial `{name}` is defined twice"));
        }
        Ok(())
    }

    /// `{{> name context key=value}}`
    fn partial(&mut self, call: &'t DecoratorTemplate) -> Result<(), Problem> {
        let Parameter::Name(name) = &call.name else {
            return self.refuse("the name of a partial is written out, not computed");
        };
        let Some(&body) = self.partials.get(name.as_str()) else {
            let near = catalogue::suggestion(name, self.partials.keys().copied());
            return self.refuse(format!("there is no partial `{name}` defined before this{near}"));
        };
        if self.calls.contains(&name.as_str()) {
            return self.refuse(format!("the partial `{name}` calls itself"));
        }
        let base = match call.params.as_slice() {
            [] => self.scopes.here(),
            [value] => self.value(value)?,
            _ => {
                return self
                    .refuse(format!("the partial `{name}` takes one context, not {}", call.params.len()));
            }
        };
        let mut names = Vec::new();
        for (key, value) in &call.hash {
            names.push((key.clone(), self.value(value)?));
        }
        self.calls.push(name);
        self.within(Some(Scope::new(base, names)), body)?;
        self.calls.pop();
        Ok(())
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, Problem> {
        Err(Problem::new(self.place, message))
    }
}

/// Names with their values.
fn bind(names: &[&str], targets: [Target; 2]) -> Vec<(String, Target)> {
    names.iter().map(|name| (*name).to_owned()).zip(targets).collect()
}
