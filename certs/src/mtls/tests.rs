//! Real handshakes, in memory, between bundles that were issued, saved and loaded as an operator would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ED25519, SanType};
use rustls::{CertificateError, ClientConnection, Connection, HandshakeKind, ServerConnection};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use super::*;
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::identity::IdentityError;
use crate::profile::{CaOptions, Profile, days};

mod rotation;

const HOUR: Duration = Duration::from_hours(1);

fn authority() -> Authority {
    Authority::create(&CaOptions::default()).unwrap()
}

fn issue(authority: &Authority, node: &str) -> Bundle {
    authority.issue(&Profile::new("fra", node)).unwrap()
}

/// A bundle on disk, and the standing it gives.
fn standing(bundle: &Bundle) -> (TempDir, Mtls) {
    let dir = tempfile::tempdir().unwrap();
    bundle.save(dir.path(), false).unwrap();
    let mtls = Mtls::load(dir.path()).unwrap();
    (dir, mtls)
}

/// What became of a handshake: whom the dialer and the listener met, or which of them refused, and why.
#[derive(Debug)]
enum Outcome {
    Linked { listener: Identity, dialer: Identity, chain: Vec<CertificateDer<'static>> },
    DialerRefused(rustls::Error),
    ListenerRefused(rustls::Error),
}

fn certificate_error(outcome: Outcome) -> CertificateError {
    match outcome {
        Outcome::DialerRefused(rustls::Error::InvalidCertificate(error))
        | Outcome::ListenerRefused(rustls::Error::InvalidCertificate(error)) => error,
        other @ (Outcome::Linked { .. } | Outcome::DialerRefused(_) | Outcome::ListenerRefused(_)) => {
            panic!("not refused for its certificate: {other:?}")
        }
    }
}

fn handshake(dialer: &Mtls, listener: &Mtls) -> Outcome {
    handshake_with(dialer.client_config(), listener.server_config(), dialer, listener)
}

fn handshake_with(client: Arc<ClientConfig>, server: Arc<ServerConfig>, dialer: &Mtls, listener: &Mtls) -> Outcome {
    let name = ServerName::try_from(DIAL_NAME).unwrap();
    let mut client = Connection::Client(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(server).unwrap());
    while client.is_handshaking() || server.is_handshaking() {
        if let Err(error) = carry(&mut client, &mut server) {
            return Outcome::ListenerRefused(error);
        }
        if let Err(error) = carry(&mut server, &mut client) {
            return Outcome::DialerRefused(error);
        }
    }
    assert_eq!(client.alpn_protocol(), Some(ALPN));
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
    Outcome::Linked {
        listener: dialer.peer_identity(client.peer_certificates().unwrap()).unwrap(),
        dialer: listener.peer_identity(server.peer_certificates().unwrap()).unwrap(),
        chain: server.peer_certificates().unwrap().iter().map(|der| der.clone().into_owned()).collect(),
    }
}

/// Moves what one end has to say to the other, which then acts on it.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn two_nodes_of_a_cluster_learn_each_others_names_from_certificates_alone() {
    let authority = authority();
    let ((_a, one), (_b, two)) = (standing(&issue(&authority, "one")), standing(&issue(&authority, "two")));
    let Outcome::Linked { listener, dialer, .. } = handshake(&one, &two) else { panic!("refused") };
    assert_eq!((dialer.node.as_str(), listener.node.as_str()), ("one", "two"));
    assert_eq!(dialer, one.identity());
    assert_eq!(one.place_key(), two.place_key());
}

#[test]
fn a_second_visit_shakes_hands_in_full_again() {
    let authority = authority();
    let ((_a, one), (_b, two)) = (standing(&issue(&authority, "one")), standing(&issue(&authority, "two")));
    for _ in 0..3 {
        // The assertion on the handshake's kind is in there.
        assert!(matches!(handshake(&one, &two), Outcome::Linked { .. }));
    }
    assert_eq!(two.server_config().send_tls13_tickets, 0);
    assert_eq!(two.server_config().max_early_data_size, 0);
}

#[test]
fn a_node_of_another_authority_is_refused_by_whoever_meets_it_first() {
    let ((_a, ours), (_b, theirs)) = (standing(&issue(&authority(), "one")), standing(&issue(&authority(), "one")));
    assert_eq!(certificate_error(handshake(&theirs, &ours)), CertificateError::UnknownIssuer);
    assert_eq!(certificate_error(handshake(&ours, &theirs)), CertificateError::UnknownIssuer);
}

#[test]
fn a_listener_refuses_another_authority_even_if_the_dialer_trusts_everyone() {
    let (ours, theirs) = (authority(), authority());
    let ((_a, listener), (dir, dialer)) = (standing(&issue(&ours, "one")), standing(&issue(&theirs, "two")));
    let both = issue(&theirs, "x").trusted_pem + &issue(&ours, "x").trusted_pem;
    fs::write(dir.path().join(files::CA_CERTIFICATES), both).unwrap();
    dialer.reload().unwrap();
    // The dialer's own cluster check still stands in the way, so the listener is asked with a dialer that has none.
    let outcome = handshake_with(trusting_client(&dialer), listener.server_config(), &dialer, &listener);
    assert!(matches!(outcome, Outcome::ListenerRefused(_)), "{outcome:?}");
    assert_eq!(certificate_error(outcome), CertificateError::UnknownIssuer);
}

/// A dialer that shows `dialer`'s certificate and believes whatever it meets.
fn trusting_client(dialer: &Mtls) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&dialer.client_config());
    config.dangerous().set_certificate_verifier(Arc::new(Gullible));
    Arc::new(config)
}

#[derive(Debug)]
struct Gullible;

impl rustls::client::danger::ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_dialer_without_a_certificate_is_refused() {
    let (_dir, listener) = standing(&issue(&authority(), "one"));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let outcome = handshake_with(Arc::new(config), listener.server_config(), &listener, &listener);
    assert!(matches!(outcome, Outcome::ListenerRefused(rustls::Error::NoCertificatesPresented)), "{outcome:?}");
}

#[test]
fn a_dialer_of_another_protocol_is_refused() {
    let authority = authority();
    let ((_a, one), (_b, two)) = (standing(&issue(&authority, "one")), standing(&issue(&authority, "two")));
    let mut config = ClientConfig::clone(&one.client_config());
    config.alpn_protocols = vec![b"h3".to_vec()];
    let outcome = handshake_with(Arc::new(config), two.server_config(), &one, &two);
    assert!(matches!(outcome, Outcome::ListenerRefused(rustls::Error::NoApplicationProtocol)), "{outcome:?}");
}

fn expired(authority: &Authority, node: &str) -> Bundle {
    let profile = Profile { starts_at: SystemTime::now() - 2 * HOUR, valid_for: HOUR, ..Profile::new("fra", node) };
    authority.issue(&profile).unwrap()
}

#[test]
fn an_expired_node_still_loads_and_is_refused_by_both_ends() {
    let authority = authority();
    let ((_a, late), (_b, fresh)) = (standing(&expired(&authority, "late")), standing(&issue(&authority, "fresh")));
    assert!(late.expires_at() < SystemTime::now());
    for outcome in [handshake(&late, &fresh), handshake(&fresh, &late)] {
        let error = certificate_error(outcome);
        assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    }
}

#[test]
fn a_node_that_is_not_valid_yet_is_refused() {
    let authority = authority();
    let profile = Profile { starts_at: SystemTime::now() + HOUR, ..Profile::new("fra", "early") };
    let (_a, early) = standing(&authority.issue(&profile).unwrap());
    let (_b, other) = standing(&issue(&authority, "other"));
    let error = certificate_error(handshake(&early, &other));
    assert!(matches!(error, CertificateError::NotValidYetContext { .. }), "{error:?}");
}

/// A key of an authority on disk, to sign with by hand what the authority itself never would.
fn issuer(authority: &Authority) -> Issuer<'static, KeyPair> {
    let dir = tempfile::tempdir().unwrap();
    authority.save(dir.path(), false).unwrap();
    let key = KeyPair::from_pem(&fs::read_to_string(dir.path().join(files::CA_KEY)).unwrap()).unwrap();
    let pem = fs::read(dir.path().join(files::CA_CERTIFICATES)).unwrap();
    Issuer::from_ca_cert_der(&CertificateDer::from_pem_slice(&pem).unwrap(), key).unwrap()
}

/// A dialer whose leaf is signed by the right authority, with a content of the test's choice.
fn dialer_with(authority: &Authority, listener: &Mtls, change: impl FnOnce(&mut CertificateParams)) -> Outcome {
    let (_dir, template) = standing(&issue(authority, "forged"));
    let lifetime = crate::profile::Lifetime::new(SystemTime::now() - HOUR, 2 * HOUR).unwrap();
    let (mut params, _) = crate::profile::node_params(&template.identity(), lifetime).unwrap();
    change(&mut params);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = params.signed_by(&key, &issuer(authority)).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_client_auth_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    handshake_with(Arc::new(config), listener.server_config(), &template, listener)
}

fn names(uri: &str, dns: &str) -> Vec<SanType> {
    vec![SanType::URI(uri.try_into().unwrap()), SanType::DnsName(dns.try_into().unwrap())]
}

#[test]
fn a_node_of_another_cluster_is_refused_even_under_our_own_authority() {
    let authority = authority();
    let (_dir, listener) = standing(&issue(&authority, "one"));
    let other = Identity { cluster: [9; 16], ..listener.identity() };
    let outcome = dialer_with(&authority, &listener, |params| {
        params.subject_alt_names = names(&other.uri(), &other.dns_name());
    });
    assert_eq!(certificate_error(outcome), CertificateError::ApplicationVerificationFailure);
}

#[test]
fn a_leaf_that_names_no_node_or_two_is_refused() {
    let authority = authority();
    let (_dir, listener) = standing(&issue(&authority, "one"));
    let (uri, dns) = (listener.identity().uri(), listener.identity().dns_name());
    let cases = [
        (names("https://example.invalid", &dns), IdentityError::Missing),
        ([names(&uri, &dns), names(&uri, &dns)].concat(), IdentityError::Ambiguous),
        (names("everett://nonsense", &dns), IdentityError::Form),
    ];
    for (sans, expected) in cases {
        let outcome = dialer_with(&authority, &listener, |params| {
            params.subject_alt_names = sans;
        });
        let CertificateError::Other(error) = certificate_error(outcome) else { panic!("{expected}") };
        assert_eq!(error.0.downcast_ref::<IdentityError>(), Some(&expected));
    }
}

#[test]
fn a_leaf_whose_dns_name_disagrees_with_its_uri_is_refused() {
    let authority = authority();
    let (_dir, listener) = standing(&issue(&authority, "one"));
    let outcome = dialer_with(&authority, &listener, |params| {
        params.subject_alt_names = names(&listener.identity().uri(), "other.fra.everett.invalid");
    });
    let error = certificate_error(outcome);
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
}

#[test]
fn a_leaf_for_one_direction_only_is_refused() {
    let authority = authority();
    let (_dir, listener) = standing(&issue(&authority, "one"));
    for keep in [0, 1] {
        let outcome = dialer_with(&authority, &listener, |params| {
            params.extended_key_usages = vec![params.extended_key_usages[keep].clone()];
        });
        let error = certificate_error(outcome);
        assert!(matches!(error, CertificateError::InvalidPurposeContext { .. }), "{error:?}");
    }
}

#[test]
fn a_link_without_certificates_names_nobody() {
    let (_dir, one) = standing(&issue(&authority(), "one"));
    assert!(matches!(one.peer_identity(&[]), Err(Error::PeerAnonymous)));
    assert!(matches!(one.recheck(&[]), Err(Error::PeerAnonymous)));
}

#[test]
fn no_flipped_bit_and_no_cut_makes_a_certificate_that_is_let_in() {
    let (_dir, one) = standing(&issue(&authority(), "one"));
    let leaf = {
        let Outcome::Linked { chain, .. } = handshake(&one, &one) else { panic!("refused") };
        chain[0].to_vec()
    };
    one.recheck(&[CertificateDer::from(leaf.as_slice())]).unwrap();
    for bit in 0..leaf.len() * 8 {
        let mut flipped = leaf.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Reading whom it claims to name must survive it too, whatever it says.
        drop(Identity::from_leaf(&CertificateDer::from(flipped.as_slice())));
        assert!(one.recheck(&[CertificateDer::from(flipped)]).is_err(), "bit {bit}");
    }
    for length in 0..leaf.len() {
        let cut = CertificateDer::from(&leaf[..length]);
        assert_eq!(Identity::from_leaf(&cut), Err(IdentityError::Malformed));
        assert!(one.recheck(&[cut]).is_err(), "{length} bytes");
    }
    let longer = CertificateDer::from([leaf.as_slice(), &[0]].concat());
    assert!(one.recheck(&[longer]).is_err());
}
