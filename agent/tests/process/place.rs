//! The files of one agent, and the processes on them.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use everett_certs::{Authority, CaOptions, Profile};
use rustix::process::{Pid, Signal, kill_process};

/// What a configuration says instead of the usual: what is replaced, and by what.
pub(crate) type Changes<'a> = &'a [(&'a str, &'a str)];

/// One agent's files.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for files");
        let authority = Authority::create(&CaOptions::default()).expect("an authority can be made");
        let bundle = authority.issue(&Profile::new("oslo", "edge-1")).expect("a bundle can be issued");
        bundle.save(&directory.path().join("certs"), false).expect("the bundle can be written");
        Self { directory, port: free_port() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `everett VERB` with the configuration.
    pub(crate) fn command(&self, verb: &str, changes: Changes<'_>) -> Command {
        let mut text = format!(
            "certificates = \"certs\"\nseeds = []\nlisten = \"127.0.0.1:{}\"\nstate = \"state\"\npid_file = \"pid\"\n\
             [socket]\npath = \"sock\"\n[store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n\
             log_bytes = \"64MiB\"\nsegment_bytes = \"16MiB\"\n",
            self.port
        );
        for (from, to) in changes {
            assert!(text.contains(from), "the configuration has no {from}");
            text = text.replace(from, to);
        }
        let path = self.path("everett.toml");
        fs::write(&path, text).expect("the configuration can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_everett"));
        command.arg(verb).arg("--config").arg(path).env_remove("EVERETT_LOG").env_remove("NOTIFY_SOCKET");
        command
    }

    /// An agent that answers.
    pub(crate) fn running(&self) -> Child {
        self.answering(self.command("agent", &[]).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// The same, of this command.
    pub(crate) fn answering(&self, command: &mut Command) -> Child {
        let mut child = command.spawn().expect("the binary runs");
        let deadline = Instant::now() + Duration::from_mins(1);
        while UnixStream::connect(self.path("sock")).is_err() {
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "the agent does not answer: {ended:?}");
            std::thread::yield_now();
        }
        child
    }
}

/// Ends an agent as an operator would.
pub(crate) fn stop(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("the agent is there");
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{status}");
}

/// What a process that has ended said, and its exit code.
pub(crate) fn words(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("a bound socket has an address").port()
}
