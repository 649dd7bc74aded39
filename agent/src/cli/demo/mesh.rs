//! The demo's agents as a client sees them: one connection to each, and what they say of each other.

use serde_json::Value;

use super::layout::Place;
use crate::cli::report;
use crate::client::{Client, ClientError, Reply};
use crate::report::Line;

/// One connection to each agent, by index.
#[derive(Debug)]
pub(crate) struct Mesh(Vec<Client>);

impl Mesh {
    /// Connects to every agent; fails while one of them does not answer.
    pub(crate) fn connect(places: &[Place]) -> Result<Self, ClientError> {
        Ok(Self(places.iter().map(|place| Client::connect(&place.socket)).collect::<Result<_, _>>()?))
    }

    /// Sends one command to the agent at this index.
    pub(crate) fn call(&mut self, agent: usize, words: &[&str]) -> Result<Reply, ClientError> {
        self.0[agent].call(words)
    }

    /// How many agents the one at this index believes to answer, itself left out.
    pub(crate) fn peers_alive(&mut self, agent: usize) -> Result<usize, ClientError> {
        let client = &mut self.0[agent];
        let own = client.object("MESH.INFO")?;
        let peers = client.objects("MESH.PEERS")?;
        let others = peers.iter().filter(|peer| peer.get("node") != own.get("node"));
        Ok(others.filter(|peer| peer.get("state").and_then(Value::as_str) == Some("alive")).count())
    }

    /// Whether every agent takes data commands and believes all others to answer.
    pub(crate) fn is_whole(&mut self) -> Result<bool, ClientError> {
        for agent in 0..self.0.len() {
            let loading = match self.call(agent, &["DBSIZE"]) {
                Ok(_) => false,
                Err(ClientError::Refused(words)) if words.starts_with("LOADING") => true,
                Err(error) => return Err(error),
            };
            if loading || self.peers_alive(agent)? + 1 < self.0.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What all agents hold, if they hold the same.
    pub(crate) fn common_digest(&mut self) -> Result<Option<String>, ClientError> {
        let mut digests = Vec::new();
        for agent in 0..self.0.len() {
            digests.push(self.call(agent, &["MESH.DIGEST"])?.to_json());
        }
        let first = digests.first().filter(|first| digests.iter().all(|digest| digest == *first));
        Ok(first.map(|digest| {
            let spaces = digest.as_array().into_iter().flatten().filter_map(Value::as_str);
            spaces.collect::<Vec<_>>().join(", ")
        }))
    }

    /// The percentiles of the agent at this index.
    pub(crate) fn report(&mut self, agent: usize) -> Result<Vec<Line>, ClientError> {
        report::fetch(&mut self.0[agent])
    }
}
