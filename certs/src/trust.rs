//! Whom we let in: one judgement for both directions of a link.
//!
//! A node dials by address and does not know whom it will find, so there is no name to check against. What is checked
//! instead: the chain leads to an authority in `ca.pem`; leaf and authority are within their time; the leaf may act as client
//! *and* as server; no list in `crl.pem` revokes it; its URI names a node, and of our cluster. rustls' server check insists
//! on a DNS name, so it is given the one that the URI implies: a certificate whose two names disagree is refused too.
//!
//! Lists of revoked certificates count per authority: a leaf of an authority that has none is judged without. That is safe
//! because a list which belongs to none of our authorities is refused when it is read, and a list past its next update
//! refuses every leaf of its authority, so a list can be neither misplaced nor withheld unnoticed.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::error::{Error, Item};
use crate::files::{self, Secrecy};
use crate::identity::{Identity, IdentityError};
use crate::mtls::provider;
use crate::x509;

/// Authorities and lists of revoked certificates, ready to judge.
#[derive(Debug)]
pub(crate) struct Trust {
    cluster: [u8; 16],
    roots: Arc<RootCertStore>,
    as_client: Arc<dyn ClientCertVerifier>,
    as_server: Arc<WebPkiServerVerifier>,
}

/// Why a certificate is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Signature, time, purpose or revocation.
    Chain(rustls::Error),
    /// Vouched for, but it names no node.
    Identity(IdentityError),
    /// A node of another cluster.
    Cluster(Identity),
}

/// In TLS terms. The peer is sent an alert made from this and, by QUIC, the text of it, so nothing of ours may stand in it.
/// Another cluster has an alert of its own (`access_denied`), by which both sides can tell it from a wrong authority.
impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Chain(error) => error,
            Refusal::Identity(error) => CertificateError::Other(OtherError(Arc::new(error))).into(),
            Refusal::Cluster(_) => CertificateError::ApplicationVerificationFailure.into(),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Chain(error) => Self::PeerUntrusted(error),
            Refusal::Identity(error) => Self::PeerIdentity(error),
            Refusal::Cluster(found) => Self::PeerCluster { found: Box::new(found) },
        }
    }
}

impl Trust {
    /// Reads `ca.pem`, and `crl.pem` if it is there.
    pub(crate) fn read(dir: &Path, cluster: [u8; 16]) -> Result<Self, Error> {
        let ca_path = dir.join(files::CA_CERTIFICATES);
        let authorities: Vec<CertificateDer<'static>> =
            files::sections(&ca_path, &files::read(&ca_path, Secrecy::Public)?, Item::Certificate)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let parsed = x509::parse(authority)
                .ok_or_else(|| Error::Malformed { path: ca_path.clone(), what: Item::Certificate })?;
            if !parsed.is_ca() {
                return Err(Error::NotAuthority { path: ca_path });
            }
            roots.add(authority.clone()).map_err(|source| Error::Unusable { path: ca_path.clone(), source })?;
        }
        let crl_path = dir.join(files::REVOCATION_LISTS);
        let lists = match files::read_optional(&crl_path, Secrecy::Public)? {
            Some(text) => files::sections(&crl_path, &text, Item::RevocationList)?,
            None => Vec::new(),
        };
        for list in &lists {
            check_list(&crl_path, list, &authorities)?;
        }
        Self::build(cluster, Arc::new(roots), lists).map_err(|source| Error::Unusable { path: crl_path, source })
    }

    fn build(
        cluster: [u8; 16],
        roots: Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let as_client = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .with_crls(lists.clone())
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration()
            .build()
            .map_err(builder_error)?;
        let as_server = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration()
            .build()
            .map_err(builder_error)?;
        Ok(Self { cluster, roots, as_client, as_server })
    }

    /// The same authorities, nothing revoked.
    pub(crate) fn without_revocation(&self) -> Result<Self, Refusal> {
        Self::build(self.cluster, Arc::clone(&self.roots), Vec::new()).map_err(Refusal::Chain)
    }

    /// Judges a chain, leaf first, as it stands at `moment`.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], moment: SystemTime) -> Result<Identity, Refusal> {
        let (leaf, intermediates) =
            chain.split_first().ok_or(Refusal::Chain(rustls::Error::NoCertificatesPresented))?;
        // A moment before the epoch is before every certificate, as the epoch is.
        let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.judge_split(leaf, intermediates, UnixTime::since_unix_epoch(since_epoch))
    }

    /// The same, as rustls hands the chain over. The chain comes first: nothing an unknown authority signed is parsed for names.
    pub(crate) fn judge_split(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, Refusal> {
        self.as_client.verify_client_cert(leaf, intermediates, now).map_err(Refusal::Chain)?;
        let identity = Identity::from_leaf(leaf).map_err(Refusal::Identity)?;
        let name = identity.server_name().map_err(Refusal::Identity)?;
        self.as_server.verify_server_cert(leaf, intermediates, &name, &[], now).map_err(Refusal::Chain)?;
        if identity.cluster != self.cluster {
            return Err(Refusal::Cluster(identity));
        }
        Ok(identity)
    }
}

/// A list must be signed by one of our authorities; under any other name it would be passed over in silence.
fn check_list(
    path: &Path,
    list: &CertificateRevocationListDer<'_>,
    authorities: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let Ok(([], parsed)) = CertificateRevocationList::from_der(list) else {
        return Err(Error::Malformed { path: path.to_owned(), what: Item::RevocationList });
    };
    let ours = authorities.iter().filter_map(x509::parse).any(|authority| {
        authority.subject().as_raw() == parsed.issuer().as_raw()
            && parsed.verify_signature(authority.public_key()).is_ok()
    });
    if ours { Ok(()) } else { Err(Error::ForeignRevocationList { path: path.to_owned() }) }
}

fn builder_error(error: VerifierBuilderError) -> rustls::Error {
    match error {
        VerifierBuilderError::InvalidCrl(list) => list.into(),
        // The enum is open, and whatever it learns is a reason to trust nobody.
        VerifierBuilderError::NoRootAnchors | _ => CertificateError::UnknownIssuer.into(),
    }
}
