//! Texts and their trees, and random trees that are printed and read again.

mod print;
mod random;
mod tables;
