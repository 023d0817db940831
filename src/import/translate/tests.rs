//! Templates, and what becomes of them.

mod golden;
mod random;
mod texts;
