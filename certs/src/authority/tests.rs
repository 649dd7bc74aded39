use std::fs;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

use super::*;
use crate::identity::Identity;

fn authority() -> Authority {
    Authority::create(&CaOptions::default()).unwrap()
}

fn leaf(bundle: &Bundle) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(bundle.certificate_pem.as_bytes()).unwrap()
}

#[test]
fn a_leaf_carries_exactly_the_documented_names_purposes_and_times() {
    let authority = authority();
    let bundle = authority.issue(&Profile::new("fra", "edge-1")).unwrap();
    let der = leaf(&bundle);
    let parsed = x509::parse(&der).unwrap();
    let cluster = crate::identity::hex(&authority.cluster());
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    let (uri, dns) = (format!("everett://{cluster}/fra/edge-1"), format!("edge-1.fra.{cluster}.everett.invalid"));
    assert_eq!(*names, [GeneralName::URI(&uri), GeneralName::DNSName(&dns)]);
    let purposes = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && purposes.server_auth && !purposes.any);
    assert!(!parsed.is_ca());
    assert_eq!(parsed.raw_serial().len(), 16);
    assert_eq!(parsed.raw_serial(), bundle.serial());
    assert_eq!(parsed.signature_algorithm.algorithm.to_id_string(), "1.3.101.112", "Ed25519");
    let (from, until) = x509::validity(&parsed).unwrap();
    assert_eq!(until.duration_since(from).unwrap(), profile::days(90) + profile::BACKDATED);
    assert!(from < SystemTime::now());
    let spelled = Identity { cluster: authority.cluster(), site: "fra".into(), node: "edge-1".into() };
    assert_eq!(Identity::from_leaf(&der), Ok(spelled));
}

#[test]
fn serials_and_certificates_have_one_length() {
    let authority = authority();
    let issued: Vec<_> = (0..64).map(|_| authority.issue(&Profile::new("fra", "edge-1")).unwrap()).collect();
    let lengths: std::collections::BTreeSet<_> = issued.iter().map(|bundle| leaf(bundle).len()).collect();
    let serials: std::collections::BTreeSet<_> = issued.iter().map(Bundle::serial).collect();
    assert_eq!((lengths.len(), serials.len()), (1, 64));
}

#[test]
fn an_authority_signs_leaves_and_lists_and_no_further_authority() {
    let authority = authority();
    let parsed = x509::parse(&authority.certificate).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca);
    assert_eq!(constraints.path_len_constraint, Some(0));
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_eq!(cluster_of_authority(&parsed), Ok(authority.cluster()));
    let (from, until) = x509::validity(&parsed).unwrap();
    assert_eq!(until.duration_since(from).unwrap(), profile::days(3650) + profile::BACKDATED);
}

#[test]
fn an_authority_read_back_issues_for_the_same_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let made = authority();
    made.save(dir.path(), false).unwrap();
    let read = Authority::load(dir.path()).unwrap();
    assert_eq!(
        (read.cluster(), read.place_key(), read.expires_at()),
        (made.cluster(), made.place_key(), made.expires_at())
    );
    let bundle = read.issue(&Profile::new("fra", "edge-1")).unwrap();
    let der = leaf(&bundle);
    let issuer = x509::parse(&made.certificate).unwrap();
    assert!(x509::parse(&der).unwrap().verify_signature(Some(issuer.public_key())).is_ok());
}

#[test]
fn two_clusters_share_nothing() {
    let (one, other) = (authority(), authority());
    assert_ne!(one.cluster(), other.cluster());
    assert_ne!(one.place_key(), other.place_key());
}

#[test]
fn a_successor_keeps_cluster_and_place_key_and_trusts_its_predecessor() {
    let dir = tempfile::tempdir().unwrap();
    let old = authority();
    let new = old.successor(&CaOptions::default()).unwrap();
    assert_eq!((new.cluster(), new.place_key()), (old.cluster(), old.place_key()));
    new.save(dir.path(), false).unwrap();
    let read = Authority::load(dir.path()).unwrap();
    assert_eq!(read.certificate, new.certificate, "the one whose key is here signs");
    let trusted: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(read.trusted_pem.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(trusted, [new.certificate.clone(), old.certificate.clone()]);
    let subject = |der: &CertificateDer<'_>| x509::parse(der).unwrap().subject().to_string();
    assert_ne!(subject(&new.certificate), subject(&old.certificate), "revocation lists are told apart by name");
}

#[test]
fn names_and_lifetimes_that_make_no_certificate_are_refused() {
    let authority = authority();
    for (site, node) in [("", "a"), ("a", "B"), ("a", "b/c"), ("a.b", "c")] {
        let error = authority.issue(&Profile::new(site, node)).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error}");
    }
    let profile = Profile::new("fra", "edge-1");
    for valid_for in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        let error = authority.issue(&Profile { valid_for, ..profile.clone() }).unwrap_err();
        assert!(matches!(error, Error::Validity), "{error}");
    }
    let error = authority.issue(&profile.valid_for(profile::days(3651))).unwrap_err();
    assert!(matches!(error, Error::OutlivesAuthority { until } if until == authority.expires_at()), "{error}");
}

#[test]
fn a_directory_with_another_key_or_a_leaf_for_authority_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let one = authority();
    one.save(dir.path(), false).unwrap();
    let other = tempfile::tempdir().unwrap();
    authority().save(other.path(), false).unwrap();
    fs::copy(other.path().join(files::CA_KEY), dir.path().join(files::CA_KEY)).unwrap();
    let error = Authority::load(dir.path()).unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");

    let bundle = one.issue(&Profile::new("fra", "edge-1")).unwrap();
    fs::write(dir.path().join(files::CA_CERTIFICATES), &bundle.certificate_pem).unwrap();
    fs::write(dir.path().join(files::CA_KEY), &bundle.key_pem).unwrap();
    let error = Authority::load(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NotAuthority { .. }), "{error}");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let authority = authority();
    let bundle = authority.issue(&Profile::new("fra", "edge-1")).unwrap();
    let shown = format!("{authority:?} {bundle:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}
