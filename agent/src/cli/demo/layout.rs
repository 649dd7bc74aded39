//! The demo's directory, laid out as an operator would lay it out: a CA, and per agent a configuration, a bundle, a state
//! directory, a socket and a pid file.
//!
//! A directory that is there already is taken as it is, with its ports and its data, so that a demo can be resumed and its
//! agents can be started by hand.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use everett_certs::{Authority, CaOptions, Profile};

use super::relay::Ends;
use crate::config::{Config, ConfigError};

/// Where the demo's sites are; more agents than sites share them.
const SITES: [&str; 6] = ["oslo", "lima", "tokyo", "nairobi", "sydney", "toronto"];

/// More agents than any demo has.
const AGENTS_MAX: usize = 64;

/// Why the demo's directory could not be laid out or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// A file or directory could not be made; what was made before it is still there.
    #[error("cannot lay out {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No free port could be found.
    #[error("cannot find free UDP ports on loopback")]
    Ports(#[source] io::Error),
    /// The authority or a bundle could not be made.
    #[error("cannot make the demo's certificates")]
    Certificates(#[from] everett_certs::Error),
    /// A configuration in the directory is not usable.
    #[error("an agent's configuration in the demo's directory is not usable")]
    Config(#[from] ConfigError),
    /// A configuration in the directory was not written by a demo.
    #[error("{} has no `advertise` and no `pid_file`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The directory holds another number of agents.
    #[error("{} holds {found} agents, not {wanted}", directory.display())]
    Count {
        /// The directory.
        directory: PathBuf,
        /// How many are there.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
}

/// One agent's place in the directory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its node name: its number.
    pub(crate) name: String,
    /// Its site.
    pub(crate) site: &'static str,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// The file that names its process.
    pub(crate) pid_file: PathBuf,
    /// Where its log goes.
    pub(crate) log: PathBuf,
    /// Its ports.
    pub(crate) ends: Ends,
}

/// Takes the `count` agents that `directory` holds, or lays them out if it holds none.
pub(crate) fn prepare(directory: &Path, count: usize) -> Result<Vec<Place>, LayoutError> {
    let found = (1..=AGENTS_MAX).take_while(|number| config_path(directory, *number).exists()).count();
    if found == 0 {
        create(directory, count)?;
    } else if found != count {
        return Err(LayoutError::Count { directory: directory.to_owned(), found, wanted: count });
    }
    (1..=count).map(|number| read(directory, number)).collect()
}

fn create(directory: &Path, count: usize) -> Result<(), LayoutError> {
    make_directory(directory)?;
    let authority = Authority::create(&CaOptions::default())?;
    authority.save(&directory.join("ca"), false)?;
    let ends = free_ends(count).map_err(LayoutError::Ports)?;
    // In the order in which an operator would add them; a directory cut short is noticed by its count.
    for number in 1..=count {
        let own = directory.join(number.to_string());
        make_directory(&own)?;
        let profile = Profile::new(site(number), number.to_string());
        authority.issue(&profile)?.save(&own.join("certs"), false)?;
        let path = config_path(directory, number);
        fs::write(&path, text(number, &ends)).map_err(|source| LayoutError::Write { path, source })?;
    }
    Ok(())
}

fn read(directory: &Path, number: usize) -> Result<Place, LayoutError> {
    let path = config_path(directory, number);
    let config = Config::load(&path)?;
    let (Some(public), Some(pid_file)) = (config.advertise, config.pid_file) else {
        return Err(LayoutError::Foreign { path });
    };
    Ok(Place {
        name: number.to_string(),
        site: site(number),
        config: path,
        socket: directory.join(format!("{number}.sock")),
        pid_file,
        log: directory.join(number.to_string()).join("log"),
        ends: Ends { listen: config.listen, public },
    })
}

/// The first agent of a cluster has no seeds; every later one knows all others.
fn text(number: usize, ends: &[Ends]) -> String {
    let own = ends[number - 1];
    let others = ends.iter().filter(|other| number > 1 && **other != own);
    let seeds = others.map(|other| format!("\"{}\"", other.public)).collect::<Vec<_>>().join(", ");
    format!(
        "# Agent {number} of a demo. The others reach it through the demo's relay, which lives as long as the demo.\n\
         certificates = \"certs\"\n\
         seeds = [{seeds}]\n\
         listen = \"{listen}\"\n\
         advertise = \"{public}\"\n\
         state = \"state\"\n\
         pid_file = \"../{number}.pid\"\n\
         \n\
         [socket]\n\
         path = \"../{number}.sock\"\n\
         mode = \"0600\"\n\
         \n\
         [store]\n\
         memtable_bytes = \"32MiB\"\n\
         cache_bytes = \"16MiB\"\n\
         log_bytes = \"256MiB\"\n\
         segment_bytes = \"32MiB\"\n",
        listen = own.listen,
        public = own.public,
    )
}

fn free_ends(count: usize) -> io::Result<Vec<Ends>> {
    // All are held until all are found, so that none is found twice.
    let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let sockets = (0..2 * count).map(bind).collect::<io::Result<Vec<_>>>()?;
    let ports = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    let (listen, public) = ports.split_at(count);
    Ok(listen.iter().zip(public).map(|(listen, public)| Ends { listen: *listen, public: *public }).collect())
}

fn make_directory(path: &Path) -> Result<(), LayoutError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| LayoutError::Write { path: path.to_owned(), source })
}

fn config_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(number.to_string()).join("everett.toml")
}

fn site(number: usize) -> &'static str {
    SITES[(number - 1) % SITES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_laid_out_once_and_then_resumed() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("demo");
        let first = prepare(&directory, 3).unwrap();
        assert_eq!(first.iter().map(|place| place.site).collect::<Vec<_>>(), ["oslo", "lima", "tokyo"]);
        assert_eq!(first[1].config, directory.join("2/everett.toml"));
        for file in ["ca.pem", "node.pem", "node.key", "place.key"] {
            assert!(directory.join("3/certs").join(file).exists(), "{file} is missing");
        }
        let again = prepare(&directory, 3).unwrap();
        let ends = |places: &[Place]| places.iter().map(|place| place.ends).collect::<Vec<_>>();
        assert_eq!(ends(&first), ends(&again));
    }

    #[test]
    fn ports_are_all_different_and_seeds_are_public_ones() {
        let root = tempfile::tempdir().unwrap();
        let places = prepare(root.path(), 4).unwrap();
        let mut ports: Vec<_> = places.iter().flat_map(|p| [p.ends.listen.port(), p.ends.public.port()]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
        let second = Config::load(&places[1].config).unwrap();
        let public = |index: usize| places[index].ends.public.to_string();
        let seeds: Vec<_> = second.seeds.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, [public(0), public(2), public(3)]);
        assert!(Config::load(&places[0].config).unwrap().seeds.is_empty());
    }

    #[test]
    fn another_number_of_agents_is_refused() {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path(), 2).unwrap();
        assert!(matches!(prepare(root.path(), 3), Err(LayoutError::Count { found: 2, wanted: 3, .. })));
    }
}
