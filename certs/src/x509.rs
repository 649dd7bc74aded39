//! Reading X.509: the few questions this crate asks of a certificate's bytes.
//!
//! It stands apart so that the parser is entered in one way only: the whole input is one certificate, nothing after it.
//! It decides nothing about trust.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// A parsed certificate.
pub(crate) type Certificate<'a> = X509Certificate<'a>;

/// Parses one certificate; `None` if it is none, or if bytes follow it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<Certificate<'a>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// A certificate's time as the system counts it; `None` beyond what the system can count.
pub(crate) fn system_time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

/// When a certificate begins and ceases to be valid.
pub(crate) fn validity(certificate: &Certificate<'_>) -> Option<(SystemTime, SystemTime)> {
    let validity = certificate.validity();
    Some((system_time(validity.not_before)?, system_time(validity.not_after)?))
}
