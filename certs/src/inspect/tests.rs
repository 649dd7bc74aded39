use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustls::CertificateError;
use tempfile::TempDir;

use super::*;
use crate::bundle::Bundle;
use crate::profile::{CaOptions, Profile};

fn authority() -> Authority {
    Authority::create(&CaOptions::default()).unwrap()
}

fn saved(bundle: &Bundle) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    bundle.save(dir.path(), false).unwrap();
    dir
}

#[test]
fn a_bundle_shows_its_node_first_and_then_the_authority_that_signed_it() {
    let authority = authority();
    let bundle = authority.issue(&Profile::new("fra", "edge-1")).unwrap();
    let dir = saved(&bundle);
    let shown = inspect(dir.path()).unwrap();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0].named, Named::Node(bundle.identity().clone()));
    assert_eq!(shown[1].named, Named::Authority(authority.cluster()));
    assert_eq!(shown[0].issuer, shown[1].subject);
    assert_eq!(shown[0].serial, hex(bundle.serial()));
    assert_eq!(shown[0].not_after, bundle.expires_at());
    assert_eq!(shown[0].subject, "OU=fra, CN=edge-1");
    assert_eq!(inspect(&dir.path().join(files::NODE_CERTIFICATE)).unwrap(), shown[..1]);
}

#[test]
fn looking_asks_for_no_key_and_judges_nothing() {
    let authority = authority();
    let expired = Profile { starts_at: SystemTime::UNIX_EPOCH + days(10_000), ..Profile::new("fra", "edge-1") };
    let dir = saved(&authority.issue(&expired).unwrap());
    for key in [files::NODE_KEY, files::PLACE_KEY] {
        fs::remove_file(dir.path().join(key)).unwrap();
    }
    assert_eq!(inspect(dir.path()).unwrap().len(), 2);
}

#[test]
fn what_is_no_certificate_cannot_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(inspect(dir.path()), Err(Error::Read { .. })));
    let path = dir.path().join(files::NODE_CERTIFICATE);
    fs::write(&path, "hello").unwrap();
    assert!(matches!(inspect(dir.path()), Err(Error::Missing { wanted: Item::Certificate, .. })));
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(inspect(dir.path()), Err(Error::Malformed { .. })));
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    assert!(matches!(inspect(dir.path()), Err(Error::Pem { .. })));
}

#[test]
fn a_fresh_bundle_and_a_fresh_authority_verify_without_warnings() {
    let authority = authority();
    let bundle = authority.issue(&Profile::new("fra", "edge-1")).unwrap();
    let report = verify(saved(&bundle).path()).unwrap();
    assert_eq!(report.named, Named::Node(bundle.identity().clone()));
    assert_eq!(report.place_fingerprint, authority.place_key().fingerprint());
    assert_eq!(report.warnings, []);

    let dir = tempfile::tempdir().unwrap();
    authority.save(dir.path(), false).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.named, Named::Authority(authority.cluster()));
    assert_eq!((report.certificates.len(), report.warnings.len()), (1, 0));
}

#[test]
fn an_expired_bundle_fails_and_says_what_to_do() {
    let authority = authority();
    let profile =
        Profile { starts_at: SystemTime::now() - days(2), valid_for: days(1), ..Profile::new("fra", "edge-1") };
    let error = verify(saved(&authority.issue(&profile).unwrap()).path()).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Untrusted { source: rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. }), .. }
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("expired"));
}

#[test]
fn a_certificate_near_its_end_is_warned_about() {
    let authority = authority();
    let profile =
        Profile { starts_at: SystemTime::now() - days(80), valid_for: days(90), ..Profile::new("fra", "edge-1") };
    let bundle = authority.issue(&profile).unwrap();
    let dir = saved(&bundle);
    let path = dir.path().join(files::NODE_CERTIFICATE);
    let warnings = verify(dir.path()).unwrap().warnings;
    assert_eq!(warnings, [Warning::ExpiresSoon { path, at: bundle.expires_at() }]);
}

#[test]
fn a_loose_key_fails_before_anything_is_said_about_the_certificate() {
    let dir = saved(&authority().issue(&Profile::new("fra", "edge-1")).unwrap());
    let key = dir.path().join(files::PLACE_KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = verify(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Exposed { path, .. } if path == key));
}
