//! A job of Nomad, in HCL or as JSON: the `template` blocks of one task → the configuration of a Squire that starts the task's program.
//!
//! *Invariant:* one task a configuration. What stays the job's own (drivers, networks, `vault`) is not touched, and is no note.

mod change;
mod variables;

use super::block::{self, Reading};
use super::foreign::{Auth, File, Reaction, VARIABLE};
use super::hcl::{Block, Body, Dialect, Fields, Is, Value};
use super::{Delimiters, Notes, Place, Text, value};

/// How a job is written.
struct Spelling {
    job: &'static str,
    group: &'static str,
    task: &'static str,
    template: &'static str,
    config: &'static str,
    vault: &'static str,
    data: &'static [&'static str],
    source: &'static [&'static str],
    destination: &'static [&'static str],
    /// Whether `${…}` in a text is an expression that Nomad evaluates.
    is_evaluated: bool,
}

const HCL: Spelling = Spelling {
    job: "job",
    group: "group",
    task: "task",
    template: "template",
    config: "config",
    vault: "vault",
    data: &["data"],
    source: &["source"],
    destination: &["destination"],
    is_evaluated: true,
};

/// What `nomad job inspect` and `nomad job run -output` write.
const JSON: Spelling = Spelling {
    job: "Job",
    group: "TaskGroups",
    task: "Tasks",
    template: "Templates",
    config: "Config",
    vault: "Vault",
    data: &["EmbeddedTmpl"],
    source: &["SourcePath"],
    destination: &["DestPath"],
    is_evaluated: false,
};

/// Which language a job is in.
pub(super) fn dialect(text: &str) -> Dialect {
    match Dialect::of(text) {
        Dialect::Json => Dialect::Json,
        Dialect::First | Dialect::Second => Dialect::Second,
    }
}

/// Reads a whole job.
pub(super) fn read(body: &Body, dialect: Dialect, reading: &mut Reading<'_>) {
    let spelling = if dialect == Dialect::Json { JSON } else { HCL };
    let mut root = Fields::new(reading.file, body);
    let jobs = root.blocks(spelling.job);
    // `nomad job inspect` of some versions has no `Job` around it.
    let jobs: Vec<&Body> =
        if jobs.is_empty() { vec![body] } else { jobs.iter().map(|job| job.body).collect() };
    let mut is_found = false;
    for job in jobs {
        let mut job = Fields::new(reading.file, job);
        let mut has_vault = has_vault(&mut job, &spelling, reading.notes);
        // A task may stand in the job itself.
        let mut tasks = job.blocks(spelling.task);
        for group in job.blocks(spelling.group) {
            let mut group = Fields::new(reading.file, group.body);
            has_vault |= self::has_vault(&mut group, &spelling, reading.notes);
            tasks.extend(group.blocks(spelling.task));
        }
        for task in tasks {
            let mut fields = Fields::new(reading.file, task.body);
            if fields.blocks(spelling.template).is_empty() {
                continue;
            }
            if is_found {
                let advice = "a second task with templates; import its part of the job by itself, since it has a configuration of its own";
                reading.notes.left(fields.place(task.at), "task", advice);
                continue;
            }
            is_found = true;
            self::task(&mut fields, &spelling, has_vault, reading);
        }
    }
    if !is_found {
        let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
        reading.notes.left(place, "job", "no task of this job has a template, so there is nothing to import");
    }
}

fn has_vault(fields: &mut Fields<'_>, spelling: &Spelling, notes: &mut Notes) -> bool {
    let vault = fields.blocks(spelling.vault);
    let has_vault = !vault.is_empty();
    fields.take(spelling.vault, notes);
    has_vault
}

fn task(fields: &mut Fields<'_>, spelling: &Spelling, has_vault: bool, reading: &mut Reading<'_>) {
    let has_vault = self::has_vault(fields, spelling, reading.notes) || has_vault;
    reading.foreign.is_open_by_default = true;
    reading.foreign.dir = Some(format!("{VARIABLE}SECRETS_DIR}}"));
    if has_vault {
        // Nomad logs in for the task, and keeps its token in this file.
        reading.foreign.vault.auth =
            Some(Auth::Token { file: format!("{VARIABLE}SECRETS_DIR}}/vault_token") });
    } else {
        let advice = "Nomad gives the task a token only with a `vault` block; keep it, or write how Squire logs in: [source.vault.auth]";
        reading.notes.left(fields.place_of(spelling.vault), "vault", advice);
    }
    if let Some(config) = fields.blocks(spelling.config).first() {
        program(config, reading);
    }
    for template in fields.blocks(spelling.template) {
        self::template(&template, spelling, reading);
    }
}

/// The program of a driver that starts one.
fn program(config: &Block<'_>, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, config.body);
    let command = fields.word("command", reading.notes);
    let args = fields.words("args", reading.notes).unwrap_or_default();
    let Some(command) = command else {
        if !args.is_empty() {
            let advice = "the command before them is in the image; write both into process.command";
            reading.notes.left(fields.place_of("args"), "args", advice);
        }
        return;
    };
    let words: Vec<String> = std::iter::once(command).chain(args).map(|word| expanded(&word)).collect();
    if has_other_variable(&words) {
        let key = if fields.has("args") { "args" } else { "command" };
        reading.notes.left(fields.place_of(key), key, OTHER_VARIABLE);
    }
    reading.foreign.process.command = Some(words);
}

const OTHER_VARIABLE: &str = "a word is not Nomad's environment (NOMAD_…), which is all that Squire can put in; write it into the command itself";

/// Whether a word has a variable that Squire does not find in its environment.
fn has_other_variable(words: &[String]) -> bool {
    words.iter().any(|word| word.replace(VARIABLE, "").contains("${"))
}

/// `${NOMAD_X}` stays a variable, which Squire finds in its environment.
fn expanded(text: &str) -> String {
    text.replace("${NOMAD_", VARIABLE)
}

fn template(block: &Block<'_>, spelling: &Spelling, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let mut fields = Fields::new(reading.file, block.body);
    let mut first = |keys: &[&str], notes: &mut Notes| keys.iter().find_map(|key| fields.word(key, notes));
    let destination = first(spelling.destination, reading.notes);
    let mode = permissions(&mut fields, reading.notes);
    let owner = block::account(&mut fields, ["uid", "Uid"], reading.notes);
    let group = block::account(&mut fields, ["gid", "Gid"], reading.notes);
    let is_environment = boolean(&mut fields, &["env", "Envvars"], reading.notes);
    let place = fields.place(block.at);
    let template = translated(&mut fields, spelling, reading);
    let rest = destination.as_deref().map(|path| path.replace("${NOMAD_", "")).unwrap_or_default();
    if rest.contains("${") {
        let advice = "the path has a variable that only Nomad knows; write the path itself";
        reading.notes.left(place.clone(), "destination", advice);
    }
    let mut file = File {
        place: place.clone(),
        path: destination.as_deref().map(path).unwrap_or_default(),
        template,
        mode,
        owner,
        group,
        on_change: change::reaction(&mut fields, reading.notes),
        ..File::default()
    };
    if change::lesser(&mut fields, reading) {
        file.on_change = Some(Reaction::Nothing);
    }
    file.makes_dir = true;
    file.remarks = start..reading.notes.count();
    if is_environment {
        variables::take_over(file, reading);
    } else if destination.is_some() {
        reading.foreign.files.push(file);
    } else {
        reading.notes.left(place, "template", "it has no destination, so it renders to nowhere; give it one");
    }
}

/// `perms`, which is octal with and without quotes.
fn permissions(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<String> {
    let (key, perms) =
        ["perms", "Perms"].into_iter().find_map(|key| Some((key, fields.word(key, notes)?)))?;
    let mode = value::quoted_mode(&perms).and_then(|mode| value::mode(mode.bits));
    if mode.is_none() {
        let advice = "is no mode that Squire sets; write one such as \"0640\"";
        notes.left(fields.place_of(key), format!("{key} = {perms:?}"), advice);
    }
    mode
}

/// Nomad's folders by its variables: a relative path is in the task's directory, of which `secrets/` is in memory.
fn path(destination: &str) -> String {
    let plain = destination.trim_start_matches("./");
    let inside = |name: &str, folder: &str| {
        let variable = format!("${{{name}}}/");
        plain
            .strip_prefix(&variable)
            .or_else(|| plain.strip_prefix(folder))
            .or_else(|| plain.strip_prefix(&format!("/{folder}")))
    };
    if let Some(rest) = inside("NOMAD_SECRETS_DIR", "secrets/") {
        return rest.trim_matches('/').to_owned();
    }
    if let Some(rest) = inside("NOMAD_TASK_DIR", "local/") {
        return format!("{VARIABLE}TASK_DIR}}/{rest}");
    }
    if plain.starts_with('/') { plain.to_owned() } else { expanded(plain) }
}

fn translated(fields: &mut Fields<'_>, spelling: &Spelling, reading: &mut Reading<'_>) -> Option<String> {
    let data = spelling.data.iter().find_map(|key| fields.take(key, reading.notes));
    let source = spelling.source.iter().find_map(|key| fields.word(key, reading.notes));
    let (text, origin, first_line) = match (data, source) {
        (Some(Value { is: Is::Text(text, line), .. }), _) if !text.is_empty() => {
            (text.clone(), reading.file.to_owned(), *line)
        }
        (_, Some(source)) => {
            let text = (reading.open)(&source);
            if text.is_none() {
                let advice = "this file is made on the client and cannot be read here; import it by itself and name the result in `template`";
                reading.notes.left(fields.place_of("source"), format!("source = {source:?}"), advice);
            }
            (text?, source, 1)
        }
        (Some(other), None) => {
            let advice = "its text is an expression of Nomad's language; import what `nomad job run -output` makes of the job";
            reading.notes.left(fields.place(other.at), "data", advice);
            return None;
        }
        (None, None) => {
            reading.notes.left(
                fields.place_of("data"),
                "template",
                "it has neither `data` nor `source`, which Nomad refuses",
            );
            return None;
        }
    };
    let place = fields.place_of(spelling.data.first().copied().unwrap_or_default());
    let text = if spelling.is_evaluated { evaluated(&text, place, reading.notes) } else { text };
    let mut delimiters = Delimiters::default();
    for (keys, delimiter) in [
        (["left_delimiter", "LeftDelim"], &mut delimiters.left),
        (["right_delimiter", "RightDelim"], &mut delimiters.right),
    ] {
        if let Some(written) = keys.iter().find_map(|key| fields.word(key, reading.notes)) {
            *delimiter = written;
        }
    }
    let text = Text {
        origin: &origin,
        text: &text,
        first_line,
        delimiters,
        error_on_missing_key: boolean(fields, &["error_on_missing_key", "ErrMissingKey"], reading.notes),
    };
    Some(block::translated(&text, reading))
}

/// What Nomad makes of a text before it is a template: `$${` is `${`, and a variable of the job is its value, which is not known here.
fn evaluated(text: &str, place: Place, notes: &mut Notes) -> String {
    if ["${var.", "${local.", "%{"].iter().any(|sign| text.contains(sign)) {
        let advice =
            "the text has variables of the job in it; import what `nomad job run -output` makes of the job";
        notes.left(place, "data", advice);
    }
    text.replace("$${", "${").replace("%%{", "%{")
}

fn boolean(fields: &mut Fields<'_>, keys: &[&str], notes: &mut Notes) -> bool {
    keys.iter().find_map(|key| fields.boolean(key, notes)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::hcl::parse;
    use super::*;

    #[test]
    fn the_example_is_a_job_and_starts_squire() {
        let job = parse(include_str!("../../deploy/nomad/shop.nomad.hcl"), Dialect::Second).unwrap();
        let mut job = Fields::new("job", &job);
        let group = job
            .blocks("job")
            .first()
            .and_then(|job| Fields::new("", job.body).blocks("group").pop())
            .unwrap();
        let task = Fields::new("", group.body).blocks("task").pop().unwrap();
        let config = Fields::new("", task.body).blocks("config").pop().unwrap();
        let args = Fields::new("", config.body).words("args", &mut Notes::default());
        assert_eq!(args, Some(["run", "-c", "local/squire.toml"].map(ToOwned::to_owned).to_vec()));
    }
}
