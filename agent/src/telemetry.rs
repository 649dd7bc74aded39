//! Logs: the one subscriber of the process, for people or for programs, always on stderr.
//!
//! The protocol machines only emit events; here is decided what becomes of them. The filter can be replaced while the
//! process runs. What this does not do: it counts nothing (that is `metrics`) and writes no files; under systemd the
//! journal takes stderr and adds the time itself.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, TelemetryConfig};

/// The environment variable that goes before the configured filter.
pub const FILTER_VARIABLE: &str = "EVERETT_LOG";

/// Why there are no logs as asked for.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter; the one before it, if any, stays.
    #[error("`{filter}` is not a log filter")]
    Filter {
        /// The text that was given.
        filter: String,
        /// Why it was refused.
        source: ParseError,
    },
    /// The process has a subscriber already; that one stays.
    #[error("logging was set up twice")]
    Twice(#[from] TryInitError),
    /// The subscriber is gone, so its filter cannot be replaced.
    #[error("the log filter cannot be replaced any more")]
    Gone(#[from] reload::Error),
}

/// The running subscriber's filter.
#[derive(Debug, Clone)]
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Puts the filter of `config` (or of the environment) in the place of the present one.
    pub fn replace(&self, config: &TelemetryConfig) -> Result<(), TelemetryError> {
        Ok(self.0.reload(filter(config)?)?)
    }
}

/// Sets up the process's logs; called once, before the first thread starts.
pub fn init(config: &TelemetryConfig) -> Result<Filter, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    tracing_subscriber::registry().with(filter).with(lines(config.format)).try_init()?;
    Ok(Filter(handle))
}

/// The filter that `config` and the environment ask for.
pub fn filter(config: &TelemetryConfig) -> Result<EnvFilter, TelemetryError> {
    let text = env::var(FILTER_VARIABLE).unwrap_or_else(|_| config.filter.clone());
    parse(text)
}

fn parse(text: String) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(&text).map_err(|source| TelemetryError::Filter { filter: text, source })
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Human if journal => layer.with_ansi(false).without_time().boxed(),
        LogFormat::Human => layer.with_ansi(io::stderr().is_terminal()).with_timer(SystemTime).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_targets_are_filters() {
        for text in ["info", "warn,everett_agent::net=debug", "off"] {
            parse(text.to_owned()).expect(text);
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let error = parse("everett=loudly".to_owned()).expect_err("there is no such level");
        assert_eq!(error.to_string(), "`everett=loudly` is not a log filter");
    }
}
