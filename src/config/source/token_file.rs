//! `[[source.NAME.token_file]]`: the token of a source as a file, for other programs.

use std::time::Duration;

use crate::config::TokenFileConfig;
use crate::config::output::{DIRECTORY_MODE_DEFAULT, FILE_MODE_DEFAULT, absolute, account, directory};
use crate::config::reader::Table;
use crate::config::value::{self, DURATION, FILE_MODE, Form};

/// A shorter one would be wrapped anew all the time.
const SHORTEST_WRAP: Duration = Duration::from_secs(10);

pub(super) fn token_files(table: &mut Table<'_>) -> Vec<TokenFileConfig> {
    const EXPECTED: &str = "[[source.NAME.token_file]] for each file, with two brackets on each side";
    let Some(items) = table.take("token_file").and_then(|value| value.list(EXPECTED)) else {
        return Vec::new();
    };
    items.iter().filter_map(|item| token_file(item.table(EXPECTED)?)).collect()
}

fn token_file(mut table: Table<'_>) -> Option<TokenFileConfig> {
    let place = table.place().clone();
    let path = table.require("path", "path = \"/run/app/token\"").and_then(|path| absolute(&path));
    let mode = table.read("mode", &FILE_MODE).unwrap_or(FILE_MODE_DEFAULT);
    let owner = table.take("owner").and_then(|owner| account(&owner));
    let group = table.take("group").and_then(|group| account(&group));
    let make_dir = table.take("make_dir").and_then(|made| directory(&made, DIRECTORY_MODE_DEFAULT));
    let wrap_ttl = table.read("wrap_ttl", &WRAP_TTL);
    table.finish();
    Some(TokenFileConfig { path: path?, mode, owner, group, make_dir, wrap_ttl, place })
}

const WRAP_TTL: Form<Duration> = Form { expected: DURATION.expected, shown: true, read: wrap_ttl };

fn wrap_ttl(text: &str) -> Result<Duration, String> {
    match (value::DURATION.read)(text)? {
        ttl if ttl < SHORTEST_WRAP => Err("is too short to be of use; write \"10s\" or more".to_owned()),
        // The server counts in seconds.
        ttl => Ok(Duration::from_secs(ttl.as_secs())),
    }
}
