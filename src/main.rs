//! The `squire` program: arguments → library → exit code.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes every block of memory when it is freed: no type can reach the copies of plaintext in TLS, HTTP, JSON and templates.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    squire::cli::perform(std::env::args_os())
}
