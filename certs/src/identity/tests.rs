use super::*;

const CLUSTER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255];
const URI: &str = "everett://000102030405060708090a0b0c0dfeff/fra-1/edge-7";

fn edge() -> Identity {
    Identity { cluster: CLUSTER, site: "fra-1".into(), node: "edge-7".into() }
}

#[test]
fn an_identity_is_spelled_as_documented_and_read_back() {
    assert_eq!(edge().uri(), URI);
    assert_eq!(Identity::parse_uri(URI), Ok(edge()));
    assert_eq!(edge().dns_name(), "edge-7.fra-1.000102030405060708090a0b0c0dfeff.everett.invalid");
}

#[test]
fn only_the_one_spelling_of_a_uri_is_read() {
    let cases = [
        ("", IdentityError::Form),
        ("everett:000102030405060708090a0b0c0dfeff/a/b", IdentityError::Form),
        ("https://000102030405060708090a0b0c0dfeff/a/b", IdentityError::Form),
        ("everett://000102030405060708090a0b0c0dfeff/a", IdentityError::Form),
        ("everett://000102030405060708090a0b0c0dfeff/a/b/", IdentityError::Form),
        ("everett://000102030405060708090A0B0C0DFEFF/a/b", IdentityError::Cluster),
        ("everett://000102030405060708090a0b0c0dfe/a/b", IdentityError::Cluster),
        ("everett://000102030405060708090a0b0c0dfeffff/a/b", IdentityError::Cluster),
        ("everett://000102030405060708090a0b0c0dfegg/a/b", IdentityError::Cluster),
        ("everett://000102030405060708090a0b0c0dfeff//b", IdentityError::Site(NameError::Empty)),
        ("everett://000102030405060708090a0b0c0dfeff/a/b?c", IdentityError::Node(NameError::Character('?'))),
        ("everett://000102030405060708090a0b0c0dfeff/a/B", IdentityError::Node(NameError::Character('B'))),
    ];
    for (uri, error) in cases {
        assert_eq!(Identity::parse_uri(uri), Err(error), "{uri}");
    }
}

#[test]
fn a_name_has_1_to_63_characters_of_its_alphabet() {
    assert_eq!(check_name("a"), Ok(()));
    assert_eq!(check_name("0"), Ok(()));
    assert_eq!(check_name(&"x".repeat(63)), Ok(()));
    assert_eq!(check_name(&"x".repeat(64)), Err(NameError::TooLong));
    assert_eq!(check_name(""), Err(NameError::Empty));
    assert_eq!(check_name("a.b"), Err(NameError::Character('.')));
    assert_eq!(check_name("zürich"), Err(NameError::Character('ü')));
    assert_eq!(check_name("-a"), Err(NameError::OuterHyphen));
    assert_eq!(check_name("a-"), Err(NameError::OuterHyphen));
}

#[test]
fn every_valid_name_makes_a_valid_dns_name() {
    let longest = "x".repeat(63);
    for name in ["0", "a", "1-2", "x--y", longest.as_str()] {
        let identity = Identity { cluster: CLUSTER, site: name.into(), node: name.into() };
        assert!(identity.server_name().is_ok(), "{name}");
    }
}

#[test]
fn bytes_that_are_no_certificate_name_nobody() {
    for bytes in [&b""[..], b"junk", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(Identity::from_leaf(&CertificateDer::from(bytes)), Err(IdentityError::Malformed));
    }
}
