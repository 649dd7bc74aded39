//! Who a certificate speaks for: cluster, site and node, read from one URI in the leaf.
//!
//! The URI `everett://<cluster, 32 hex>/<site>/<node>` in the subject alternative names is the only source of an
//! identity. The common name is decoration, and the DNS name exists only because rustls' name check knows no URIs;
//! both are derived from the same three values when a certificate is issued, and neither is ever read back.
//!
//! Site and node are DNS labels as well as path segments, so a hyphen may not be their first or last character. Two
//! URIs of the scheme in one certificate are refused: who speaks must not depend on which one a reader happens to
//! take.
//!
//! This file reads what a certificate claims. Whether the claim is signed by somebody we trust is [`crate::mtls`]'s
//! to say.

use std::fmt;

use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use x509_parser::extensions::GeneralName;

use crate::x509;

/// The scheme of the URI that names a node.
const SCHEME: &str = "everett:";
/// The longest site or node name: a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// A node of a cluster, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The cluster's random id, made with its authority.
    pub cluster: [u8; 16],
    /// The point of presence the node stands in.
    pub site: String,
    /// The node's name, unique in the cluster.
    pub node: String,
}

/// Why a certificate names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are not an X.509 certificate, or its alternative names cannot be read.
    #[error("the certificate is not well-formed")]
    Malformed,
    /// There is no URI of the scheme.
    #[error("no everett:// name in the certificate")]
    Missing,
    /// There is more than one URI of the scheme.
    #[error("more than one everett:// name in the certificate")]
    Ambiguous,
    /// The URI is not `everett://<cluster>/<site>/<node>`.
    #[error("the everett:// name has not the form cluster/site/node")]
    Form,
    /// The cluster is not 32 lower-case hexadecimal digits.
    #[error("the cluster id is not 32 lower-case hexadecimal digits")]
    Cluster,
    /// The site is not a name.
    #[error("the site is not a name")]
    Site(#[source] NameError),
    /// The node is not a name.
    #[error("the node is not a name")]
    Node(#[source] NameError),
}

/// Why a string cannot name a site or a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is longer than a DNS label.
    #[error("it is longer than 63 characters")]
    TooLong,
    /// It holds something else than a-z, 0-9 and hyphen.
    #[error("{0:?} is not one of a-z, 0-9 and hyphen")]
    Character(char),
    /// A hyphen stands first or last.
    #[error("it begins or ends with a hyphen")]
    OuterHyphen,
}

/// Whether `name` may stand for a site or a node.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(other) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character(other));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(NameError::OuterHyphen);
    }
    Ok(())
}

impl Identity {
    /// Reads the identity a leaf claims. The certificate's signature is *not* checked here.
    pub fn from_leaf(leaf: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let certificate = x509::parse(leaf).ok_or(IdentityError::Malformed)?;
        Self::parse_uri(only_uri(&certificate)?)
    }

    /// Reads `everett://<cluster>/<site>/<node>`.
    pub fn parse_uri(uri: &str) -> Result<Self, IdentityError> {
        let path = uri.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix("//")).ok_or(IdentityError::Form)?;
        let mut parts = path.split('/');
        let (Some(cluster), Some(site), Some(node), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Form);
        };
        let cluster = parse_cluster(cluster).ok_or(IdentityError::Cluster)?;
        check_name(site).map_err(IdentityError::Site)?;
        check_name(node).map_err(IdentityError::Node)?;
        Ok(Self { cluster, site: site.to_owned(), node: node.to_owned() })
    }

    /// The URI that names this node in its certificate.
    pub fn uri(&self) -> String {
        format!("{}/{}/{}", cluster_uri(&self.cluster), self.site, self.node)
    }

    /// The DNS name that stands beside the URI, in a domain that can never be resolved.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{}.everett.invalid", self.node, self.site, hex(&self.cluster))
    }

    /// The same DNS name in rustls' terms; an error only for an identity put together by hand from names that are none.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, IdentityError> {
        DnsName::try_from(self.dns_name()).map(ServerName::DnsName).map_err(|_| IdentityError::Form)
    }

    /// The cluster id as 32 hexadecimal digits.
    pub fn cluster_hex(&self) -> String {
        hex(&self.cluster)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// The URI that names a cluster in its authority's certificate.
pub(crate) fn cluster_uri(cluster: &[u8; 16]) -> String {
    format!("{SCHEME}//{}", hex(cluster))
}

/// The cluster an authority's certificate is for.
pub(crate) fn cluster_of_authority(certificate: &x509::Certificate<'_>) -> Result<[u8; 16], IdentityError> {
    let uri = only_uri(certificate)?;
    let cluster = uri.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix("//")).ok_or(IdentityError::Form)?;
    parse_cluster(cluster).ok_or(IdentityError::Cluster)
}

/// The one URI of the scheme among the alternative names.
fn only_uri<'a>(certificate: &'a x509::Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names =
        certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?.ok_or(IdentityError::Missing)?;
    let mut found = None;
    for name in &names.value.general_names {
        if let GeneralName::URI(uri) = name
            && uri.starts_with(SCHEME)
            && found.replace(*uri).is_some()
        {
            return Err(IdentityError::Ambiguous);
        }
    }
    found.ok_or(IdentityError::Missing)
}

/// Lower-case hexadecimal, two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

/// One spelling only: upper case is refused, so that equal clusters are equal strings everywhere.
fn parse_cluster(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut cluster = [0; 16];
    for (byte, pair) in cluster.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(cluster)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
