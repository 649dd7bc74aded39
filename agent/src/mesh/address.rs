//! Where others are told to find this agent, when the configuration does not say.
//!
//! An agent that listens on all addresses is told apart from them by asking the system which one it would speak from,
//! without sending anything: towards the first seed that resolves, else towards the default route, else loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// An address that nobody has (RFC 5737): only the route towards it is asked for.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The address to advertise for a socket bound to `bound`.
pub fn advertised(bound: SocketAddr, seeds: &[String]) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let seeds = seeds.iter().filter_map(|seed| seed.to_socket_addrs().ok()?.next());
    let ip = seeds.chain([NOWHERE]).find_map(|towards| source_towards(bound, towards));
    SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), bound.port())
}

fn source_towards(bound: SocketAddr, towards: SocketAddr) -> Option<IpAddr> {
    let probe = UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).ok()?;
    probe.connect(towards).ok()?;
    let ip = probe.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_its_own_is_advertised_as_it_is() {
        let bound = "127.0.0.3:7117".parse().unwrap();
        assert_eq!(advertised(bound, &[]), bound);
    }

    #[test]
    fn an_agent_on_all_addresses_takes_the_one_towards_its_seed() {
        let bound = "0.0.0.0:7117".parse().unwrap();
        assert_eq!(advertised(bound, &["127.0.0.1:9".to_owned()]), "127.0.0.1:7117".parse().unwrap());
    }
}
