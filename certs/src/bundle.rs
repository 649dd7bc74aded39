//! A node's bundle: what it needs to speak in the mesh, as issued and as read back.
//!
//! `ca.pem`, `node.pem`, `node.key`, `place.key`, and `crl.pem` where certificates were revoked. Loading checks
//! everything that does not depend on the hour: an agent whose certificate has expired still starts and serves its
//! local clients, and is refused by its peers until the files are renewed. [`crate::verify`] is the strict reading.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::hmac;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Item};
use crate::files::{self, Content, Secrecy};
use crate::identity::Identity;
use crate::mtls::provider;
use crate::place_key::PlaceKey;
use crate::profile::Serial;
use crate::trust::Trust;
use crate::x509;

/// A bundle as it was issued, not yet on disk.
pub struct Bundle {
    pub(crate) identity: Identity,
    pub(crate) serial: Serial,
    pub(crate) not_after: SystemTime,
    pub(crate) place_key: PlaceKey,
    pub(crate) trusted_pem: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Bundle {
    /// Writes the bundle into `dir`; nothing is overwritten without `force`.
    ///
    /// The key comes before its certificate: an agent that reloads in between meets a mismatch, says so, and goes on
    /// with what it has until it is asked again.
    pub fn save(&self, dir: &Path, force: bool) -> Result<(), Error> {
        let contents = [
            Content { name: files::PLACE_KEY, secrecy: Secrecy::Secret, bytes: self.place_key.as_bytes() },
            Content { name: files::CA_CERTIFICATES, secrecy: Secrecy::Public, bytes: self.trusted_pem.as_bytes() },
            Content { name: files::NODE_KEY, secrecy: Secrecy::Secret, bytes: self.key_pem.as_bytes() },
            Content { name: files::NODE_CERTIFICATE, secrecy: Secrecy::Public, bytes: self.certificate_pem.as_bytes() },
        ];
        files::write_set(dir, &contents, force)
    }

    /// Whether a bundle could be saved in `dir` without overwriting anything; for asking before one is issued.
    pub fn check_free(dir: &Path) -> Result<(), Error> {
        let names = [files::PLACE_KEY, files::CA_CERTIFICATES, files::NODE_KEY, files::NODE_CERTIFICATE];
        files::check_free(dir, names)
    }

    /// Whom the certificate names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate's serial number.
    pub fn serial(&self) -> &[u8; 16] {
        &self.serial
    }

    /// When the certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.not_after
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("identity", &self.identity)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What the reset key is made over.
const RESET_KEY_OF: &[u8] = b"everett stateless reset key 1";

/// A bundle read from disk and found consistent.
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    pub(crate) place_key: PlaceKey,
    pub(crate) certified: CertifiedKey,
    pub(crate) reset_key: hmac::Key,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) trust: Trust,
}

impl Loaded {
    /// Reads `dir` and checks that key, certificate, authorities and names belong together.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let place_key = files::read_place_key(dir)?;
        let path = dir.join(files::NODE_CERTIFICATE);
        let chain: Vec<CertificateDer<'static>> =
            files::sections(&path, &files::read(&path, Secrecy::Public)?, Item::Certificate)?;
        // `sections` returns at least one.
        let leaf = chain.first().ok_or(Error::Missing { path: path.clone(), wanted: Item::Certificate })?;
        let identity = Identity::from_leaf(leaf).map_err(|source| Error::Identity { path: path.clone(), source })?;
        let (not_before, not_after) = x509::parse(leaf)
            .and_then(|certificate| x509::validity(&certificate))
            .ok_or_else(|| Error::Malformed { path: path.clone(), what: Item::Certificate })?;
        let (certified, reset_key) = read_certified(dir, chain)?;
        let trust = Trust::read(dir, identity.cluster)?;
        let loaded = Self { identity, place_key, certified, reset_key, not_before, not_after, trust };
        loaded.check_chain(path)?;
        Ok(loaded)
    }

    /// Whether our own authorities vouch for our own certificate, at the moment of its life nearest to now and
    /// whatever was revoked since: files that do not belong together are an error, a lapse of time is not.
    fn check_chain(&self, path: PathBuf) -> Result<(), Error> {
        let latest = self.not_after.max(self.not_before);
        let moment = SystemTime::now().clamp(self.not_before, latest);
        self.trust
            .without_revocation()
            .and_then(|trust| trust.judge(&self.certified.cert, moment))
            .map(drop)
            .map_err(|refusal| Error::Untrusted { path, source: refusal.into() })
    }
}

/// The certificate with its key, and the reset key that follows from the key.
fn read_certified(dir: &Path, chain: Vec<CertificateDer<'static>>) -> Result<(CertifiedKey, hmac::Key), Error> {
    let path = dir.join(files::NODE_KEY);
    let text = files::read(&path, Secrecy::Secret)?;
    let key: PrivateKeyDer<'static> = files::first_section(&path, &text, Item::PrivateKey)?;
    let reset_key = reset_key(key.secret_der());
    let signer = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|source| Error::Unusable { path: path.clone(), source })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok((certified, reset_key)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::KeyMismatch { key: path, certificate: dir.join(files::NODE_CERTIFICATE) })
        }
        Err(source) => Err(Error::Unusable { path: dir.join(files::NODE_CERTIFICATE), source }),
    }
}

fn reset_key(secret: &[u8]) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), RESET_KEY_OF);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}
