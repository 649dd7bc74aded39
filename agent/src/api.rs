//! What clients may say: the protocol's bytes, the table of commands, and the commands themselves.
//!
//! A request comes in as words, one reply goes out, and [`dispatch::execute`] is the only door between. One file per
//! family of commands; each keeps its lines of the table beside the functions that execute them. Nothing here knows a
//! socket, waits, or is shared between threads.

pub mod about;
pub mod call;
pub mod command;
pub mod data;
pub mod dispatch;
pub mod glob;
pub mod host;
pub mod notify;
pub mod refusal;
pub mod resp;
pub mod session;
pub mod syntax;
pub mod table;
pub mod topics;

mod connection;
mod info;
mod introspection;
mod keys;
mod mesh;
mod pubsub;
mod server;
mod strings;

pub use connection::NUMBERED_SPACES;

#[cfg(test)]
pub(crate) mod tests;
