//! `env = true`: a template of `NAME=value` lines → variables of the process.
//!
//! *Invariant:* a template whose lines are not plainly variables becomes a file that a shell reads before the program begins; which of the
//! two it is does not change what the program sees, unless a value needs quotes for a shell, and that is told.

use super::super::block::Reading;
use super::super::foreign::{File, Reaction, Variable};

/// Puts the lines of a translated template into the process's environment.
pub(super) fn take_over(file: File, reading: &mut Reading<'_>) {
    let Some(template) = &file.template else {
        reading.foreign.process.remarks.push(file.remarks);
        return;
    };
    if let Some(Reaction::Nothing) = file.on_change {
        reading.foreign.process.on_change = Some(Reaction::Nothing);
    } else if file.on_change.is_some() {
        let advice = "a running process cannot get a new environment, so Squire restarts it";
        reading.notes.told(file.place.clone(), "change_mode", advice);
    }
    // An empty comment is how a translation keeps white space that Handlebars would take away.
    let bare = template.replace("{{!}}", "");
    let lines: Option<Vec<(String, String)>> =
        bare.lines().filter(|line| says_something(line)).map(variable).collect();
    if let Some(lines) = lines {
        for (name, template) in lines {
            let constant = (!template.contains("{{")).then(|| template.clone());
            reading.foreign.process.env.push(Variable {
                name,
                template,
                constant,
                remarks: file.remarks.clone(),
            });
        }
        return;
    }
    let advice = "which variables there are is known only when it is rendered: a shell reads them from the file before the program begins, \
                  so a value with a space or a `$` needs quotes there";
    reading.notes.told(file.place.clone(), "env = true", advice);
    reading.foreign.process.sourced.push(file.path.clone());
    reading.foreign.files.push(File { on_change: None, ..file });
}

fn says_something(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// `NAME=value`, if the line stands for itself.
fn variable(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let opens = ["{{#", "{{/", "{{else", "{{^", "{{~", "~}}", "{{!"];
    let is_whole = !opens.iter().any(|sign| line.contains(sign))
        && line.matches("{{").count() == line.matches("}}").count();
    let unquoted = ['"', '\''].iter().find_map(|quote| {
        let inner = value.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains(*quote) || inner.contains("{{")).then_some(inner)
    });
    (is_name && is_whole).then(|| (name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_variable_or_none() {
        let is = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        let cases = [
            ("A=b", is("A", "b")),
            ("export A=\"{{x.y}}\"", is("A", "{{x.y}}")),
            ("  A='b c'", is("A", "b c")),
            ("A=", is("A", "")),
            ("A=\"b", is("A", "\"b")),
            ("{{#each x}}A={{this}}", None),
            ("{{@key}}={{this}}", None),
            ("A={{x", None),
            ("nothing", None),
        ];
        for (line, expected) in cases {
            assert_eq!(variable(line), expected, "{line}");
        }
    }
}
