//! Looking at certificates: what stands in them, and whether a bundle would work right now.
//!
//! [`inspect`] shows any certificate file and judges nothing. [`verify`] is the strict reading of a directory:
//! everything a start would check, and besides that today's date and the revocations, as a peer would. It returns
//! facts; printing them is the command line's.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;

use crate::authority::Authority;
use crate::bundle::Loaded;
use crate::error::{Error, Item};
use crate::files::{self, Secrecy};
use crate::identity::{Identity, cluster_of_authority, hex};
use crate::profile::days;
use crate::x509;

/// A certificate that has less than this left, or less than a fifth of its life, is worth a warning.
const SOON: Duration = days(14);

/// One certificate, as an operator wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file it stands in.
    pub path: PathBuf,
    /// Whom it names, decoration included.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names that count, if it has any.
    pub named: Named,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ceases.
    pub not_after: SystemTime,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 over its DER, in hexadecimal.
    pub sha256: String,
}

/// What a certificate's URI names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A node.
    Node(Identity),
    /// An authority of this cluster.
    Authority([u8; 16]),
    /// Nothing of Everett's.
    Nothing,
}

/// What a sound directory holds.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose directory it is.
    pub named: Named,
    /// The certificates in it, the directory's own first.
    pub certificates: Vec<Shown>,
    /// The fingerprint of the place key.
    pub place_fingerprint: [u8; 16],
    /// What will need attention.
    pub warnings: Vec<Warning>,
}

/// Not wrong yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A certificate comes to its end.
    ExpiresSoon {
        /// The file it stands in.
        path: PathBuf,
        /// When.
        at: SystemTime,
    },
    /// An authority in `ca.pem` has expired: what it signed is refused.
    AuthorityExpired {
        /// The file it stands in.
        path: PathBuf,
        /// When.
        at: SystemTime,
    },
}

/// Every certificate in a PEM file, or in `node.pem` and `ca.pem` of a directory (those that are there, at least one).
pub fn inspect(path: &Path) -> Result<Vec<Shown>, Error> {
    if !path.is_dir() {
        return show_file(path);
    }
    let node = path.join(files::NODE_CERTIFICATE);
    let authorities = path.join(files::CA_CERTIFICATES);
    let mut shown = if node.exists() { show_file(&node)? } else { Vec::new() };
    if authorities.exists() || shown.is_empty() {
        shown.extend(show_file(&authorities)?);
    }
    Ok(shown)
}

/// Checks a node's bundle, or an authority's directory: files, permissions, names, key, chain, dates, revocations.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    let is_authority = !dir.join(files::NODE_CERTIFICATE).exists() && dir.join(files::CA_KEY).exists();
    let now = SystemTime::now();
    let (named, place_key) = if is_authority {
        let authority = Authority::load(dir)?;
        (Named::Authority(authority.cluster()), authority.place_key().clone())
    } else {
        let loaded = Loaded::read(dir)?;
        loaded
            .trust
            .judge(&loaded.certified.cert, now)
            .map_err(|refusal| Error::Untrusted { path: dir.join(files::NODE_CERTIFICATE), source: refusal.into() })?;
        (Named::Node(loaded.identity), loaded.place_key)
    };
    let certificates = inspect(dir)?;
    let warnings = certificates.iter().filter_map(|shown| warning(shown, now)).collect();
    Ok(Report { named, certificates, place_fingerprint: place_key.fingerprint(), warnings })
}

fn warning(shown: &Shown, now: SystemTime) -> Option<Warning> {
    let Ok(left) = shown.not_after.duration_since(now) else {
        return Some(Warning::AuthorityExpired { path: shown.path.clone(), at: shown.not_after });
    };
    let life = shown.not_after.duration_since(shown.not_before).unwrap_or_default();
    (left < SOON.min(life / 5)).then(|| Warning::ExpiresSoon { path: shown.path.clone(), at: shown.not_after })
}

fn show_file(path: &Path) -> Result<Vec<Shown>, Error> {
    let text = files::read(path, Secrecy::Public)?;
    files::sections::<CertificateDer<'static>>(path, &text, Item::Certificate)?
        .iter()
        .map(|der| show(path, der))
        .collect()
}

fn show(path: &Path, der: &CertificateDer<'_>) -> Result<Shown, Error> {
    let malformed = || Error::Malformed { path: path.to_owned(), what: Item::Certificate };
    let certificate = x509::parse(der).ok_or_else(malformed)?;
    let (not_before, not_after) = x509::validity(&certificate).ok_or_else(malformed)?;
    let named = if certificate.is_ca() {
        cluster_of_authority(&certificate).map_or(Named::Nothing, Named::Authority)
    } else {
        Identity::from_leaf(der).map_or(Named::Nothing, Named::Node)
    };
    Ok(Shown {
        path: path.to_owned(),
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        named,
        not_before,
        not_after,
        serial: hex(certificate.raw_serial()),
        sha256: hex(digest(&SHA256, der).as_ref()),
    })
}

#[cfg(test)]
mod tests;
