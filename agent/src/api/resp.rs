//! The bytes of RESP, versions 2 and 3: requests in, replies out.
//!
//! Apart because it is the only place that knows how the protocol looks on the wire; commands speak of arguments and
//! of replies' shapes, the loop of bytes to send. Every count and length a client announces is held against
//! [`Limits`] before anything is reserved for it, so a request costs at most the bytes that really came. Text of
//! protocol errors is that of Redis 7: clients and their tests compare it.
//!
//! Follows the public RESP specification; it does not decode replies.

mod ahead;
mod number;
mod reply;
mod request;
mod words;

#[cfg(test)]
mod tests;

pub use ahead::Requests;
pub use number::parse_i64;
pub use reply::{Proto, Reply};
pub use request::{Args, Limits, ProtocolError, RequestParser};

/// Ends every line of the protocol, and the lines of texts that Redis clients take apart.
pub const EOL: &str = "\r\n";
