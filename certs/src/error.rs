//! What can go wrong with certificates, sorted by who can mend it.
//!
//! Every variant that concerns a file carries its path, and none changes anything: a failed load, reload, issue or save
//! leaves files, keys and trust as they were (where a save of several files stopped halfway, the variant says so).
//! `Display` names the fact, `source()` the cause below it, [`Error::hint`] the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use rustls::CertificateError;
use rustls_pki_types::pem;

use crate::identity::{Identity, IdentityError, NameError};

/// Why something about certificates could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory could not be written. Files of the same bundle named before this one may already be new.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there already and replacing it was not asked for. Nothing was written.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A secret may be read, or written, by more than its owner and its group.
    #[error("{}: a secret with mode {mode:04o} is open to others", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is longer than anything of its kind has reason to be.
    #[error("{}: longer than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        bytes_max: u64,
    },
    /// A file is not PEM.
    #[error("{}: not a PEM file", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where the text breaks.
        source: pem::Error,
    },
    /// A PEM file holds nothing of the wanted kind.
    #[error("{}: holds no {wanted}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: Item,
    },
    /// The bytes inside the PEM are not what their label says.
    #[error("{}: holds a broken {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        what: Item,
    },
    /// A certificate or key is well-formed, but TLS cannot use it.
    #[error("{}: holds something TLS cannot use", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The place key does not have its one length.
    #[error("{}: a place key has 32 bytes, this has {bytes}", path.display())]
    PlaceKeyLength {
        /// The file.
        path: PathBuf,
        /// How many bytes there are.
        bytes: usize,
    },
    /// A certificate of ours does not name a node as Everett does.
    #[error("{}: names no node of an everett cluster", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        source: IdentityError,
    },
    /// A certificate that should be an authority's is not.
    #[error("{}: holds no certificate authority of an everett cluster", path.display())]
    NotAuthority {
        /// The file.
        path: PathBuf,
    },
    /// A private key and the certificate beside it do not belong together.
    #[error("{}: does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The private key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// Our own certificate would be refused by every peer.
    #[error("{}: would be refused by every peer", path.display())]
    Untrusted {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A list of revoked certificates comes from nobody in `ca.pem`, so it would silently revoke nothing.
    #[error("{}: a list of revoked certificates is signed by none of our authorities", path.display())]
    ForeignRevocationList {
        /// The file.
        path: PathBuf,
    },
    /// A requested name is not one.
    #[error("{name:?} cannot name a site or a node")]
    Name {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// The node's name is in use at another site; names are unique in the cluster.
    #[error("{node} was issued for site {site} already")]
    NameTaken {
        /// The node.
        node: String,
        /// The site it was issued for.
        site: String,
    },
    /// A line of the register of issued certificates cannot be read.
    #[error("{}:{line}: not an entry of the register of issued certificates", path.display())]
    Register {
        /// The register.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// A requested lifetime is empty or reaches beyond what a certificate can say.
    #[error("a certificate cannot be valid for that time")]
    Validity,
    /// A requested certificate would outlive the authority that signs it.
    #[error("the certificate would outlive its authority")]
    OutlivesAuthority {
        /// When the authority expires.
        until: SystemTime,
    },
    /// Making a key or signing a certificate failed.
    #[error("cannot make a certificate")]
    Generate(#[from] rcgen::Error),
    /// rustls and the crypto provider disagree about TLS 1.3; a build that cannot speak in any mesh.
    #[error("TLS 1.3 is not available")]
    Tls(#[source] rustls::Error),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The renewed files name another node than the one that is running.
    #[error("the renewed certificate names {found}, this agent is {running}")]
    IdentityChanged {
        /// Who this process is.
        running: Box<Identity>,
        /// Who the files say it is.
        found: Box<Identity>,
    },
    /// The place key on disk is not the one in use; it never rotates.
    #[error("{}: the place key changed under a running agent", path.display())]
    PlaceKeyChanged {
        /// The file.
        path: PathBuf,
    },
    /// A peer showed no certificate.
    #[error("the peer showed no certificate")]
    PeerAnonymous,
    /// A peer's certificate names no node.
    #[error("the peer's certificate names no node of an everett cluster")]
    PeerIdentity(#[source] IdentityError),
    /// A peer's certificate names a node of another cluster.
    #[error("the peer belongs to another cluster: {found}")]
    PeerCluster {
        /// Who it says it is.
        found: Box<Identity>,
    },
    /// A peer's certificate is not, or no longer, trusted.
    #[error("the peer's certificate is not trusted")]
    PeerUntrusted(#[source] rustls::Error),
}

/// What a PEM file was expected to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An X.509 certificate.
    Certificate,
    /// A private key.
    PrivateKey,
    /// A list of revoked certificates.
    RevocationList,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::RevocationList => "list of revoked certificates",
        })
    }
}

impl Error {
    /// What an operator can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "make an authority with `everett certs init`, a node's bundle with `everett certs issue`"
            }
            Self::Read { .. } => "run as the user that owns the file",
            Self::Write { .. } => "check the directory's owner, its permissions and the free space",
            Self::Exists { .. } => "--force replaces it",
            Self::Exposed { .. } => "chmod 600 it, and issue a new one if others could have read it",
            Self::Pem { .. } | Self::Missing { .. } | Self::Malformed { .. } | Self::Unusable { .. } => {
                "copy the file again, or issue the bundle anew"
            }
            Self::TooLarge { .. } => "this is not the file it should be",
            Self::PlaceKeyLength { .. } | Self::PlaceKeyChanged { .. } => {
                "put back the cluster's place.key; it is the same on every node and never changes"
            }
            Self::Identity { .. } => "node certificates come from `everett certs issue`",
            Self::NotAuthority { .. } => "name a directory made by `everett certs init`",
            Self::KeyMismatch { .. } => {
                "copy key and certificate from one bundle; a renewal under way passes by itself"
            }
            Self::Untrusted { source, .. } => untrusted_hint(source),
            Self::ForeignRevocationList { .. } => "ca.pem and crl.pem must come from the same authority",
            Self::Name { .. } => "use a-z, 0-9 and inner hyphens, 1 to 63 characters",
            Self::NameTaken { .. } => "choose another name; --force moves the node to the new site",
            Self::Register { .. } => "restore the register, or correct that line",
            Self::Validity => "--days takes 1 to 36500",
            Self::OutlivesAuthority { .. } => "ask for fewer --days, or replace the authority",
            Self::IdentityChanged { .. } => "restart the agent to give it another name",
            Self::Generate(_)
            | Self::Tls(_)
            | Self::Random
            | Self::PeerAnonymous
            | Self::PeerIdentity(_)
            | Self::PeerCluster { .. }
            | Self::PeerUntrusted(_) => return None,
        })
    }
}

/// The reasons for which our own certificate is refused call for different repairs.
fn untrusted_hint(source: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(reason) = source else {
        return "issue the bundle anew";
    };
    if matches!(reason, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "it has expired: issue it anew and put the new files in place, no restart is needed"
    } else if matches!(reason, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) {
        "it is not valid yet: check this host's clock"
    } else if matches!(reason, CertificateError::Revoked) {
        "it was revoked: issue the node a new one"
    } else if matches!(
        reason,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. }
    ) {
        "crl.pem is past its next update: sign a new list"
    } else {
        "node.pem must be signed by an authority in ca.pem, for client and server use"
    }
}
