//! Reads tables, remembers what was asked for, gathers problems.
