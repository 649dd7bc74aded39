//! The one place where a certificate's identity becomes a node of the mesh.
//!
//! The certs crate reads names out of certificates and knows nothing of the mesh; the mesh knows node ids and nothing of
//! certificates. Here, and nowhere else, one becomes the other, so that no claim in a message can ever stand for who a
//! peer is. What is read here was verified before: the chain by TLS, the names by the certs crate.

use std::fmt;
use std::sync::Arc;

use everett_mesh_proto::id::{ClusterId, NodeId};

/// A node as its certificate names it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// Membership's handle, derived from cluster and name.
    pub id: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The site, a POP.
    pub site: Arc<str>,
    /// The name, unique in the cluster.
    pub node: Arc<str>,
}

impl From<&everett_certs::Identity> for NodeIdentity {
    fn from(certified: &everett_certs::Identity) -> Self {
        let cluster = ClusterId(certified.cluster);
        Self {
            id: NodeId::derive(cluster, &certified.node),
            cluster,
            site: certified.site.as_str().into(),
            node: certified.node.as_str().into(),
        }
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_cluster_and_name_and_not_the_site() {
        let certified = |cluster, site: &str, node: &str| everett_certs::Identity {
            cluster: [cluster; 16],
            site: site.to_owned(),
            node: node.to_owned(),
        };
        let at = |cluster, site, node| NodeIdentity::from(&certified(cluster, site, node)).id;
        assert_eq!(at(1, "fra", "a"), at(1, "ams", "a"));
        assert_ne!(at(1, "fra", "a"), at(1, "fra", "b"));
        assert_ne!(at(1, "fra", "a"), at(2, "fra", "a"));
    }
}
