//! The numbers of docs/limits.md are those of the code.

use std::fs;
use std::path::Path;

use super::page::{only_code, page, repository};

/// The expression of a constant in a file below `src`.
fn expression(place: &str) -> String {
    let (file, name) = place.split_once(": ").unwrap_or_else(|| panic!("{place}: write FILE: NAME"));
    let text = fs::read_to_string(repository().join("src").join(file))
        .unwrap_or_else(|_| panic!("{place}: no such file"));
    let line = text.lines().find(|line| line.contains(&format!("const {name}:")));
    let line = line.unwrap_or_else(|| panic!("{place}: no such constant"));
    line.rsplit_once(" = ").unwrap().1.trim_end_matches(';').to_owned()
}

/// The value of an expression, in bytes, numbers or milliseconds.
fn value(expression: &str) -> u64 {
    let number = |text: &str| {
        text.replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("not understood: {text}"))
    };
    let product = |text: &str| text.split(" * ").map(number).product::<u64>();
    for (unit, milliseconds) in [("millis", 1), ("secs", 1000), ("mins", 60_000), ("hours", 3_600_000)] {
        let call = format!("Duration::from_{unit}(");
        if let Some(inside) = expression.strip_prefix(&call) {
            return product(inside.trim_end_matches(')')) * milliseconds;
        }
    }
    match expression.split_once(" << ") {
        Some((number_of, bits)) => number(number_of) << number(bits),
        None => product(expression),
    }
}

/// What a cell says, in the same units: its first number with the word behind it.
fn said(cell: &str) -> u64 {
    let mut words = cell.split_whitespace();
    let number: u64 =
        words.next().unwrap().replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {cell}"));
    number
        * match words.next() {
            Some("KiB") => 1 << 10,
            Some("MiB") => 1 << 20,
            Some("GiB") => 1 << 30,
            Some("s") => 1000,
            Some("min") => 60_000,
            Some("h") => 3_600_000,
            _ => 1,
        }
}

#[test]
fn every_limit_is_the_one_of_the_code() {
    let page = page(Path::new("docs/limits.md"));
    let mut compared = 0;
    for row in &page.rows {
        let [what, limit, _, place] = &row.cells[..] else { panic!("{}: {:?}", row.place, row.cells) };
        if place.is_empty() {
            continue;
        }
        let place = only_code(place).unwrap();
        assert_eq!(said(limit), value(&expression(place)), "{}: {what}: {limit}, but {place}", row.place);
        compared += 1;
    }
    assert!(compared > 40, "only {compared} limits were compared");
}

#[test]
fn expressions_and_cells_have_the_same_units() {
    for (expression, cell) in [
        ("16 << 10", "16 KiB"),
        ("16 * 1024 * 1024", "16 MiB at least"),
        ("10_000", "10,000"),
        ("Duration::from_mins(5)", "5 min"),
        ("Duration::from_millis(100)", "100 ms"),
        ("Duration::from_hours(1)", "1 h"),
    ] {
        assert_eq!(value(expression), said(cell), "{expression}");
    }
}
