//! What clients may say: the protocol's bytes, the table of commands, and the commands themselves.

pub mod resp;
