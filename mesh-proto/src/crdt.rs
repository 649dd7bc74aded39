//! The replicated types: what concurrent writes mean.
//!
//! Every type obeys two laws. *Content changes ⇒ the row's dots change*: a repair that compares dots would otherwise swap
//! two different rows instead of joining them. *A row is a function of the set of ops applied*, never of their order or
//! of how they came: values, deadlines and stamps belong to a dot, never to "the row". The tests in `laws` hold both.

mod register;
mod scalar;

pub use register::Register;
pub use scalar::{Entry, Raise, Reset, Scalar, Seen, Sibling, Value, is_visible, parse_integer};

/// An absolute time after which something is no longer visible: ms since the Unix epoch.
pub type DeadlineMs = u64;

/// The deadline of what never expires.
pub const NEVER_MS: DeadlineMs = u64::MAX;

#[cfg(test)]
mod laws;
