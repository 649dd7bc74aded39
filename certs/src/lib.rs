//! Everett's private certificate authority, and the TLS that trusts nothing else.
//!
//! One cluster has one authority (two while it is being replaced). It names every node in a URI inside the node's
//! certificate, and that URI is the only source of a peer's identity. This crate creates the authority, issues, shows
//! and verifies certificates, and turns a bundle on disk into the two rustls configurations a QUIC endpoint needs,
//! both of which pick up renewed files while links stay up.
//!
//! It stands apart because it is the only place (with the net's TLS file) that names rustls, and the only one that
//! writes key files. It knows nothing of the mesh protocol, opens no socket, starts no thread, and prints nothing.
//!
//! The shape of certificates and lists of revoked ones is RFC 5280; TLS 1.3 is RFC 8446.

pub mod authority;
pub mod bundle;
pub mod error;
pub mod files;
pub mod identity;
pub mod inspect;
pub mod mtls;
pub mod place_key;
pub mod profile;
pub mod registry;
mod rotate;
mod trust;
mod x509;

pub use authority::Authority;
pub use bundle::Bundle;
pub use error::Error;
pub use identity::{Identity, IdentityError, NameError};
pub use inspect::{Report, Shown, inspect, verify};
pub use mtls::{ALPN, DIAL_NAME, Mtls};
pub use place_key::PlaceKey;
pub use profile::{CaOptions, Profile};
pub use registry::Register;
