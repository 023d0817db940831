//! What a command writes to stdout.

use std::io::{self, ErrorKind, Write};

use super::NOBODY_READS;
use super::load::complain;

/// Writes it; answers with the exit code.
pub(super) fn say(text: &str) -> u8 {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => NOBODY_READS,
        Err(error) => {
            complain(&[format!("cannot write to stdout: {error}")]);
            1
        }
    }
}
