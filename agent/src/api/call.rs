//! One command in execution: its words, its reply, and the parts of the server it may touch.

use bytes::Bytes;
use everett_mesh_proto::id::Dot;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::{Counted, EDITS_BYTES_MAX, Edit, View};
use everett_mesh_proto::time::{Instant, Now};

use super::command::{Command, Flags};
use super::data::LEASES;
use super::host::Host;
use super::notify::{Classes, Event, Named, names_of};
use super::refusal::{Refusal, Stop};
use super::resp::{Args, Reply, parse_i64};
use super::session::Session;
use crate::durability::Durability;
use crate::peers::Question;
use crate::store::StoreError;

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
    /// What the reply reflects.
    pub reflects: Reflects,
}

/// What something said to a client reflects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reflects {
    /// The greatest local commit that it tells of: whatever carries it further waits until that is durable.
    pub shown: Commit,
    /// The commit that must be durable before it leaves.
    pub awaited: Commit,
}

impl Reflects {
    /// It leaves when all that it tells of is durable.
    pub fn durably(commit: Commit) -> Self {
        Self { shown: commit, awaited: commit }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Peers that hold a write.
    Copies {
        /// The namespace's number.
        space: u8,
        /// The write that peers must hold durably.
        dot: Dot,
        /// How many of them.
        copies: usize,
        /// When it stops waiting; never if none.
        until: Option<Instant>,
    },
    /// How a peer differs.
    Verify {
        /// What was asked.
        question: Question,
        /// When it stops waiting.
        until: Instant,
    },
    /// The roots of a settled state.
    Digest {
        /// The commit that it must reflect.
        commit: Commit,
    },
}

impl Wait {
    /// When it ends in any case.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Copies { until, .. } => *until,
            Self::Verify { until, .. } => Some(*until),
            Self::Digest { .. } => None,
        }
    }
}

/// What a connection does after a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Goes on with its next request.
    Next,
    /// Ends once its replies are sent.
    Close,
    /// Waits; the loop replies.
    Wait(Wait),
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

    /// The word at `index` as a key, no longer than keys may be.
    pub fn key(&self, index: usize) -> Result<&'a [u8], Refusal> {
        let key = self.arg(index);
        if key.len() > self.host.key_bytes_max { Err(Refusal::KeyTooLong(self.host.key_bytes_max)) } else { Ok(key) }
    }

    /// The word at `index` as a value to keep, no longer than values may be.
    pub fn value(&self, index: usize) -> Result<Bytes, Refusal> {
        let value = self.arg(index);
        self.check_length(value.len())?;
        Ok(Bytes::copy_from_slice(value))
    }

    /// Whether a value may have this length.
    pub fn check_length(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.host.value_bytes_max { Err(Refusal::StringTooLong) } else { Ok(()) }
    }

    /// What this connection sees of `key`; the reply reflects that.
    pub fn view(&mut self, key: &[u8]) -> Result<View, StoreError> {
        let space = self.host.sessions.of(self.me).space;
        let view = self.host.data.view(self.now, space, key)?;
        self.reflect(space, view.at);
        let count = if view.value.is_some() {
            &mut self.host.stats.keyspace_hits
        } else {
            &mut self.host.stats.keyspace_misses
        };
        *count += 1;
        if view.value.is_none() && self.command.flags.has(Flags::READONLY) && self.host.sessions.notifies() {
            self.host.sessions.notify(Event { space, class: Classes::MISS, name: "keymiss", key });
        }
        Ok(view)
    }

    /// Makes these changes in one commit; the reply reflects it.
    pub fn edit(&mut self, edits: Vec<Edit>) -> Result<(), Stop> {
        let space = self.host.sessions.of(self.me).space;
        self.edit_in(space, edits)
    }

    /// The same in a namespace other than the selected one.
    pub fn edit_in(&mut self, space: u8, edits: Vec<Edit>) -> Result<(), Stop> {
        if edits.iter().map(Edit::bytes).sum::<usize>() > EDITS_BYTES_MAX {
            return Err(Refusal::GroupTooLarge(EDITS_BYTES_MAX).into());
        }
        let is_told = space != LEASES && self.host.sessions.notifies();
        let notices = if is_told { self.notices(space, &edits)? } else { Vec::new() };
        if let Some(commit) = self.host.data.edit(self.now, space, edits)? {
            self.reflect(space, commit);
            self.session().wrote = Some(space);
            self.notify(space, &notices);
        }
        Ok(())
    }

    /// What listeners are to be told of these changes, before they are made.
    fn notices(&mut self, space: u8, edits: &[Edit]) -> Result<Vec<(Named, Bytes)>, StoreError> {
        let mut notices = Vec::new();
        for edit in edits {
            let Some(key) = edit.key() else { continue };
            let is_visible = self.host.data.view(self.now, space, key)?.value.is_some();
            let names = names_of(edit, self.command.name, is_visible);
            notices.extend(names.into_iter().map(|named| (named, key.clone())));
        }
        Ok(notices)
    }

    fn notify(&mut self, space: u8, notices: &[(Named, Bytes)]) {
        for ((class, name), key) in notices {
            self.host.sessions.notify(Event { space, class: *class, name, key });
        }
    }

    /// Adds to the number under `key` in one commit; the reply reflects it.
    pub fn count(&mut self, key: &[u8], by: i64) -> Result<Counted, StoreError> {
        let space = self.host.sessions.of(self.me).space;
        let notices = if self.host.sessions.notifies() {
            self.notices(space, &[Edit::Add { key: Bytes::copy_from_slice(key), by }])?
        } else {
            Vec::new()
        };
        let (counted, reflects) = self.host.data.add(self.now, space, key, by)?;
        self.reflect(space, reflects);
        if matches!(counted, Counted::Sum(_)) {
            self.session().wrote = Some(space);
            self.notify(space, &notices);
        }
        Ok(counted)
    }

    /// The reply tells of a commit in a namespace; whether it waits for that is a matter of the level there.
    fn reflect(&mut self, space: u8, commit: Commit) {
        self.reflects.shown = self.reflects.shown.max(commit);
        if self.host.sessions.durability(self.me, space) == Durability::Commit {
            self.reflects.awaited = self.reflects.awaited.max(commit);
        }
    }

    /// The reply tells of rows that were not looked at one by one: it reflects everything done so far.
    pub fn reflects_all(&mut self) {
        let space = self.host.sessions.of(self.me).space;
        self.reflect(space, self.host.data.replica.commit());
    }

    /// The reply waits until everything done so far is durable, whatever the level: it is a promise about that.
    pub fn reflects_all_durably(&mut self) {
        self.reflects = Reflects::durably(self.host.data.replica.commit());
    }

    /// The present in ms that deadlines are compared with.
    pub fn now_ms(&self) -> u64 {
        self.host.data.replica.now_ms(self.now)
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
