//! Strangers at the mesh's door: without a certificate of this cluster nothing is heard from an agent.

#![expect(clippy::unwrap_used, reason = "what a test's helper cannot do, the test cannot")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everett_certs::{ALPN, Authority, CaOptions};
use everett_tests::cluster::{Cluster, strange_bundle};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// How long an agent may take to close on a stranger.
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// Believes whatever the agent shows: the stranger wants in, it does not care where.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken in QUIC".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client that shows the bundle in `directory`, or no certificate at all.
fn client(bundle: Option<&Path>) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let trusting = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    let mut tls = match bundle {
        None => trusting.with_no_client_auth(),
        Some(directory) => {
            let leaf = CertificateDer::from_pem_file(directory.join("node.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(directory.join("node.key")).unwrap();
            trusting.with_client_auth_cert(vec![leaf], key).unwrap()
        }
    };
    tls.alpn_protocols = vec![ALPN.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// Dials the agent, says something, and stays until it is shown out.
async fn knock(port: u16, config: ClientConfig) -> Connection {
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let dialed = endpoint.connect_with(config, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "everett").unwrap();
    // In TLS 1.3 the client is done before the server has judged its certificate.
    let connection = dialed.await.expect("the handshake ends at the client");
    if let Ok((mut send, _receive)) = connection.open_bi().await {
        // Refused or not: what matters is what comes back.
        let _ = send.write_all(b"hello").await;
        let _ = send.finish();
    }
    let _ = connection.send_datagram(b"hello".as_slice().into());
    tokio::time::timeout(CLOSE_MAX, connection.closed()).await.expect("the agent closes on a stranger");
    connection
}

fn hears_nothing(bundle: Option<&Path>, cluster: &mut Cluster) {
    let port = cluster.agent(0).port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = runtime.block_on(knock(port, client(bundle)));
    let heard = connection.stats().frame_rx;
    assert!(heard.crypto > 0, "the agent was reached: {heard:?}");
    assert_eq!((heard.stream, heard.datagram), (0, 0), "a stranger heard something: {heard:?}");
    let mut local = cluster.client(0);
    let answer: String = redis::cmd("PING").query(&mut local).unwrap();
    assert_eq!(answer, "PONG");
}

#[test]
fn a_client_without_a_certificate_hears_nothing() {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).start_and_serve();
    hears_nothing(None, &mut cluster);
}

#[test]
fn a_client_of_another_authority_hears_nothing() {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).start_and_serve();
    let stranger = cluster.directory().join("stranger");
    let other = Authority::create(&CaOptions::default()).unwrap();
    strange_bundle(&other, "b", &stranger);
    hears_nothing(Some(&stranger), &mut cluster);
}

/// The tests above must be able to fail: a member's certificate is let in, and spoken to.
#[test]
fn a_member_of_the_cluster_is_spoken_to() {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).start_and_serve();
    let member = cluster.directory().join("member");
    strange_bundle(cluster.authority(), "z", &member);
    let port = cluster.agent(0).port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connection = endpoint.connect_with(client(Some(&member)), address, "everett").unwrap().await.unwrap();
        // It says HELLO first only to those it dials, so it is asked in words that it must refuse.
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&[0xff; 64]).await.unwrap();
        let _ = send.finish();
        let reason = tokio::time::timeout(CLOSE_MAX, connection.closed()).await.expect("nonsense ends a link");
        (connection.stats().frame_rx, reason)
    });
    assert!(matches!(heard.1, quinn::ConnectionError::ApplicationClosed(_)), "let in, then shown out: {heard:?}");
}
