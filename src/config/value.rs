//! Single values of the configuration as types with units.

use std::fmt;

/// Permission bits of a file or directory, at most 0o7777.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// These bits.
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A user or a group as written: a name to look up, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A name.
    Name(String),
    /// A number.
    Id(u32),
}
