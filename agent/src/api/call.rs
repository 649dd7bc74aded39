//! One command in execution: its words, its reply, and the parts of the server it may touch.

use everett_mesh_proto::time::Now;

use super::command::Command;
use super::host::Host;
use super::refusal::Refusal;
use super::resp::{Args, Reply, parse_i64};
use super::session::Session;

/// What a command's function gets. It writes exactly one reply, or refuses.
#[derive(Debug)]
pub struct Call<'a> {
    /// The words, the command's name first.
    pub args: Args<'a>,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The server.
    pub host: &'a mut Host,
    /// The slot of the connection that called.
    pub me: usize,
    /// When this step began.
    pub now: Now,
    /// The command.
    pub command: &'static Command,
    /// What the connection does next.
    pub flow: Flow,
}

/// What a connection does after a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Goes on with its next request.
    Next,
    /// Ends once its replies are sent.
    Close,
}

impl<'a> Call<'a> {
    /// The caller's session.
    pub fn session(&mut self) -> &mut Session {
        self.host.sessions.of_mut(self.me)
    }

    /// The word at `index`, which the command's arity promises.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).expect("the arity of a command covers the words it reads")
    }

    /// The word at `index` as an integer.
    pub fn int(&self, index: usize) -> Result<i64, Refusal> {
        parse_i64(self.arg(index)).ok_or(Refusal::NotInteger)
    }

    /// Whether the word at `index` is `word`, in any case.
    pub fn says(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }
}
