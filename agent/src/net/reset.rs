//! What a new process of a node says to those who still hold a connection to the process before: that it is gone.
//!
//! A stateless reset (RFC 9000, section 10.3) is believed only with the token that the connection was set up with, so the
//! key that makes tokens must outlive a process; it follows from the node's key. And quinn's own connection ids are
//! recognised only by the process that drew them, and the others dropped without a word; those drawn here are any bytes.
//!
//! Without it a peer finds out by its idle timeout, and an agent whom nobody else dials is alone until then.

use std::sync::Arc;

use everett_certs::Mtls;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::rngs::SysRng;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Bytes of a connection id: with 64 random bits none of an earlier process comes again.
const ID_LEN: usize = 8;

/// How the endpoint of this node draws connection ids and refuses those it does not know.
pub(super) fn config(mtls: &Mtls) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(mtls.reset_key()));
    config.cid_generator(|| Box::new(RandomIds::new()));
    config
}

struct RandomIds(Pcg64);

impl RandomIds {
    fn new() -> Self {
        Self(Pcg64::try_from_rng(&mut SysRng).expect("the system gave randomness when the process started"))
    }
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.random::<[u8; ID_LEN]>())
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
