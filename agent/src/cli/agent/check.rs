//! What `everett agent --check` looks at: all that a start would refuse, short of opening the store.
//!
//! It reads as the agent reads, and makes, binds and removes nothing that stays, so it can be asked beside a running agent:
//! that one's socket and port are not a fault. Faults end with the code that the start would end with.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use everett_certs::Mtls;
use rustix::fs::{Access, access};

use crate::cli::certs::date;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::exit::Exit;
use crate::exporter;
use crate::identity::NodeIdentity;
use crate::ledger::{Found, directory_of};
use crate::net::{self, StartError};
use crate::store::StoreError;
use crate::wiring;

/// What was found in order, a line a thing, and what will need attention.
#[derive(Debug)]
pub(super) struct Checked {
    /// For the result.
    pub(super) lines: Vec<String>,
    /// For the person.
    pub(super) warnings: Vec<String>,
}

/// Checks everything that `config` names.
pub(super) fn check(config: &Config) -> Result<Checked, Failure> {
    let mut checked = Checked { lines: Vec::new(), warnings: Vec::new() };
    certificates(config, &mut checked)?;
    checked.line("listen", &format!("udp {}, {}", config.listen, port(config)?));
    if let Some(listen) = config.telemetry.metrics {
        checked.line("metrics", &format!("tcp {listen}, {}", metrics_port(config, listen)?));
    }
    let socket = wiring::socket_settings(config).check()?;
    checked.line("socket", &format!("{}, {}", config.socket.path.display(), lying(socket)));
    let state = state(&config.state).map_err(|source| Failure::of_store(&config.state, StoreError::Folder(source)))?;
    checked.line("state", &format!("{}, {state}", config.state.display()));
    if let Some(path) = &config.pid_file {
        writable(directory_of(path)).map_err(|source| Failure::new(Exit::Config, NoPidFile { source }))?;
        checked.line("pid file", &path.display().to_string());
    }
    Ok(checked)
}

/// The pid file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the pid file's directory cannot be written to")]
struct NoPidFile {
    source: io::Error,
}

impl Checked {
    fn line(&mut self, title: &str, words: &str) {
        self.lines.push(format!("{title:12}  {words}"));
    }
}

fn certificates(config: &Config, checked: &mut Checked) -> Result<(), Failure> {
    let mtls = Mtls::load(&config.certificates)?;
    let (me, expires) = (NodeIdentity::from(&mtls.identity()), mtls.expires_at());
    if expires <= SystemTime::now() {
        checked.warnings.push(format!(
            "the certificate has expired, {}: the agent serves its clients, and every peer refuses it",
            date(expires)
        ));
    }
    checked.line("certificates", &format!("{}, {me}, until {}", config.certificates.display(), date(expires)));
    Ok(())
}

fn port(config: &Config) -> Result<&'static str, Failure> {
    match net::bind(config.listen) {
        Ok(_) => Ok("free"),
        Err(StartError::Bind { source, .. }) if source.kind() == ErrorKind::AddrInUse => Ok("in use now"),
        Err(error) => Err(Failure::of_agent(&config.state, error.into())),
    }
}

fn lying(found: Found) -> &'static str {
    match found {
        Found::Nothing => "free",
        Found::Dead => "left by an agent that was killed, will be replaced",
        Found::Living => "an agent answers there now",
    }
}

fn metrics_port(config: &Config, listen: SocketAddr) -> Result<&'static str, Failure> {
    match exporter::bind(listen) {
        Ok(_) => Ok("free"),
        Err(error) if error.source.kind() == ErrorKind::AddrInUse => Ok("in use now"),
        Err(error) => Err(Failure::of_agent(&config.state, error.into())),
    }
}

/// Whether the state directory can be written to, or made.
fn state(path: &Path) -> io::Result<&'static str> {
    match fs::symlink_metadata(path) {
        Ok(_) => writable(path).map(|()| "there"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("."));
            writable(above).map(|()| "will be made")
        }
        Err(error) => Err(error),
    }
}

fn writable(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}
