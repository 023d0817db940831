//! Text and tags → the text of a Handlebars template.
//!
//! *Invariant:* text is rendered as it is, whatever stands in it and beside it: no backslash and no brace of it gets a meaning, and no line
//! break is lost. Handlebars would take a line away on which a block's tag stands alone; the empty comment `{{!}}` beside it prevents that.

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text to render as it is.
    Text(String),
    /// What stands between the braces of something that is printed.
    Print(String),
    /// What stands between the braces of a block's tag, or of a comment.
    Block(String),
}

/// The text of a template.
pub(super) fn text(tokens: &[Token]) -> String {
    let tokens = merged(tokens);
    let mut out = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let rest = tokens.get(index + 1..).unwrap_or_default();
        match token {
            Token::Text(text) => push_text(text, !rest.is_empty(), &mut out),
            Token::Print(inside) => out.extend(["{{", inside, "}}"]),
            Token::Block(inside) => {
                let alone = begins_line(&out) && ends_line(rest);
                out.extend(["{{", inside, "}}", if alone { "{{!}}" } else { "" }]);
            }
        }
    }
    out
}

/// The same with each text as one.
fn merged(tokens: &[Token]) -> Vec<Token> {
    let mut merged: Vec<Token> = Vec::new();
    for token in tokens {
        match (merged.last_mut(), token) {
            (Some(Token::Text(before)), Token::Text(more)) => before.push_str(more),
            (_, Token::Text(text)) if text.is_empty() => {}
            _ => merged.push(token.clone()),
        }
    }
    merged
}

/// Whether nothing but blanks stands before this on its line.
fn begins_line(before: &str) -> bool {
    let trimmed = before.trim_end_matches([' ', '\t']);
    trimmed.is_empty() || trimmed.ends_with(['\n', '\r'])
}

/// Whether nothing but blanks stands on the rest of the line.
fn ends_line(rest: &[Token]) -> bool {
    match rest {
        [] => true,
        [Token::Text(text), later @ ..] => {
            let trimmed = text.trim_start_matches([' ', '\t']);
            trimmed.starts_with(['\n', '\r']) || (trimmed.is_empty() && later.is_empty())
        }
        [Token::Print(_) | Token::Block(_), ..] => false,
    }
}

/// Adds text. Braces become `\{{`; where that cannot be written, before a tag and behind a backslash, they are printed as a constant.
fn push_text(literal: &str, before_tag: bool, out: &mut String) {
    let braces = if before_tag { literal.len() - literal.trim_end_matches('{').len() } else { 0 };
    let (body, tail) = literal.split_at(literal.len() - braces);
    let mut rest = body;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        let count = from.len() - from.trim_start_matches('{').len();
        let (run, after) = from.split_at(count);
        if before.ends_with('\\') {
            push_backslashes(before, out);
            push_constant(run, out);
        } else {
            out.push_str(before);
            out.push_str(&escaped(run));
        }
        rest = after;
    }
    if before_tag || !tail.is_empty() {
        push_backslashes(rest, out);
    } else {
        out.push_str(rest);
    }
    if !tail.is_empty() {
        push_constant(tail, out);
    }
}

/// Adds text that a tag follows: of several backslashes Handlebars takes one away, and one alone would escape the tag.
fn push_backslashes(text: &str, out: &mut String) {
    out.push_str(text);
    if text.ends_with('\\') {
        out.push('\\');
    }
}

/// `\{{` for each two braces, and `\{{{{` for each four, as the parser takes them.
fn escaped(run: &str) -> String {
    let count = run.len();
    let four = "\\{{{{".repeat(count / 4);
    let rest = match count % 4 {
        0 => "",
        1 => "{",
        2 => "\\{{",
        _ => "\\{{{",
    };
    four + rest
}

fn push_constant(text: &str, out: &mut String) {
    let constant = serde_json::Value::from(text).to_string();
    out.extend(["{{default ", &constant, " \"\"}}"]);
}

/// A comment about something that was left.
pub(super) fn left(about: &str) -> Token {
    comment(&format!(" squire import: {about} "))
}

/// A comment.
pub(super) fn comment(inside: &str) -> Token {
    let mut inside = inside.to_owned();
    while inside.contains("--}}") {
        inside = inside.replace("--}}", "-- }}");
    }
    let behind = if inside.ends_with('-') { " " } else { "" };
    Token::Block(format!("!--{inside}{behind}--"))
}

/// A text on one line, shortened.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
