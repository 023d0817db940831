//! A line of a shell → words and operators.
//!
//! *Invariant:* nothing is expanded. `$(…)` and backticks stay as they are, as a part of their word.

use std::iter::Peekable;
use std::str::Chars;

/// A word without its quotes, or what stands between words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Token {
    /// A word.
    Word(String),
    /// `&&`, `||`, `;`, `|`, `&`, `>`, `2>`, `2>&1`, `<`, …
    Operator(String),
}

/// The words of a line that has nothing but words.
pub(in super::super) fn plain_words(line: &str) -> Option<Vec<String>> {
    let words = tokens(line)?.into_iter().map(|token| match token {
        Token::Word(word) if !word.contains(['$', '`', '*', '?', '~']) => Some(word),
        Token::Word(_) | Token::Operator(_) => None,
    });
    words.collect()
}

/// All words and operators; `None` if a quote is not closed, or there is something that only a shell can read.
pub(in super::super) fn tokens(line: &str) -> Option<Vec<Token>> {
    let mut chars = line.chars().peekable();
    let mut tokens = Vec::new();
    // The word so far; `Some` also for an empty one in quotes.
    let mut word: Option<String> = None;
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => end(&mut word, &mut tokens),
            '\n' => {
                end(&mut word, &mut tokens);
                if !matches!(tokens.last(), None | Some(Token::Operator(_))) {
                    tokens.push(Token::Operator(";".to_owned()));
                }
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            '$' if chars.peek() == Some(&'(') => substitution(&mut chars, word.get_or_insert_default())?,
            '`' => {
                let word = word.get_or_insert_default();
                word.push('`');
                loop {
                    let c = chars.next()?;
                    word.push(c);
                    if c == '`' {
                        break;
                    }
                }
            }
            '&' | '|' | ';' | '>' | '<' => {
                let descriptor =
                    word.take_if(|word| matches!(c, '>' | '<') && matches!(word.as_str(), "1" | "2"));
                end(&mut word, &mut tokens);
                tokens.push(Token::Operator(operator(c, &descriptor.unwrap_or_default(), &mut chars)));
            }
            '#' if word.is_none() => return None,
            '(' | ')' => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut tokens);
    Some(tokens)
}

fn end(word: &mut Option<String>, tokens: &mut Vec<Token>) {
    tokens.extend(word.take().map(Token::Word));
}

/// The whole operator that begins with this character.
fn operator(first: char, descriptor: &str, chars: &mut Peekable<Chars<'_>>) -> String {
    let mut operator = descriptor.trim_start_matches('1').to_owned();
    operator.push(first);
    let doubles = |c: char| c == first || (first == '&' && c == '>');
    if let Some(c) = chars.next_if(|c| doubles(*c)) {
        operator.push(c);
    } else if first == '>' && chars.peek() == Some(&'&') {
        operator.extend(chars.next());
        while let Some(c) = chars.next_if(char::is_ascii_digit) {
            operator.push(c);
        }
    }
    operator
}

fn double_quoted(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                '\n' => {}
                c => word.extend(['\\', c]),
            },
            '$' if chars.peek() == Some(&'(') => substitution(chars, word)?,
            c => word.push(c),
        }
    }
}

/// `$(…)`, whose `$` is read.
fn substitution(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> Option<()> {
    let mut depth = 0_usize;
    word.push('$');
    loop {
        let c = chars.next()?;
        word.push(c);
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(()),
            ')' => depth -= 1,
            _ => {}
        }
    }
}
