//! Who answers: what does not change while the process lives.

use everett_mesh_proto::time::Now;

/// This agent, for reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// The node's name.
    pub node: String,
    /// Its site.
    pub site: String,
    /// Its cluster, in hex.
    pub cluster: String,
    /// Where its peers find it.
    pub address: String,
    /// How often its store was opened.
    pub boot_epoch: u64,
    /// When the process began.
    pub started: Now,
}
