//! Whom we let in: one judgement for both directions of a link.
//!
//! A node dials by address and does not know whom it will find, so there is no name to check against. What is checked
//! instead: the chain leads to an authority in `ca.pem` whose own time has not run out (RFC 5280 leaves that of a
//! trust anchor open, and webpki does not look); the leaf is within its time; it may act as client *and* as server;
//! no list in `crl.pem` revokes it; its URI names a node, and of our cluster. rustls' server check insists on a DNS
//! name, so it is given the one that the URI implies: a certificate whose two names disagree is refused too.
//!
//! Every authority judges apart, with the newest list it has signed. A leaf of an authority that has no list is
//! judged without one. That is safe because a list of none of our authorities is refused when it is read, and a list
//! past its next update refuses every leaf of its authority, so a list can be neither misplaced nor withheld
//! unnoticed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
    anchors: Vec<Anchor>,
}

/// One authority with the list that is in force for it.
#[derive(Debug)]
struct Anchor {
    not_after: SystemTime,
    root: Arc<RootCertStore>,
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

/// In TLS terms. The peer is sent an alert made from this and, by QUIC, the text of it, so nothing of ours may stand
/// in it. Another cluster has an alert of its own (`access_denied`), by which both sides can tell it from a wrong
/// authority.
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
        let text = files::read(&ca_path, Secrecy::Public)?;
        let ders: Vec<CertificateDer<'static>> = files::sections(&ca_path, &text, Item::Certificate)?;
        let authorities = ders.iter().map(|der| Authority::read(&ca_path, der)).collect::<Result<Vec<_>, _>>()?;
        let crl_path = dir.join(files::REVOCATION_LISTS);
        let lists = match files::read_optional(&crl_path, Secrecy::Public)? {
            Some(text) => files::sections(&crl_path, &text, Item::RevocationList)?,
            None => Vec::new(),
        };
        let lists = lists_in_force(&crl_path, lists, &authorities)?;
        let unusable = |source| Error::Unusable { path: crl_path.clone(), source };
        let anchors = authorities
            .into_iter()
            .zip(lists)
            .map(|(authority, list)| Anchor::build(authority.not_after, authority.root, list))
            .collect::<Result<_, _>>()
            .map_err(unusable)?;
        Ok(Self { cluster, anchors })
    }

    /// The same authorities, nothing revoked.
    pub(crate) fn without_revocation(&self) -> Result<Self, Refusal> {
        let anchors = self
            .anchors
            .iter()
            .map(|anchor| Anchor::build(anchor.not_after, Arc::clone(&anchor.root), None))
            .collect::<Result<_, _>>()
            .map_err(Refusal::Chain)?;
        Ok(Self { cluster: self.cluster, anchors })
    }

    /// Judges a chain, leaf first, as it stands at `moment`.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], moment: SystemTime) -> Result<Identity, Refusal> {
        let (leaf, intermediates) =
            chain.split_first().ok_or(Refusal::Chain(rustls::Error::NoCertificatesPresented))?;
        // A moment before the epoch is before every certificate, as the epoch is.
        let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.judge_split(leaf, intermediates, UnixTime::since_unix_epoch(since_epoch))
    }

    /// The same, as rustls hands the chain over.
    pub(crate) fn judge_split(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, Refusal> {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let mut refusal = Refusal::Chain(CertificateError::UnknownIssuer.into());
        for anchor in self.anchors.iter().filter(|anchor| moment <= anchor.not_after) {
            match anchor.judge(leaf, intermediates, now) {
                Ok(identity) if identity.cluster == self.cluster => return Ok(identity),
                Ok(identity) => return Err(Refusal::Cluster(identity)),
                // Says only that another authority signed it; who did has the better reason.
                Err(Refusal::Chain(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))) => {}
                Err(better) => refusal = better,
            }
        }
        Err(refusal)
    }
}

impl Anchor {
    fn build(
        not_after: SystemTime,
        root: Arc<RootCertStore>,
        list: Option<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let as_client = WebPkiClientVerifier::builder_with_provider(Arc::clone(&root), provider())
            .with_crls(list.clone())
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build()
            .map_err(builder_error)?;
        let as_server = WebPkiServerVerifier::builder_with_provider(Arc::clone(&root), provider())
            .with_crls(list)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build()
            .map_err(builder_error)?;
        Ok(Self { not_after, root, as_client, as_server })
    }

    /// The chain comes first: nothing an unknown authority signed is parsed for names.
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, Refusal> {
        self.as_client.verify_client_cert(leaf, intermediates, now).map_err(Refusal::Chain)?;
        let identity = Identity::from_leaf(leaf).map_err(Refusal::Identity)?;
        let name = identity.server_name().map_err(Refusal::Identity)?;
        self.as_server.verify_server_cert(leaf, intermediates, &name, &[], now).map_err(Refusal::Chain)?;
        Ok(identity)
    }
}

/// A certificate in `ca.pem`, taken apart.
struct Authority<'a> {
    parsed: x509::Certificate<'a>,
    not_after: SystemTime,
    root: Arc<RootCertStore>,
}

impl<'a> Authority<'a> {
    fn read(path: &Path, der: &'a CertificateDer<'static>) -> Result<Self, Error> {
        let malformed = || Error::Malformed { path: path.to_owned(), what: Item::Certificate };
        let parsed = x509::parse(der).ok_or_else(malformed)?;
        if !parsed.is_ca() {
            return Err(Error::NotAuthority { path: path.to_owned() });
        }
        let (_, not_after) = x509::validity(&parsed).ok_or_else(malformed)?;
        let mut root = RootCertStore::empty();
        root.add(der.clone()).map_err(|source| Error::Unusable { path: path.to_owned(), source })?;
        Ok(Self { parsed, not_after, root: Arc::new(root) })
    }

    fn signed(&self, list: &CertificateRevocationList<'_>) -> bool {
        self.parsed.subject().as_raw() == list.issuer().as_raw()
            && list.verify_signature(self.parsed.public_key()).is_ok()
    }
}

/// For each authority the newest list it has signed. A list that none of them has signed is an error: passed over in
/// silence, it would revoke nothing.
fn lists_in_force(
    path: &Path,
    lists: Vec<CertificateRevocationListDer<'static>>,
    authorities: &[Authority<'_>],
) -> Result<Vec<Option<CertificateRevocationListDer<'static>>>, Error> {
    let mut in_force: Vec<Option<(i64, CertificateRevocationListDer<'static>)>> = vec![None; authorities.len()];
    for list in lists {
        let Ok(([], parsed)) = CertificateRevocationList::from_der(&list) else {
            return Err(Error::Malformed { path: path.to_owned(), what: Item::RevocationList });
        };
        let signer = authorities
            .iter()
            .position(|authority| authority.signed(&parsed))
            .ok_or_else(|| Error::ForeignRevocationList { path: path.to_owned() })?;
        let made = parsed.last_update().timestamp();
        let slot = &mut in_force[signer];
        if slot.as_ref().is_none_or(|(newest, _)| *newest <= made) {
            *slot = Some((made, list.clone()));
        }
    }
    Ok(in_force.into_iter().map(|slot| slot.map(|(_, list)| list)).collect())
}

fn builder_error(error: VerifierBuilderError) -> rustls::Error {
    match error {
        VerifierBuilderError::InvalidCrl(list) => list.into(),
        // The enum is open, and whatever it learns is a reason to trust nobody.
        VerifierBuilderError::NoRootAnchors | _ => CertificateError::UnknownIssuer.into(),
    }
}
