//! The certificate authority of one cluster: it makes the cluster's id and place key, and names its nodes.
//!
//! An authority lives in a directory (`ca.pem`, `ca.key`, `place.key`) that no running agent needs. It signs leaves and
//! nothing else; leaves carry the cluster id, so two clusters never mistake each other's nodes.
//!
//! Replacing an authority: [`Authority::successor`] makes the next one for the same cluster, and its `ca.pem` holds
//! both certificates. Give that `ca.pem` to every node first, then issue leaves from the new authority, then drop the
//! old certificate. At no moment does a node meet a certificate it does not trust.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls_pki_types::CertificateDer;

use crate::bundle::Bundle;
use crate::error::{Error, Item};
use crate::files::{self, Content, Secrecy};
use crate::identity::cluster_of_authority;
use crate::place_key::{PlaceKey, fill_random};
use crate::profile::{self, CaOptions, Lifetime, Profile};
use crate::x509;

/// An authority with its private key.
pub struct Authority {
    cluster: [u8; 16],
    place_key: PlaceKey,
    key: KeyPair,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    /// What nodes trust: this authority's certificate, and its predecessor's while both are in use.
    trusted_pem: String,
}

impl Authority {
    /// Makes the authority of a new cluster: id, place key, key and certificate are all new.
    pub fn create(options: &CaOptions) -> Result<Self, Error> {
        let mut cluster = [0; 16];
        fill_random(&mut cluster)?;
        Self::make(cluster, PlaceKey::draw()?, options, "")
    }

    /// Makes the next authority of the same cluster; bundles it issues trust both.
    pub fn successor(&self, options: &CaOptions) -> Result<Self, Error> {
        Self::make(self.cluster, self.place_key.clone(), options, &self.trusted_pem)
    }

    fn make(cluster: [u8; 16], place_key: PlaceKey, options: &CaOptions, predecessors: &str) -> Result<Self, Error> {
        let lifetime = Lifetime::new(options.starts_at, options.valid_for)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = profile::authority_params(&cluster, lifetime)?.self_signed(&key)?;
        Ok(Self {
            cluster,
            place_key,
            not_after: lifetime.not_after.into(),
            trusted_pem: certificate.pem() + predecessors,
            certificate: certificate.into(),
            key,
        })
    }

    /// Reads an authority from its directory.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let ca_path = dir.join(files::CA_CERTIFICATES);
        let key_path = dir.join(files::CA_KEY);
        let trusted = files::read(&ca_path, Secrecy::Public)?;
        let certificates: Vec<CertificateDer<'static>> = files::sections(&ca_path, &trusted, Item::Certificate)?;
        let key = read_key(&key_path)?;
        let spki = key.subject_public_key_info();
        for certificate in certificates {
            let parsed = x509::parse(&certificate)
                .ok_or_else(|| Error::Malformed { path: ca_path.clone(), what: Item::Certificate })?;
            if parsed.public_key().raw != spki.as_slice() {
                continue;
            }
            if !parsed.is_ca() {
                return Err(Error::NotAuthority { path: ca_path });
            }
            let cluster =
                cluster_of_authority(&parsed).map_err(|source| Error::Identity { path: ca_path.clone(), source })?;
            let (_, not_after) = x509::validity(&parsed)
                .ok_or_else(|| Error::Malformed { path: ca_path.clone(), what: Item::Certificate })?;
            // PEM is ASCII, and the sections above were found in it; comments around them may be anything.
            let trusted_pem = String::from_utf8_lossy(&trusted).into_owned();
            let place_key = files::read_place_key(dir)?;
            return Ok(Self { cluster, place_key, key, certificate, not_after, trusted_pem });
        }
        Err(Error::KeyMismatch { key: key_path, certificate: ca_path })
    }

    /// Writes the authority into `dir`; nothing is overwritten without `force`.
    pub fn save(&self, dir: &Path, force: bool) -> Result<(), Error> {
        let key_pem = self.key.serialize_pem();
        let contents = [
            Content { name: files::CA_KEY, secrecy: Secrecy::Secret, bytes: key_pem.as_bytes() },
            Content { name: files::PLACE_KEY, secrecy: Secrecy::Secret, bytes: self.place_key.as_bytes() },
            Content { name: files::CA_CERTIFICATES, secrecy: Secrecy::Public, bytes: self.trusted_pem.as_bytes() },
        ];
        files::write_set(dir, &contents, force)
    }

    /// Issues a node's certificate with a key of its own.
    pub fn issue(&self, profile: &Profile) -> Result<Bundle, Error> {
        let identity = profile.identity(self.cluster)?;
        let lifetime = Lifetime::new(profile.starts_at, profile.valid_for)?;
        let not_after = SystemTime::from(lifetime.not_after);
        if not_after > self.not_after {
            return Err(Error::OutlivesAuthority { until: self.not_after });
        }
        let (params, serial) = profile::node_params(&identity, lifetime)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Bundle {
            identity,
            serial,
            not_after,
            place_key: self.place_key.clone(),
            trusted_pem: self.trusted_pem.clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The cluster this authority speaks for.
    pub fn cluster(&self) -> [u8; 16] {
        self.cluster
    }

    /// When the authority's own certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.not_after
    }

    /// The cluster's place key.
    pub fn place_key(&self) -> &PlaceKey {
        &self.place_key
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &crate::identity::hex(&self.cluster))
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn read_key(path: &Path) -> Result<KeyPair, Error> {
    let text = files::read(path, Secrecy::Secret)?;
    let der: rustls_pki_types::PrivateKeyDer<'static> = files::first_section(path, &text, Item::PrivateKey)?;
    KeyPair::try_from(&der).map_err(|_| Error::Malformed { path: path.to_owned(), what: Item::PrivateKey })
}

#[cfg(test)]
mod tests;
