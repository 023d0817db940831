//! The `squire` program: arguments → library → exit code.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes every block when it is freed: no type can reach the copies of plaintext that TLS, HTTP, JSON and templates make.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    squire::cli::perform(std::env::args_os())
}
