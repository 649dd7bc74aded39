//! Real QUIC on loopback with real certificates.
//!
//! `world` starts agents' nets and waits for what they say; `raw` is a peer whose every word the test chooses.

mod links;
mod raw;
mod refusals;
mod slow;
mod streams;
mod world;
