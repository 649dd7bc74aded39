//! Everett's protocol machines, without input or output of their own.

pub mod id;
pub mod time;
