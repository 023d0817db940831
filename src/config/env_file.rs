//! Files of environment variables, in the format of `docker run --env-file` and `.env`.
//!
//! Each line is `NAME=value`. `export` before it, blank lines and lines that begin with `#` are ignored. Quotes around a value are removed.
//! Nothing in it is expanded, since `${…}` may be a reference.
//!
//! *Invariant:* pure; no problem contains a value.

use super::text;

/// Every variable of the text, in the order written.
///
/// # Errors
/// Every problem, with its line.
pub fn variables(file: &str, text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
    let mut problems = Vec::new();
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        match variable(line) {
            Ok(variable) => variables.extend(variable),
            Err(why) => problems.push(format!("{file}:{number}: {why}")),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

fn variable(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("is no variable; write NAME=value")?;
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    if !text::is_identifier(name) {
        return Err("has no name before its `=`; use letters, digits and `_`");
    }
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find(|quote| value.starts_with(*quote));
    let value = match quoted {
        Some(quote) => value[1..].strip_suffix(quote).ok_or("has a quote that is not closed in its line")?,
        None => value,
    };
    if value.contains('\0') {
        return Err("contains a NUL character, which no environment can carry");
    }
    Ok(Some((name.to_owned(), value.to_owned())))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_to_the_letter() {
        let text = "\u{feff}# a comment\n\nA=1\nexport B = two words \nC='x # $HOME'\r\nD=\"\"\nE=a=b#c\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "x # $HOME"), ("D", ""), ("E", "a=b#c")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables("app.env", text).unwrap(), expected);
    }

    #[test]
    fn every_problem_has_its_line_and_no_value() {
        let problems = variables("app.env", "A\n=hunter2\nB-C=hunter2\nD='hunter2\nE=1").unwrap_err();
        assert_eq!(problems.len(), 4);
        assert!(problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
        assert_eq!(problems[0], "app.env:1: is no variable; write NAME=value");
        assert!(problems[3].starts_with("app.env:4: has a quote"), "{problems:?}");
    }
}
