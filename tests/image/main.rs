//! The image of Squire and its containers: `deploy/image` and `deploy/podman`, run by Podman and runc; and the package of `deploy/package`.
//!
//! `tests/run` builds the image with the profile `quick`: what is in a container here is the static program. The other container of each test has a
//! static busybox and a script, and nothing else. Podman needs root and namespaces; where it cannot have them, the tests are skipped, and say why.
//!
//! *Invariant:* nothing is left behind, however a test ends: all of it is in a process and mount namespace that ends with the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

#[expect(
    dead_code,
    unused_imports,
    reason = "it is shared with the tests of the whole program, which use all of it"
)]
mod support;

mod bad_places;
mod contents;
mod machine;
mod names;
mod package;
mod pod;
mod sidecar;
mod site;
