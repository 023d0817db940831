//! What follows a change of a template of Nomad, and its lesser keys.
//!
//! *Invariant:* a value that is not Nomad's default is taken over, or is a note.

use super::super::block::{self, Reading};
use super::super::foreign::Reaction;
use super::super::hcl::{Block, Fields, Is, text_of};
use super::super::{Notes, Place, value};
use super::expanded;

/// Nomad waits up to this long before it moves a task, where nothing is said, in milliseconds.
const USUAL_SPLAY: u64 = 5_000;
/// How long a script may take in Nomad, where nothing is said.
const USUAL_TIMEOUT: &str = "5s";

/// `change_mode` with what belongs to each: restart where nothing is said, on both sides.
pub(super) fn reaction(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<Reaction> {
    let mut word = |keys: [&'static str; 2]| {
        keys.iter().find_map(|key| Some((fields.word(key, notes)?, fields.place_of(key))))
    };
    let mode = word(["change_mode", "ChangeMode"]);
    let signal = word(["change_signal", "ChangeSignal"]);
    let script = ["change_script", "ChangeScript"].iter().find_map(|key| fields.block(key, notes));
    let of = mode.as_ref().map_or("restart", |(mode, _)| mode.as_str());
    if let Some((_, place)) = signal.as_ref().filter(|_| of != "signal") {
        let advice = "counts only with change_mode = \"signal\"; left out";
        notes.told(place.clone(), "change_signal", advice);
    }
    if let Some(script) = script.as_ref().filter(|_| of != "script") {
        let advice = "counts only with change_mode = \"script\"; left out";
        notes.told(fields.place(script.at), "change_script", advice);
    }
    let place = mode.as_ref().map_or_else(|| fields.place_of("change_mode"), |(_, place)| place.clone());
    match of {
        "restart" => None,
        "noop" => Some(Reaction::Nothing),
        "signal" => {
            let (known, place) = match signal {
                Some((signal, place)) => (value::signal(&signal), place),
                None => (None, place),
            };
            if known.is_none() {
                let advice = "names no signal that a process can handle; Squire restarts it";
                notes.left(place, "change_signal", advice);
            }
            known.map(Reaction::Signal)
        }
        "script" => {
            let run = script.and_then(|script| self::script(&script, &place.file, notes));
            if run.is_none() {
                let advice = "it has no change_script with a command, which Nomad refuses; Squire restarts the process";
                notes.left(place, "change_mode = \"script\"", advice);
            }
            run
        }
        other => {
            let advice = "is none of restart, signal, noop and script; Squire restarts";
            notes.left(place, format!("change_mode = {other:?}"), advice);
            None
        }
    }
}

/// `change_script { command, args, timeout, fail_on_error }`
fn script(block: &Block<'_>, file: &str, notes: &mut Notes) -> Option<Reaction> {
    let mut fields = Fields::new(file, block.body);
    let command = ["command", "Command"].iter().find_map(|key| fields.word(key, notes));
    let args = ["args", "Args"].iter().find_map(|key| fields.words(key, notes)).unwrap_or_default();
    let timeout = time(&mut fields, ["timeout", "Timeout"], notes);
    for key in ["fail_on_error", "FailOnError"] {
        if fields.boolean(key, notes) == Some(true) {
            let advice = "Nomad ends the task if the script fails; with `required = true` in on_change Squire takes the release back";
            notes.left(fields.place_of(key), key, advice);
        }
    }
    for (key, place) in fields.rest() {
        notes.left(place, key, "is no key of change_script that the import knows; it is left out");
    }
    let command: Vec<String> = std::iter::once(command?).chain(args).map(|word| expanded(&word)).collect();
    if super::has_other_variable(&command) {
        notes.left(fields.place(block.at), "change_script", super::OTHER_VARIABLE);
    }
    let timeout = timeout.map_or_else(|| USUAL_TIMEOUT.to_owned(), |(_, time, _)| value::written(time));
    Some(Reaction::Run { command, timeout: Some(timeout).filter(|timeout| timeout != "0s") })
}

/// A time in milliseconds: a text such as "5s", or in the JSON of the API a number of nanoseconds. What is neither is left.
fn time(
    fields: &mut Fields<'_>,
    [hcl, json]: [&'static str; 2],
    notes: &mut Notes,
) -> Option<(&'static str, u64, Place)> {
    let (key, value) = [hcl, json].into_iter().find_map(|key| Some((key, fields.take(key, notes)?)))?;
    let place = fields.place(value.at);
    let text = match &value.is {
        Is::Number(nanoseconds) if key == json => Some(format!("{nanoseconds}ns")),
        Is::Number(_) | Is::Text(..) | Is::Bool(_) | Is::List(_) | Is::Object(_) | Is::Other(_) => {
            text_of(value)
        }
    };
    let time = text.as_deref().and_then(value::milliseconds);
    if time.is_none() {
        notes.left(place.clone(), key, "is no duration; write one such as \"30s\"");
    }
    time.map(|time| (key, time, place))
}

/// The other keys. Gives whether the template is rendered only once.
pub(super) fn lesser(fields: &mut Fields<'_>, reading: &mut Reading<'_>) -> bool {
    if let Some((least, place)) = waited(fields, reading.notes) {
        block::settle(least, reading.foreign);
        let advice = "Squire waits for all files together, so that they change at once: `rollout.settle`";
        reading.notes.told(place, "wait", advice);
    }
    if let Some((key, splay, place)) = time(fields, ["splay", "Splay"], reading.notes)
        && splay != USUAL_SPLAY
        && splay > 0
    {
        let advice = "Squire makes no random pause before it moves the process; give the machines different `rollout.window`s";
        reading.notes.left(place, key, advice);
    }
    if let Some((key, grace, place)) = time(fields, ["vault_grace", "VaultGrace"], reading.notes)
        && grace > 0
    {
        let advice = "Nomad passes over it since 0.11; Squire asks anew in time by itself";
        reading.notes.told(place, key, advice);
    }
    let mut is_once = false;
    for key in ["once", "Once"] {
        if fields.boolean(key, reading.notes) == Some(true) {
            is_once = true;
            let advice =
                "Nomad renders it once; Squire keeps the file up to date, and a change of it moves nothing";
            reading.notes.told(fields.place_of(key), key, advice);
        }
    }
    for (key, place) in fields.rest() {
        reading.notes.left(
            place,
            key,
            "is no key of a template of Nomad that the import knows; it is left out",
        );
    }
    is_once
}

/// `wait { min, max }`, in JSON `Wait` with nanoseconds: the shorter time.
fn waited(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<(u64, Place)> {
    let Some(block) = fields.block("Wait", notes) else {
        return block::wait(fields, notes);
    };
    let place = fields.place(block.at);
    let mut inner = Fields::new(&place.file, block.body);
    let is_enabled = inner.boolean("Enabled", notes).unwrap_or(true);
    let least = time(&mut inner, ["min", "Min"], notes);
    if let Some((key, _, place)) = time(&mut inner, ["max", "Max"], notes).filter(|_| is_enabled) {
        notes.told(place, format!("wait.{key}"), block::NO_LONGEST);
    }
    for (key, place) in inner.rest() {
        notes.left(place, key, "is no key of `Wait` that the import knows; it is left out");
    }
    let (_, least, _) = least.filter(|(_, least, _)| is_enabled && *least > 0)?;
    Some((least, place))
}
