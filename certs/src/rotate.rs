//! Key and trust that change under running endpoints.
//!
//! rustls asks for our certificate and judges the peer's at every handshake. Both questions are answered here from an
//! atomic pointer, so replacing what it points to changes the next handshake: no endpoint restarts, no link drops. A
//! handshake under way finishes with what it had. Links that stand keep their peer's old certificate; whoever owns
//! them asks [`crate::Mtls::recheck`] after a change.
//!
//! Resumed sessions would bypass both questions, which is why [`crate::mtls`] turns resumption off.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::mtls::provider;
use crate::trust::Trust;

/// What we show, and until when it is good.
pub(crate) struct Presented {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) not_after: SystemTime,
}

/// Our certificate and key, for both ends of a link.
pub(crate) struct HotKey(ArcSwap<Presented>);

impl HotKey {
    pub(crate) fn new(presented: Presented) -> Self {
        Self(ArcSwap::from_pointee(presented))
    }

    pub(crate) fn replace(&self, presented: Presented) {
        self.0.store(Arc::new(presented));
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        self.0.load().not_after
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.load().certified)
    }
}

impl fmt::Debug for HotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotKey").field("not_after", &self.not_after()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for HotKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for HotKey {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Whom we trust, for both ends of a link.
#[derive(Debug)]
pub(crate) struct HotTrust {
    trust: ArcSwap<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HotTrust {
    pub(crate) fn new(trust: Trust) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { trust: ArcSwap::from_pointee(trust), algorithms }
    }

    pub(crate) fn replace(&self, trust: Trust) {
        self.trust.store(Arc::new(trust));
    }

    pub(crate) fn now(&self) -> Arc<Trust> {
        self.trust.load_full()
    }
}

impl ClientCertVerifier for HotTrust {
    /// No hints: a peer has one certificate to show, and a list of our authorities would tell strangers who we are.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now().judge_split(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for HotTrust {
    /// The name dialed is a placeholder ([`crate::DIAL_NAME`]); who is there is what the certificate says.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialed: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.now().judge_split(leaf, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
