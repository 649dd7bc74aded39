//! The register of issued certificates: one line each, beside the authority's key.
//!
//! Two needs: a node's name is unique in the cluster, and only who signs can see that two sites ask for the same one;
//! and a certificate that must be revoked is named by its serial number, which has to be known even when the host
//! that held it is gone. The register is therefore written before a bundle is.
//!
//! A line is `<serial> <not after, Unix seconds> <site> <node>`; lines are only ever added, and the file is replaced
//! whole, so a crash leaves the old register or the new one. While it is open, others who would issue from the same
//! directory wait.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::bundle::Bundle;
use crate::error::Error;
use crate::files::{self, Content, Secrecy};
use crate::identity::{check_name, hex};
use crate::profile::Profile;

/// The register's file name.
pub const REGISTER: &str = "issued";

/// The register of one authority's directory, locked while it lives.
#[derive(Debug)]
pub struct Register {
    dir: PathBuf,
    /// The directory's handle carries the lock: the register itself is replaced at every entry.
    _lock: File,
    text: String,
    /// Where each node was issued for last.
    sites: BTreeMap<String, String>,
}

impl Register {
    /// Opens the register in an authority's directory; there need not be one yet.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut register = Self::lock(dir)?;
        let path = dir.join(REGISTER);
        let bytes = files::read_optional(&path, Secrecy::Public)?.unwrap_or_default();
        // Bytes that are no UTF-8 become characters that are in no name, so the line is reported like any other bad
        // one.
        register.text = String::from_utf8_lossy(&bytes).into_owned();
        register.sites = parse(&path, &register.text)?;
        Ok(register)
    }

    /// An empty register of a directory that nobody else has open.
    fn lock(dir: &Path) -> Result<Self, Error> {
        let lock = File::open(dir).map_err(|source| files::read_error(dir, source))?;
        lock.lock().map_err(|source| files::read_error(dir, source))?;
        Ok(Self { dir: dir.to_owned(), _lock: lock, text: String::new(), sites: BTreeMap::new() })
    }

    /// Begins the register of a new authority, in place of any that is there.
    ///
    /// What a predecessor of the same cluster issued is taken over: its names are in use, and its certificates may
    /// still have to be revoked. It may live in the same directory, so its register is closed before this one is
    /// opened.
    pub fn begin(dir: &Path, predecessor: Option<&Path>) -> Result<Self, Error> {
        let inherited = match predecessor {
            Some(old) => Self::open(old)?.text,
            None => String::new(),
        };
        let mut register = Self::lock(dir)?;
        register.sites = parse(&dir.join(REGISTER), &inherited)?;
        register.append(&inherited)?;
        Ok(register)
    }

    /// Whether `profile` asks for a name that another site has.
    pub fn check(&self, profile: &Profile) -> Result<(), Error> {
        match self.sites.get(&profile.node) {
            Some(site) if *site != profile.site => {
                Err(Error::NameTaken { node: profile.node.clone(), site: site.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Enters an issued certificate.
    pub fn record(&mut self, bundle: &Bundle) -> Result<(), Error> {
        let identity = bundle.identity();
        let not_after = bundle.expires_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let line = format!("{} {not_after} {} {}\n", hex(bundle.serial()), identity.site, identity.node);
        self.append(&line)?;
        self.sites.insert(identity.node.clone(), identity.site.clone());
        Ok(())
    }

    fn append(&mut self, lines: &str) -> Result<(), Error> {
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(lines);
        let content = Content { name: REGISTER, secrecy: Secrecy::Public, bytes: text.as_bytes() };
        files::write_set(&self.dir, &[content], true)?;
        self.text = text;
        Ok(())
    }
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut sites = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let (site, node) =
            parse_line(line).ok_or_else(|| Error::Register { path: path.to_owned(), line: index + 1 })?;
        sites.insert(node.to_owned(), site.to_owned());
    }
    Ok(sites)
}

/// Site and node of a line whose four fields are all in order.
fn parse_line(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split(' ');
    let (serial, not_after) = (fields.next()?, fields.next()?);
    let (site, node) = (fields.next()?, fields.next()?);
    let sound = fields.next().is_none()
        && serial.len() == 32
        && serial.bytes().all(|digit| digit.is_ascii_hexdigit())
        && not_after.parse::<u64>().is_ok()
        && check_name(site).is_ok()
        && check_name(node).is_ok();
    sound.then_some((site, node))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::authority::Authority;
    use crate::profile::CaOptions;

    fn enter(dir: &Path, authority: &Authority, site: &str, node: &str) {
        let mut register = Register::open(dir).unwrap();
        register.record(&authority.issue(&Profile::new(site, node)).unwrap()).unwrap();
    }

    #[test]
    fn a_name_belongs_to_the_site_it_was_issued_for_last() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&CaOptions::default()).unwrap();
        let check = |site: &str| Register::open(dir.path()).unwrap().check(&Profile::new(site, "edge-1"));
        check("fra").unwrap();
        enter(dir.path(), &authority, "fra", "edge-1");
        check("fra").unwrap();
        let error = check("ams").unwrap_err();
        assert!(matches!(&error, Error::NameTaken { site, .. } if site == "fra"), "{error}");
        enter(dir.path(), &authority, "ams", "edge-1");
        check("ams").unwrap();
        check("fra").unwrap_err();
    }

    #[test]
    fn every_certificate_has_its_line_with_its_serial() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&CaOptions::default()).unwrap();
        let bundle = authority.issue(&Profile::new("fra", "edge-1")).unwrap();
        enter(dir.path(), &authority, "fra", "edge-2");
        Register::open(dir.path()).unwrap().record(&bundle).unwrap();
        let text = fs::read_to_string(dir.path().join(REGISTER)).unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(last.starts_with(&hex(bundle.serial())) && last.ends_with(" fra edge-1"), "{last}");
    }

    #[test]
    fn a_bad_line_is_reported_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let good = "00112233445566778899aabbccddeeff 1 fra edge-1";
        for bad in ["", "x", "00112233445566778899aabbccddeeff 1 fra", &format!("{good} x"), &good.replace("fra", "F")]
        {
            fs::write(dir.path().join(REGISTER), format!("{good}\n{bad}\n{good}\n")).unwrap();
            let error = Register::open(dir.path()).unwrap_err();
            assert!(matches!(error, Error::Register { line: 2, .. }), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_successor_knows_the_names_its_predecessor_gave_even_in_the_same_directory() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let authority = Authority::create(&CaOptions::default()).unwrap();
        enter(old.path(), &authority, "fra", "edge-1");
        for dir in [new.path(), old.path()] {
            drop(Register::begin(dir, Some(old.path())).unwrap());
            Register::open(dir).unwrap().check(&Profile::new("ams", "edge-1")).unwrap_err();
        }
    }

    #[test]
    fn a_new_cluster_in_an_old_directory_begins_with_every_name_free() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&CaOptions::default()).unwrap();
        enter(dir.path(), &authority, "fra", "edge-1");
        drop(Register::begin(dir.path(), None).unwrap());
        Register::open(dir.path()).unwrap().check(&Profile::new("ams", "edge-1")).unwrap();
    }
}
