//! `everett report`: the percentiles of everything an agent measures.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::{SocketArgs, say};
use crate::client::{Client, ClientError};
use crate::report::{self, Line};

/// The command that answers with the figures.
const COMMAND: &str = "MESH.HISTOGRAM";

pub(super) fn run(args: &SocketArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket)?;
    if args.json {
        let figures = client.object(COMMAND)?;
        return Ok(say::data(&format!("{:#}", Value::Object(figures)))?);
    }
    Ok(say::data(&report::table(&fetch(&mut client)?))?)
}

/// The percentiles that the agent behind `client` reports.
pub(super) fn fetch(client: &mut Client) -> Result<Vec<Line>, ClientError> {
    lines(&client.object(COMMAND)?)
}

fn lines(paths: &Map<String, Value>) -> Result<Vec<Line>, ClientError> {
    let line = |(path, figures): (&String, &Value)| {
        Line::from_figures(path.clone(), |name| figures.get(name).and_then(Value::as_u64))
    };
    paths.iter().map(line).collect::<Option<_>>().ok_or(ClientError::Unexpected { command: COMMAND })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_lines_and_missing_ones_are_noticed() {
        let figures = r#"{"commit":{"count":2,"sum_us":9,"p50_us":1,"p90_us":1,"p99_us":1,"p999_us":1,"max_us":9}}"#;
        let parsed = lines(&serde_json::from_str(figures).unwrap()).unwrap();
        assert_eq!((parsed[0].path.as_str(), parsed[0].count, parsed[0].max_us), ("commit", 2, 9));
        let partial: Map<_, _> = serde_json::from_str(r#"{"commit":{"count":2}}"#).unwrap();
        assert!(lines(&partial).is_err());
    }
}
