//! What certificates are asked for, and what they look like: names, purposes, lifetimes.
//!
//! Every choice about the content of a certificate is made here, once: Ed25519 keys (signatures of one length),
//! serial numbers of 16 bytes that never shrink in DER, a leaf good for both ends of a link, an authority that may
//! sign leaves and lists of revoked ones but no further authority. No file and no signature is made here.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::error::Error;
use crate::identity::{Identity, check_name, cluster_uri, hex};
use crate::place_key::fill_random;

/// A leaf lives this long unless told otherwise.
pub const NODE_DAYS: u32 = 90;
/// An authority lives this long unless told otherwise.
pub const CA_DAYS: u32 = 3650;
/// Certificates begin a little in the past, so that a host whose clock is behind accepts a fresh one.
pub const BACKDATED: Duration = Duration::from_hours(1);
/// The longest lifetime: a hundred years, well inside what a certificate can say.
const LIFETIME_MAX: Duration = days(36_525);

/// A lifetime of whole days, the unit operators think in.
pub const fn days(count: u32) -> Duration {
    Duration::from_hours(24 * count as u64)
}

/// What a new authority is asked to be.
#[derive(Clone, Debug)]
pub struct CaOptions {
    /// From when its certificate is valid.
    pub starts_at: SystemTime,
    /// For how long.
    pub valid_for: Duration,
}

impl Default for CaOptions {
    fn default() -> Self {
        Self { starts_at: backdated_now(), valid_for: days(CA_DAYS) + BACKDATED }
    }
}

impl CaOptions {
    /// Valid for `lifetime` from now.
    pub fn valid_for(self, lifetime: Duration) -> Self {
        Self { valid_for: lifetime.saturating_add(BACKDATED), ..self }
    }
}

/// What a node's certificate is asked to be.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The point of presence.
    pub site: String,
    /// The node's name, unique in the cluster.
    pub node: String,
    /// From when the certificate is valid.
    pub starts_at: SystemTime,
    /// For how long.
    pub valid_for: Duration,
}

impl Profile {
    /// A certificate for `node` at `site`, valid from now for [`NODE_DAYS`].
    pub fn new(site: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            node: node.into(),
            starts_at: backdated_now(),
            valid_for: days(NODE_DAYS) + BACKDATED,
        }
    }

    /// Valid for `lifetime` from now.
    pub fn valid_for(self, lifetime: Duration) -> Self {
        Self { valid_for: lifetime.saturating_add(BACKDATED), ..self }
    }

    /// The identity this profile stands for in `cluster`.
    pub(crate) fn identity(&self, cluster: [u8; 16]) -> Result<Identity, Error> {
        for name in [&self.site, &self.node] {
            check_name(name).map_err(|source| Error::Name { name: name.clone(), source })?;
        }
        Ok(Identity { cluster, site: self.site.clone(), node: self.node.clone() })
    }
}

fn backdated_now() -> SystemTime {
    // The epoch for a clock that stands within an hour of it; issuing will then fail nowhere but in the reader's eyes.
    SystemTime::now().checked_sub(BACKDATED).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A checked lifetime, in whole seconds as certificates count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Lifetime {
    pub(crate) fn new(starts_at: SystemTime, valid_for: Duration) -> Result<Self, Error> {
        if valid_for < Duration::from_secs(1) || valid_for > LIFETIME_MAX {
            return Err(Error::Validity);
        }
        let since_epoch = starts_at.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Error::Validity)?;
        let until_epoch = since_epoch.checked_add(valid_for).ok_or(Error::Validity)?;
        let at = |moment: Duration| {
            let seconds = i64::try_from(moment.as_secs()).map_err(|_| Error::Validity)?;
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Error::Validity)
        };
        Ok(Self { not_before: at(since_epoch)?, not_after: at(until_epoch)? })
    }
}

/// The certificate of an authority of `cluster`.
pub(crate) fn authority_params(cluster: &[u8; 16], lifetime: Lifetime) -> Result<CertificateParams, Error> {
    let serial = draw_serial()?;
    let mut params = common_params(lifetime, &serial);
    // Two authorities of one cluster overlap while one replaces the other. Lists of revoked certificates are matched to
    // their issuer by its name, so the names must differ.
    let name = format!("everett {} {}", hex(cluster), hex(&serial[..4]));
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(ia5(cluster_uri(cluster))?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The certificate of a node.
pub(crate) fn node_params(identity: &Identity, lifetime: Lifetime) -> Result<(CertificateParams, Serial), Error> {
    let serial = draw_serial()?;
    let mut params = common_params(lifetime, &serial);
    params.distinguished_name.push(DnType::OrganizationalUnitName, identity.site.as_str());
    params.distinguished_name.push(DnType::CommonName, identity.node.as_str());
    params.subject_alt_names = vec![SanType::URI(ia5(identity.uri())?), SanType::DnsName(ia5(identity.dns_name())?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params, serial))
}

fn common_params(lifetime: Lifetime, serial: &Serial) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = lifetime.not_before;
    params.not_after = lifetime.not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.distinguished_name = DistinguishedName::new();
    params
}

fn ia5(text: String) -> Result<Ia5String, Error> {
    Ok(Ia5String::try_from(text)?)
}

/// The number that names a certificate to its issuer.
pub(crate) type Serial = [u8; 16];

/// Random, positive, and always 16 bytes in DER: a leading zero bit would cost or save a byte, and handshakes of
/// varying length make simulated runs differ.
fn draw_serial() -> Result<Serial, Error> {
    let mut serial = [0; 16];
    fill_random(&mut serial)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}
