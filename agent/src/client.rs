//! A small blocking client for an agent's socket, for the verbs that ask a running agent, and for its exporter.
//!
//! It speaks RESP3 and takes RESP2, one request at a time. What an agent answers is bounded before it is read: a
//! wrong socket (or a wrong program behind it) costs an error, not memory. What this does not do: pipelining,
//! reconnecting, pub/sub.

mod reply;

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

pub use reply::{ProtocolError, Reply};

/// How long an agent may take for one answer; it never waits for others to give one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an agent could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is nobody at the socket.
    #[error("no agent answers at {}", socket.display())]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke; whether the request was carried out is unknown.
    #[error("the connection to the agent broke")]
    Broken(#[source] io::Error),
    /// The agent closed the connection; whether the request was carried out is unknown.
    #[error("the agent closed the connection")]
    Closed,
    /// What answered does not speak RESP.
    #[error("what answers at the socket is no agent")]
    Protocol(#[from] ProtocolError),
    /// The agent refused the request, in these words.
    #[error("the agent answered: {0}")]
    Refused(String),
    /// The agent's answer has another shape than this version of the program expects.
    #[error("the answer to {command} has an unexpected shape")]
    Unexpected {
        /// The command that was sent.
        command: &'static str,
    },
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Broken(error) }
    }
}

/// One connection to an agent.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the agent at `socket` and agrees on RESP3.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let refused = |source| ClientError::Connect { socket: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).map_err(refused)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(refused)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(refused)?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.call(&["HELLO", "3"])?;
        Ok(client)
    }

    /// Sends one command and waits for its answer; an error answer is an error here.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Reply, ClientError> {
        let mut request = Vec::new();
        write!(request, "*{}\r\n", words.len())?;
        for word in words.iter().map(AsRef::as_ref) {
            write!(request, "${}\r\n", word.len())?;
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)?;
        let reply = Reply::read(&mut self.stream)?;
        if let Reply::Error(words) = reply { Err(ClientError::Refused(words)) } else { Ok(reply) }
    }

    /// The answer to `command`, which must be a map.
    pub fn object(&mut self, command: &'static str) -> Result<Map<String, Value>, ClientError> {
        self.call(&[command])?.into_object().ok_or(ClientError::Unexpected { command })
    }

    /// The answer to `command`, which must be an array of maps.
    pub fn objects(&mut self, command: &'static str) -> Result<Vec<Map<String, Value>>, ClientError> {
        let elements = self.call(&[command])?.into_array();
        let maps = elements.and_then(|elements| elements.into_iter().map(Reply::into_object).collect());
        maps.ok_or(ClientError::Unexpected { command })
    }

    /// Waits until the agent closes the connection by itself.
    pub fn wait_for_end(&mut self) -> Result<(), ClientError> {
        match Reply::read(&mut self.stream) {
            Err(ClientError::Closed) => Ok(()),
            Err(ClientError::Broken(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(ProtocolError::Malformed.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_request_and_its_answer_cross_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 22];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(b"%1\r\n$5\r\nproto\r\n:3\r\n").unwrap();
            let mut ping = [0; 14];
            stream.read_exact(&mut ping).unwrap();
            stream.write_all(b"-ERR not today\r\n").unwrap();
            (hello, ping)
        });
        let mut client = Client::connect(&path).unwrap();
        match client.call(&["PING"]) {
            Err(ClientError::Refused(words)) => assert_eq!(words, "ERR not today"),
            other => panic!("expected a refusal, got {other:?}"),
        }
        let (hello, ping) = server.join().unwrap();
        assert_eq!(&hello, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        assert_eq!(&ping, b"*1\r\n$4\r\nPING\r\n");
        assert!(matches!(client.call(&["PING"]), Err(ClientError::Closed | ClientError::Broken(_))));
    }

    #[test]
    fn nobody_at_the_socket_is_said_with_its_path() {
        let error = Client::connect(Path::new("/nowhere/s")).expect_err("there is no such socket");
        assert_eq!(error.to_string(), "no agent answers at /nowhere/s");
    }
}
