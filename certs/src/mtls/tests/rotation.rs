//! Renewed files, replaced authorities and revoked nodes, met by endpoints that are never restarted.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use super::*;

#[test]
fn a_reload_changes_what_is_shown_while_the_configurations_stay() {
    let authority = authority();
    let ((dir, one), (_b, two)) = (standing(&issue(&authority, "one")), standing(&issue(&authority, "two")));
    let (client, server) = (one.client_config(), two.server_config());
    let Outcome::Linked { chain: before, .. } = handshake_with(client.clone(), server.clone(), &one, &two) else {
        panic!("refused")
    };
    let renewed = authority.issue(&Profile::new("fra", "one").valid_for(days(30))).unwrap();
    renewed.save(dir.path(), true).unwrap();
    one.reload().unwrap();
    let Outcome::Linked { chain: after, .. } = handshake_with(client, server, &one, &two) else { panic!("refused") };
    assert_ne!(before, after);
    assert_eq!(one.expires_at(), renewed.expires_at());
    two.recheck(&before).unwrap();
}

#[test]
fn an_authority_is_replaced_without_a_moment_of_mistrust() {
    let old = authority();
    let new = old.successor(&CaOptions::default()).unwrap();
    let ((a, one), (b, two)) = (standing(&issue(&old, "one")), standing(&issue(&old, "two")));
    let linked =
        || matches!((handshake(&one, &two), handshake(&two, &one)), (Outcome::Linked { .. }, Outcome::Linked { .. }));
    let chain_of = |dialer, listener| match handshake(dialer, listener) {
        Outcome::Linked { chain, .. } => chain,
        refused @ (Outcome::DialerRefused(_) | Outcome::ListenerRefused(_)) => {
            panic!("{refused:?}")
        }
    };
    let under_old = chain_of(&one, &two);

    for (dir, mtls) in [(&a, &one), (&b, &two)] {
        fs::write(dir.path().join(files::CA_CERTIFICATES), issue(&new, "x").trusted_pem).unwrap();
        mtls.reload().unwrap();
        assert!(linked());
    }
    for (dir, mtls, node) in [(&a, &one, "one"), (&b, &two, "two")] {
        issue(&new, node).save(dir.path(), true).unwrap();
        mtls.reload().unwrap();
        assert!(linked());
    }
    two.recheck(&under_old).unwrap();

    let both = issue(&new, "x").trusted_pem;
    fs::write(b.path().join(files::CA_CERTIFICATES), first_certificate(&both)).unwrap();
    two.reload().unwrap();
    assert!(linked());
    let error = two.recheck(&under_old).unwrap_err();
    assert!(matches!(error, Error::PeerUntrusted(_)), "{error}");
}

fn first_certificate(pem: &str) -> &str {
    let end = "-----END CERTIFICATE-----\n";
    &pem[..pem.find(end).unwrap() + end.len()]
}

/// A list that revokes `serials`, good until `until`.
fn revocation_list(authority: &Authority, serials: &[&[u8; 16]], until: SystemTime) -> String {
    let revoked_certs = serials
        .iter()
        .map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(*serial),
            revocation_time: SystemTime::now().into(),
            reason_code: None,
            invalidity_date: None,
        })
        .collect();
    CertificateRevocationListParams {
        this_update: (until - 3 * HOUR).into(),
        next_update: until.into(),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&issuer(authority))
    .unwrap()
    .pem()
    .unwrap()
}

#[test]
fn a_revoked_node_is_refused_after_a_reload_and_its_standing_link_fails_the_recheck() {
    let authority = authority();
    let (bad, good) = (issue(&authority, "bad"), issue(&authority, "good"));
    let ((_a, bad_node), (_b, good_node)) = (standing(&bad), standing(&good));
    let (dir, judge) = standing(&issue(&authority, "judge"));
    let Outcome::Linked { chain, .. } = handshake(&bad_node, &judge) else { panic!("refused too early") };
    judge.recheck(&chain).unwrap();

    let list = revocation_list(&authority, &[bad.serial()], SystemTime::now() + HOUR);
    fs::write(dir.path().join(files::REVOCATION_LISTS), list).unwrap();
    judge.reload().unwrap();

    assert_eq!(certificate_error(handshake(&bad_node, &judge)), CertificateError::Revoked);
    assert_eq!(certificate_error(handshake(&judge, &bad_node)), CertificateError::Revoked);
    assert!(matches!(handshake(&good_node, &judge), Outcome::Linked { .. }));
    let error = judge.recheck(&chain).unwrap_err();
    assert!(matches!(error, Error::PeerUntrusted(rustls::Error::InvalidCertificate(CertificateError::Revoked))));
}

#[test]
fn a_list_of_one_authority_leaves_the_other_authoritys_nodes_alone() {
    let old = authority();
    let new = old.successor(&CaOptions::default()).unwrap();
    let ((dir, judge), (_b, under_new)) = (standing(&issue(&new, "judge")), standing(&issue(&new, "other")));
    let list = revocation_list(&old, &[], SystemTime::now() + HOUR);
    fs::write(dir.path().join(files::REVOCATION_LISTS), list).unwrap();
    judge.reload().unwrap();
    assert!(matches!(handshake(&under_new, &judge), Outcome::Linked { .. }));
}

#[test]
fn the_newest_of_an_authoritys_lists_is_in_force_wherever_it_stands() {
    let authority = authority();
    let bad = issue(&authority, "bad");
    let ((_a, bad_node), (dir, judge)) = (standing(&bad), standing(&issue(&authority, "judge")));
    let older = revocation_list(&authority, &[], SystemTime::now() + HOUR);
    let newer = revocation_list(&authority, &[bad.serial()], SystemTime::now() + 2 * HOUR);
    for lists in [older.clone() + &newer, newer + &older] {
        fs::write(dir.path().join(files::REVOCATION_LISTS), lists).unwrap();
        judge.reload().unwrap();
        assert_eq!(certificate_error(handshake(&bad_node, &judge)), CertificateError::Revoked);
    }
}

#[test]
fn an_authority_whose_time_has_run_out_vouches_for_nobody() {
    let short = CaOptions { starts_at: SystemTime::now() - 2 * HOUR, valid_for: HOUR };
    let gone = Authority::create(&short).unwrap();
    let identity = Identity { cluster: gone.cluster(), site: "fra".into(), node: "two".into() };
    let outliving = crate::profile::Lifetime::new(short.starts_at, 6 * HOUR).unwrap();
    let (params, _) = crate::profile::node_params(&identity, outliving).unwrap();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let peer = params.signed_by(&key, &issuer(&gone)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let profile = Profile { starts_at: short.starts_at, valid_for: HOUR, ..Profile::new("fra", "one") };
    gone.issue(&profile).unwrap().save(dir.path(), false).unwrap();
    let judge = Mtls::load(dir.path()).unwrap();
    let error = judge.recheck(&[peer.der().clone()]).unwrap_err();
    assert!(matches!(error, Error::PeerUntrusted(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))));
}

#[test]
fn a_list_past_its_next_update_lets_nobody_in() {
    let authority = authority();
    let ((dir, judge), (_b, other)) = (standing(&issue(&authority, "judge")), standing(&issue(&authority, "other")));
    let list = revocation_list(&authority, &[], SystemTime::now() - HOUR);
    fs::write(dir.path().join(files::REVOCATION_LISTS), list).unwrap();
    judge.reload().unwrap();
    let error = certificate_error(handshake(&other, &judge));
    assert!(matches!(error, CertificateError::ExpiredRevocationListContext { .. }), "{error:?}");
}

#[test]
fn a_list_of_a_stranger_or_a_broken_one_fails_the_reload_and_changes_nothing() {
    let authority = authority();
    let ((dir, judge), (_b, other)) = (standing(&issue(&authority, "judge")), standing(&issue(&authority, "other")));
    let path = dir.path().join(files::REVOCATION_LISTS);
    fs::write(&path, revocation_list(&self::authority(), &[], SystemTime::now() + HOUR)).unwrap();
    let error = judge.reload().unwrap_err();
    assert!(matches!(error, Error::ForeignRevocationList { .. }), "{error}");
    fs::write(&path, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
    let error = judge.reload().unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    fs::write(&path, "").unwrap();
    let error = judge.reload().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(matches!(handshake(&other, &judge), Outcome::Linked { .. }));
}

#[test]
fn a_reload_never_turns_a_node_into_another_one() {
    let authority = authority();
    let (dir, one) = standing(&issue(&authority, "one"));
    let before = one.expires_at();
    let moved = authority.issue(&Profile::new("ams", "one").valid_for(days(7))).unwrap();
    moved.save(dir.path(), true).unwrap();
    let error = one.reload().unwrap_err();
    assert!(matches!(error, Error::IdentityChanged { .. }), "{error}");
    assert_eq!(one.identity().site, "fra");
    assert_eq!(one.expires_at(), before);
}

#[test]
fn a_reload_never_changes_the_place_key() {
    let authority = authority();
    let (dir, one) = standing(&issue(&authority, "one"));
    fs::write(dir.path().join(files::PLACE_KEY), [1; 32]).unwrap();
    let error = one.reload().unwrap_err();
    assert!(matches!(error, Error::PlaceKeyChanged { .. }), "{error}");
}

#[test]
fn a_renewal_caught_halfway_is_refused_and_passes_at_the_next_try() {
    let authority = authority();
    let (dir, one) = standing(&issue(&authority, "one"));
    let renewed = authority.issue(&Profile::new("fra", "one").valid_for(days(7))).unwrap();
    let half = tempfile::tempdir().unwrap();
    renewed.save(half.path(), false).unwrap();
    fs::rename(half.path().join(files::NODE_KEY), dir.path().join(files::NODE_KEY)).unwrap();
    let error = one.reload().unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
    fs::rename(half.path().join(files::NODE_CERTIFICATE), dir.path().join(files::NODE_CERTIFICATE)).unwrap();
    one.reload().unwrap();
    assert_eq!(one.expires_at(), renewed.expires_at());
}

#[test]
fn a_bundle_with_a_wrong_authority_a_loose_key_or_a_missing_file_does_not_load() {
    let authority = authority();
    let bundle = issue(&authority, "one");
    let (dir, _) = standing(&bundle);
    let load = || Mtls::load(dir.path()).unwrap_err();

    fs::write(dir.path().join(files::CA_CERTIFICATES), issue(&self::authority(), "x").trusted_pem).unwrap();
    let error = load();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    fs::write(dir.path().join(files::CA_CERTIFICATES), &bundle.certificate_pem).unwrap();
    let error = load();
    assert!(matches!(error, Error::NotAuthority { .. }), "{error}");
    fs::write(dir.path().join(files::CA_CERTIFICATES), &bundle.trusted_pem).unwrap();
    Mtls::load(dir.path()).unwrap();

    let key = dir.path().join(files::NODE_KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = load();
    assert!(matches!(error, Error::Exposed { mode: 0o644, .. }), "{error}");
    fs::remove_file(&key).unwrap();
    let error = load();
    assert!(matches!(&error, Error::Read { path, .. } if *path == key), "{error}");
}
