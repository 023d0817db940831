//! What `squire audit` prints: for people, or as JSON.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::read::Checked;
use crate::audit::report::{Deviation, Report, Row};
use crate::chain::Point;
use crate::plain::{plain, plain_json};

/// Prints a line. Who closed the pipe needs none.
pub(super) fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{}", plain(text)));
}

pub(super) fn verdict(file: &Path, checked: &Checked<()>, since: Option<Point>, as_json: bool) {
    let Checked { verdict, has_point, others, .. } = checked;
    let mut findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    if let Some(since) = since.filter(|_| !has_point) {
        findings.push(format!("there is no entry {since}: it was removed, or it is of another audit"));
    }
    if as_json {
        let others: Vec<_> = others.iter().map(|path| path.display().to_string()).collect();
        let end = (verdict.lines > 0).then(|| verdict.last.to_string());
        return line_of(&json!({
            "file": file.display().to_string(),
            "whole": findings.is_empty(),
            "lines": verdict.lines,
            "end": end,
            "findings": findings,
            "after_anchor": verdict.after_anchor,
            "unfinished_bytes": verdict.unfinished,
            "others": others,
        }));
    }
    for finding in &findings {
        line(finding);
    }
    for other in others {
        line(&format!("note: {} has the name of an audit, and is no part of it", other.display()));
    }
    if verdict.after_anchor > 0 || verdict.unfinished > 0 {
        line(
            "note: the last lines are not in the anchor yet: squire writes them now, or was killed just then",
        );
    }
    let lines = verdict.lines;
    if findings.is_empty() {
        line(&format!("{}: whole: {lines} lines, up to {}", file.display(), verdict.last));
    } else {
        line(&format!(
            "{}: NOT as squire wrote it: {} findings in {lines} lines",
            file.display(),
            findings.len()
        ));
    }
}

pub(super) fn report(report: &Report, findings: usize, as_json: bool) {
    if as_json {
        let mut value = serde_json::to_value(report).unwrap_or_default();
        value["findings_of_verify"] = json!(findings);
        return line_of(&value);
    }
    if findings > 0 {
        line(&format!(
            "WARNING: the audit is not as squire wrote it ({findings} findings): see `squire audit verify`"
        ));
    }
    line(&format!("since {}", report.since));
    table(&report.uses);
    line("");
    match &report.compared_since {
        None => line("nothing is known of the time before, so nothing can be compared"),
        Some(_) if report.deviations.is_empty() => line("nothing is otherwise than before"),
        Some(before) => {
            line(&format!("otherwise than since {before}:"));
            report.deviations.iter().for_each(|deviation| line(&format!("  {}", words(deviation))));
        }
    }
}

fn words(deviation: &Deviation) -> String {
    match deviation {
        Deviation::NewPath { of } => {
            format!("{} {} reads {} for the first time", of.source, of.login, of.path)
        }
        Deviation::NewHour { of, hour } => {
            format!("{} {} reads {} at {hour:02}:00 UTC, as never before", of.source, of.login, of.path)
        }
        Deviation::Burst { of, reads, before } => {
            format!(
                "{} {} reads {} {reads} times in an hour, before at most {before}",
                of.source, of.login, of.path
            )
        }
    }
}

fn table(rows: &[Row]) {
    let head = ["SOURCE", "LOGIN", "PATH", "READS", "RENEWED", "REVOKED", "REFUSED", "FAILED", "LAST"];
    let mut cells: Vec<[String; 9]> = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|Row { of, counts }| {
        let numbers = [counts.reads, counts.renewals, counts.revocations, counts.refused, counts.failed];
        let [reads, renewals, revocations, refused, failed] = numbers.map(|number| number.to_string());
        let texts = [&of.source, &of.login, &of.path].map(|text| plain(text).into_owned());
        let [source, login, path] = texts;
        // To the second.
        let last = counts.last.get(..19).unwrap_or_default().to_owned();
        [source, login, path, reads, renewals, revocations, refused, failed, last]
    }));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &cells {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn line_of(value: &Value) {
    drop(writeln!(std::io::stdout().lock(), "{}", plain_json(&value.to_string())));
}
