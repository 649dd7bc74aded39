//! One real agent: its files, its process, and what a client hears from it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use everett_certs::{Authority, Profile};
use redis::{Connection, RedisError, Value};
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, binary, wait};

/// How long one answer may take before the test fails.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One agent of a cluster.
#[derive(Debug)]
pub struct Agent {
    name: String,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Agent {
    /// Writes the files of the agent at `index` of those that listen on `ports`.
    pub(super) fn lay_out(directory: &Path, authority: &Authority, index: usize, ports: &[u16]) -> Self {
        let name = char::from(b'a' + u8::try_from(index).expect("a test has few agents")).to_string();
        let folder = directory.join(&name);
        fs::create_dir(&folder).expect("the agent's folder can be made");
        let bundle = authority.issue(&Profile::new(format!("site-{name}"), &name)).expect("a bundle can be issued");
        bundle.save(&folder.join("certs"), false).expect("the bundle can be written");
        // The first agent of a cluster has nobody to ask.
        let others = ports.iter().enumerate().filter(|(other, _)| index > 0 && *other != index);
        let seeds: Vec<_> = others.map(|(_, port)| format!("\"127.0.0.1:{port}\"")).collect();
        let text = format!(
            "certificates = \"certs\"\nseeds = [{}]\nlisten = \"127.0.0.1:{}\"\nstate = \"state\"\n\
             [socket]\npath = \"sock\"\nmode = \"0600\"\n\
             [store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n\
             [telemetry]\nfilter = \"everett_agent=debug,info\"\n",
            seeds.join(", "),
            ports[index],
        );
        fs::write(folder.join("everett.toml"), text).expect("the configuration can be written");
        Self { name, folder, port: ports[index], child: None }
    }

    /// The same files, without the process.
    pub(super) fn twin(&self) -> Self {
        Self { name: self.name.clone(), folder: self.folder.clone(), port: self.port, child: None }
    }

    /// Starts the process; its socket answers a moment later.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the process with these files named in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &Path)]) {
        assert!(self.child.is_none(), "agent {} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.folder.join("log"));
        let mut command = Command::new(binary::path());
        command.arg("agent").arg("--config").arg(self.folder.join("everett.toml"));
        command.envs(environment.iter().copied());
        command.env_remove("EVERETT_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.expect("the log can be opened"));
        self.child = Some(command.spawn().expect("the agent's binary runs"));
    }

    /// Starts the process and waits until it takes data commands.
    pub fn start_and_serve(&mut self) {
        self.start();
        self.wait_until_serving();
    }

    /// Waits until the agent takes data commands.
    pub fn wait_until_serving(&mut self) {
        let mut ended = None;
        wait::until(&format!("agent {} serves", self.name), PATIENCE, || {
            ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child can be waited for"));
            ended.is_some() || self.serves()
        });
        assert_eq!(ended, None, "agent {} ended by itself", self.name);
    }

    /// Kills the process with signal 9.
    pub fn kill(&mut self) {
        let status = self.end_by(Signal::KILL);
        assert_eq!(status.signal(), Some(9), "agent {} ended before it was killed", self.name);
    }

    /// Asks the process to drain and end, and waits for it.
    pub fn stop(&mut self) {
        let status = self.end_by(Signal::TERM);
        assert!(status.success(), "agent {} ended with {status}", self.name);
    }

    /// The process's end, which it must find by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the agent was started");
        let mut status = None;
        wait::until(&format!("agent {} ends", self.name), PATIENCE, || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("the wait above ended with a status")
    }

    /// Replaces a piece of the configuration file; the process knows of it when it reads that again.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let path = self.folder.join("everett.toml");
        let text = fs::read_to_string(&path).expect("the configuration can be read");
        assert!(text.contains(from), "the configuration has no {from}");
        fs::write(path, text.replace(from, to)).expect("the configuration can be written");
    }

    /// Asks the process to read its certificates and log filter again.
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::HUP).expect("a child can be signalled");
    }

    /// What the agent has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("the log can be read")
    }

    fn end_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid(), signal).expect("a child can be signalled");
        self.wait_for_end()
    }

    /// The process's number.
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the agent was started");
        Pid::from_child(child)
    }

    /// Whether the process was started and not ended since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The directory of its log and rows.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its socket's path.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    /// The UDP port on loopback that it speaks the mesh on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its node name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection, which must be had.
    pub fn client(&self) -> Connection {
        self.try_client().unwrap_or_else(|error| panic!("agent {} answers: {error}", self.name))
    }

    fn try_client(&self) -> Result<Connection, RedisError> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket().display()))?;
        let connection = client.get_connection()?;
        connection.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(connection)
    }

    /// Whether the agent answers data commands.
    pub fn serves(&self) -> bool {
        self.try_client().and_then(|mut client| redis::cmd("DBSIZE").query::<u64>(&mut client)).is_ok()
    }

    /// How many others the agent believes to answer, if it says.
    pub fn peers_alive(&self) -> Option<usize> {
        let states = self.states()?;
        Some(states.iter().filter(|(name, state)| state == "alive" && *name != self.name).count())
    }

    /// The state that the agent holds of another, if it says and knows it.
    pub fn state_of(&self, name: &str) -> Option<String> {
        self.states()?.into_iter().find(|(known, _)| known == name).map(|(_, state)| state)
    }

    /// Name and state of every other member, if the agent answers.
    fn states(&self) -> Option<Vec<(String, String)>> {
        let mut client = self.try_client().ok()?;
        let peers: Vec<Vec<(String, Value)>> = redis::cmd("MESH.PEERS").query(&mut client).ok()?;
        let states = peers.into_iter().map(|peer| {
            let field = |name: &str| {
                let value = peer.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                value.and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
            };
            (field("node"), field("state"))
        });
        Some(states.collect())
    }

    /// A figure that `MESH.PEERS` tells of each other member, of those of whom it is known.
    pub fn peer_figures(&self, name: &str) -> Vec<u64> {
        let peers: Vec<Vec<(String, Value)>> =
            redis::cmd("MESH.PEERS").query(&mut self.client()).expect("the agent tells of its peers");
        let figures = peers.into_iter().filter_map(|peer| {
            let (_, value) = peer.into_iter().find(|(key, _)| key == name)?;
            redis::from_redis_value(value).ok()
        });
        figures.collect()
    }

    /// Runs a verb of the command line at this agent's socket, to its end or beside the test.
    pub fn verb(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary::path());
        command.args(words).arg("--socket").arg(self.socket());
        command
    }

    /// A figure of `MESH.INFO`.
    pub fn figure(&self, name: &str) -> u64 {
        let facts: Vec<(String, Value)> =
            redis::cmd("MESH.INFO").query(&mut self.client()).expect("the agent tells of itself");
        let fact = facts.into_iter().find(|(key, _)| key == name);
        let (_, value) = fact.unwrap_or_else(|| panic!("the agent tells no {name}"));
        redis::from_redis_value(value).unwrap_or_else(|error| panic!("{name} is no figure: {error}"))
    }

    /// A figure of `MESH.PEERS`, summed over all peers.
    pub fn figure_of_peers(&self, name: &str) -> u64 {
        let peers: Vec<Vec<(String, Value)>> =
            redis::cmd("MESH.PEERS").query(&mut self.client()).expect("the agent tells of its peers");
        let figures = peers.into_iter().flatten().filter(|(key, _)| key == name);
        figures.filter_map(|(_, value)| redis::from_redis_value::<u64>(value).ok()).sum()
    }

    /// What its process has computed so far, all threads together.
    pub fn computed(&self) -> Duration {
        let id = self.child.as_ref().expect("the agent was started").id();
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("a process has threads").flatten();
        let nanos = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// The first commit that its log still holds.
    pub fn log_begins_at(&self) -> u64 {
        let names = fs::read_dir(self.state().join("log")).expect("the log can be listed").flatten();
        let first = names.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()
        });
        first.min().expect("a log has a segment in use")
    }

    /// What `MESH.DIGEST` says, if the agent answers.
    pub fn digest(&self) -> Option<Vec<String>> {
        redis::cmd("MESH.DIGEST").query(&mut self.try_client().ok()?).ok()
    }

    pub(super) fn print_log_end(&self) {
        let mut text = String::new();
        if File::open(self.folder.join("log")).and_then(|mut log| log.read_to_string(&mut text)).is_ok() {
            let lines: Vec<_> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            // Panics are what the test harness captures, and this is part of one.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("-- agent {}\n{end}\n", self.name));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a child that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
