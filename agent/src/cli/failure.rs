//! A verb's failure on its way out of the process: the error, the exit code it deserves, and what to do about it.
//!
//! Errors are typed everywhere below; here, at the very top, they become words.

use std::io;
use std::path::{Path, PathBuf};

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::ledger::SocketError;
use crate::net::StartError;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;
use crate::wiring::AgentError;

/// What to do about a UDP address that cannot be had.
const BIND_HINT: &str = "does another agent run here, and is the address this host's? `listen` takes another one";

/// What to do about a TCP address that cannot be had.
const METRICS_HINT: &str = "is the port taken, and the address this host's? `metrics` in [telemetry] takes another one";

/// A store that cannot be used, or cannot be used any more.
#[derive(Debug, thiserror::Error)]
#[error("the store in {} cannot be used", state.display())]
struct StoreUnusable {
    state: PathBuf,
    source: StoreError,
}

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    exit: Exit,
    hint: Option<String>,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), exit, hint: None }
    }

    /// The same failure, with advice.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn hint_if(self, hint: Option<&'static str>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Why the store in `state` cannot be used.
    pub(crate) fn of_store(state: &Path, source: StoreError) -> Self {
        let hint = source.hint();
        Self::new(Exit::Store, StoreUnusable { state: state.to_owned(), source }).hint_if(hint)
    }

    /// Why an agent whose store is in `state` did not start, or ended.
    pub(crate) fn of_agent(state: &Path, error: AgentError) -> Self {
        match error {
            AgentError::Certificates(error) => error.into(),
            AgentError::Socket(error) => error.into(),
            AgentError::Store(error) => Self::of_store(state, error),
            error @ AgentError::Net(StartError::Bind { .. }) => Self::new(Exit::Config, error).hint(BIND_HINT),
            error @ AgentError::Exporter(_) => Self::new(Exit::Config, error).hint(METRICS_HINT),
            error @ AgentError::PidFile { .. } => {
                Self::new(Exit::Config, error).hint("make its directory, or leave `pid_file` out")
            }
            error @ (AgentError::Net(_)
            | AgentError::Signals(_)
            | AgentError::Ledger(_)
            | AgentError::Random
            | AgentError::Thread { .. }) => Self::new(Exit::Failed, error),
        }
    }

    /// The code the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The error and, below it, what led to it; then the hint.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(cause) = source {
            words.push_str("\n  caused by: ");
            words.push_str(&cause.to_string());
            source = cause.source();
        }
        if let Some(hint) = &self.hint {
            words.push_str("\n\nhint: ");
            words.push_str(hint);
        }
        words
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint();
        Self::new(Exit::Config, error).hint(hint)
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        let hint = "a level (error, warn, info, debug, trace) or `target=level` pairs separated by commas";
        Self::new(Exit::Config, error).hint(hint)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error {
            ClientError::Connect { .. } | ClientError::Broken(_) | ClientError::Closed => Exit::Unreachable,
            ClientError::Protocol(_) | ClientError::Refused(_) | ClientError::Unexpected { .. } => Exit::Failed,
        };
        let failure = Self::new(exit, error);
        match exit {
            Exit::Unreachable => failure.hint("is the agent running? `--socket PATH` names another one's socket"),
            Exit::Done | Exit::Failed | Exit::Usage | Exit::Config | Exit::Store | Exit::Duplicate => failure,
        }
    }
}

impl From<everett_certs::Error> for Failure {
    fn from(error: everett_certs::Error) -> Self {
        let hint = error.hint();
        Self::new(Exit::Config, error).hint_if(hint)
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        let hint = error.hint();
        Self::new(Exit::Config, error).hint(hint)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_failure_names_its_causes_and_ends_with_its_hint() {
        let failure = Failure::new(Exit::Store, Outer(io::Error::other("disk on fire"))).hint("put it out");
        assert_eq!(failure.words(), "error: cannot open the store\n  caused by: disk on fire\n\nhint: put it out");
        assert_eq!(failure.exit(), Exit::Store);
    }

    #[test]
    fn an_absent_agent_has_a_code_of_its_own() {
        let absent = ClientError::Connect { socket: "/s".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(Failure::from(absent).exit(), Exit::Unreachable);
    }
}
