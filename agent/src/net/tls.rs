//! Where QUIC, TLS and the certs crate meet: configurations in, verdicts and chains out.
//!
//! The only file of the agent that names rustls. What a certificate is worth is decided in the certs crate; here its two
//! configurations are handed to quinn, a TLS failure is given its cause, and a link's chain is taken out for judgement.

use std::sync::Arc;

use everett_certs::{Error as CertError, Mtls};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;

use super::StartError;
use super::refusal::Refusal;
use crate::identity::NodeIdentity;

/// The acceptor's side.
pub(super) fn server(mtls: &Mtls) -> Result<quinn::ServerConfig, StartError> {
    let crypto = QuicServerConfig::try_from(mtls.server_config()).map_err(|_| StartError::Cipher)?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(crypto)))
}

/// The dialer's side.
pub(super) fn client(mtls: &Mtls) -> Result<quinn::ClientConfig, StartError> {
    let crypto = QuicClientConfig::try_from(mtls.client_config()).map_err(|_| StartError::Cipher)?;
    Ok(quinn::ClientConfig::new(Arc::new(crypto)))
}

/// Who is at the other end, by its verified certificate.
pub(super) fn peer_of(connection: &Connection, mtls: &Mtls) -> Result<NodeIdentity, Refusal> {
    let identity = mtls.peer_identity(&chain_of(connection)).map_err(|e| cause(&e))?;
    Ok(NodeIdentity::from(&identity))
}

/// Judges a link's certificate again.
pub(super) fn recheck(connection: &Connection, mtls: &Mtls) -> Result<(), Refusal> {
    mtls.recheck(&chain_of(connection)).map_err(|e| cause(&e))?;
    Ok(())
}

/// The cause for which *this* side broke off a handshake, `None` if it was not this side or not TLS.
pub(super) fn refused_by_us(error: &ConnectionError) -> Option<Refusal> {
    match error {
        ConnectionError::TransportError(error) => alert_of(error.code).map(of_alert),
        ConnectionError::VersionMismatch
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}

/// The cause for which the *other* side broke off a handshake.
pub(super) fn refused_by_peer(error: &ConnectionError) -> Option<Refusal> {
    match error {
        ConnectionError::ConnectionClosed(close) => alert_of(close.error_code).map(of_alert),
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}

fn chain_of(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity();
    let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}

/// QUIC carries TLS alert `n` as transport error `0x100 + n` (RFC 9001, section 4.8).
fn alert_of(code: TransportErrorCode) -> Option<AlertDescription> {
    let alert = u64::from(code).checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

fn of_alert(alert: AlertDescription) -> Refusal {
    if alert == AlertDescription::CertificateRequired {
        Refusal::NoCertificate
    } else if alert == AlertDescription::UnknownCA {
        Refusal::UnknownCa
    } else if alert == AlertDescription::CertificateExpired {
        Refusal::Expired
    } else if alert == AlertDescription::CertificateRevoked {
        Refusal::Revoked
    } else if alert == AlertDescription::AccessDenied {
        // What the certs crate has its verifiers answer to a node of another cluster.
        Refusal::OtherCluster
    } else {
        Refusal::BadCertificate
    }
}

fn cause(error: &CertError) -> Refusal {
    if let CertError::PeerUntrusted(rustls::Error::InvalidCertificate(error)) = error {
        of_alert(error.clone().into())
    } else if matches!(error, CertError::PeerAnonymous) {
        Refusal::NoCertificate
    } else if matches!(error, CertError::PeerCluster { .. }) {
        Refusal::OtherCluster
    } else if matches!(error, CertError::PeerIdentity(_)) {
        Refusal::NoIdentity
    } else {
        Refusal::BadCertificate
    }
}

#[cfg(test)]
pub(super) mod stranger;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_told_apart() {
        let code = |alert| TransportErrorCode::crypto(u8::from(alert));
        let of = |alert| alert_of(code(alert)).map(of_alert);
        assert_eq!(of(AlertDescription::UnknownCA), Some(Refusal::UnknownCa));
        assert_eq!(of(AlertDescription::CertificateExpired), Some(Refusal::Expired));
        assert_eq!(of(AlertDescription::CertificateRequired), Some(Refusal::NoCertificate));
        assert_eq!(of(AlertDescription::DecryptError), Some(Refusal::BadCertificate));
        assert_eq!(alert_of(TransportErrorCode::PROTOCOL_VIOLATION), None);
    }
}
