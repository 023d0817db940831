//! Helpers that calculate, with whole numbers only: a secret's number may have more digits than a fraction in binary can hold.
//!
//! *Invariant:* a result is exact, or an error.

use serde_json::Value;

use super::{Arguments, Complaint};

/// The largest number of items in a `range`.
const ITEMS: i64 = 100_000;

/// The sum of all.
pub(super) fn add(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    folded(arguments, i64::checked_add)
}

/// The first one without the second one.
pub(super) fn subtract(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    folded(arguments, i64::checked_sub)
}

/// The product of all.
pub(super) fn multiply(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    folded(arguments, i64::checked_mul)
}

/// The quotient, without its fraction.
pub(super) fn divide(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    divisor(arguments)?;
    folded(arguments, i64::checked_div)
}

/// What is left of a division, with the sign of the first number.
pub(super) fn modulo(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    divisor(arguments)?;
    folded(arguments, i64::checked_rem)
}

/// The whole numbers from one to another, without that; from 0 if there is one number.
pub(super) fn range(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (from, to) = match arguments.count_of_values() {
        1 => (0, arguments.whole(0)?),
        _ => (arguments.whole(0)?, arguments.whole(1)?),
    };
    match to.checked_sub(from) {
        Some(count) if count <= ITEMS => Ok((from..to).collect()),
        _ => Err(Complaint::new(format_args!("`range` would yield more than {ITEMS} numbers"))),
    }
}

fn folded(arguments: &Arguments<'_>, operation: fn(i64, i64) -> Option<i64>) -> Result<Value, Complaint> {
    let mut result = arguments.whole(0)?;
    for index in 1..arguments.count_of_values() {
        result = operation(result, arguments.whole(index)?).ok_or_else(|| {
            Complaint::new(format_args!("what `{}` yields has more than 64 bits", arguments.name()))
        })?;
    }
    Ok(result.into())
}

fn divisor(arguments: &Arguments<'_>) -> Result<(), Complaint> {
    if arguments.whole(1)? == 0 {
        let (name, label) = (arguments.name(), arguments.label(1));
        return Err(Complaint::new(format_args!("`{name}` cannot divide by {label}, which is 0")));
    }
    Ok(())
}
