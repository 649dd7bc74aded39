//! Mutual TLS for the mesh: the two rustls configurations of an endpoint, and what stands behind them.
//!
//! TLS 1.3 only (RFC 8446), one crypto provider, ALPN `everett/1`, both sides verified. No tickets, no resumption, no
//! early data: a resumed session shows no certificate, so a node revoked since its last visit would come back in. A
//! full handshake costs about a millisecond.
//!
//! A node dials an address from its seeds and learns from the certificate who answers, so there is no name to dial:
//! [`DIAL_NAME`] is a placeholder, neither sent nor checked. Checked in its place are chain, dates, purpose,
//! revocation and the cluster in the URI, by the same judgement for both directions (the `trust` module).
//!
//! What this cannot promise: under TLS 1.3 the dialing side believes itself connected before the listening side has
//! judged its certificate. Only an answer at the application's level proves that one was let in.
//!
//! Identity, place key and reset key are fixed for the life of a process; key, authorities and revocations follow the
//! files at [`Mtls::reload`]. A reload that fails changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ring::hmac;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::bundle::Loaded;
use crate::error::Error;
use crate::files;
use crate::identity::Identity;
use crate::place_key::PlaceKey;
use crate::rotate::{HotKey, HotTrust, Presented};

/// The protocol spoken inside the link; its number changes only with a break of everything after the handshake.
pub const ALPN: &[u8] = b"everett/1";

/// The server name to dial with.
pub const DIAL_NAME: &str = "node.everett.invalid";

/// The one place that chooses whose cryptography is used.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A node's standing in the mesh: who it is, what it shows, whom it trusts.
pub struct Mtls {
    dir: PathBuf,
    identity: Identity,
    place_key: PlaceKey,
    reset_key: hmac::Key,
    key: Arc<HotKey>,
    trust: Arc<HotTrust>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Mtls {
    /// Reads the bundle in `dir`. An expired certificate is loaded (and warned about): peers will refuse it, local
    /// clients need not notice.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let Loaded { identity, place_key, certified, reset_key, not_after, trust, .. } = Loaded::read(dir)?;
        if not_after <= SystemTime::now() {
            tracing::warn!(node = %identity, "our certificate has expired; every peer will refuse it until it is renewed");
        }
        let key = Arc::new(HotKey::new(Presented { certified: Arc::new(certified), not_after }));
        let trust = Arc::new(HotTrust::new(trust));
        Ok(Self {
            server: Arc::new(server_config(&key, &trust)?),
            client: Arc::new(client_config(&key, &trust)?),
            dir: dir.to_owned(),
            identity,
            place_key,
            reset_key,
            key,
            trust,
        })
    }

    /// Reads the bundle again; handshakes from now on show and trust what it holds. Links that stand are for their
    /// owner to [`recheck`](Self::recheck).
    ///
    /// On error, and if the files name another node or hold another place key, everything stays as it was.
    pub fn reload(&self) -> Result<(), Error> {
        let loaded = Loaded::read(&self.dir)?;
        if loaded.identity != self.identity {
            return Err(Error::IdentityChanged {
                running: Box::new(self.identity.clone()),
                found: Box::new(loaded.identity),
            });
        }
        if loaded.place_key != self.place_key {
            return Err(Error::PlaceKeyChanged { path: self.dir.join(files::PLACE_KEY) });
        }
        // Trust first: whoever meets the new certificate meets a node that trusts its authority.
        self.trust.replace(loaded.trust);
        self.key.replace(Presented { certified: Arc::new(loaded.certified), not_after: loaded.not_after });
        tracing::info!(node = %self.identity, "certificates reloaded");
        Ok(())
    }

    /// Who we are.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The cluster's place key.
    pub fn place_key(&self) -> PlaceKey {
        self.place_key.clone()
    }

    /// Signs what tells a peer that a process of this node knows nothing of its connection (RFC 9000, section 10.3). It
    /// follows from `node.key`, so that the next process can say so of the connections of the one before.
    pub fn reset_key(&self) -> hmac::Key {
        self.reset_key.clone()
    }

    /// For links that others open.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For links that we open.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// Whom the certificates of an established link name. The handshake has judged them; this only reads.
    pub fn peer_identity(&self, chain: &[CertificateDer<'_>]) -> Result<Identity, Error> {
        let leaf = chain.first().ok_or(Error::PeerAnonymous)?;
        let identity = Identity::from_leaf(leaf).map_err(Error::PeerIdentity)?;
        if identity.cluster != self.identity.cluster {
            return Err(Error::PeerCluster { found: Box::new(identity) });
        }
        Ok(identity)
    }

    /// Whether the peer of an established link would still be let in: not expired since, not revoked, its authority
    /// still ours.
    pub fn recheck(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        if chain.is_empty() {
            return Err(Error::PeerAnonymous);
        }
        self.trust.now().judge(chain, SystemTime::now())?;
        Ok(())
    }

    /// When the certificate we show expires.
    pub fn expires_at(&self) -> SystemTime {
        self.key.not_after()
    }
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mtls").field("dir", &self.dir).field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn server_config(key: &Arc<HotKey>, trust: &Arc<HotTrust>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .with_client_cert_verifier(Arc::<HotTrust>::clone(trust))
        .with_cert_resolver(Arc::<HotKey>::clone(key));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(key: &Arc<HotKey>, trust: &Arc<HotTrust>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<HotTrust>::clone(trust))
        .with_client_cert_resolver(Arc::<HotKey>::clone(key));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // The name is the same for all; there is nothing to tell.
    config.enable_sni = false;
    Ok(config)
}

#[cfg(test)]
mod tests;
