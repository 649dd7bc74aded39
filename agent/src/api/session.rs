//! What the server knows of each connection besides its bytes: who it says it is, what it speaks, where it looks.
//!
//! Apart from the loop's sockets and buffers, so that `CLIENT LIST` can walk all sessions while one of them executes.

use std::collections::BTreeSet;

use bytes::Bytes;
use everett_mesh_proto::time::Instant;

use super::command::{Command, Flags};
use super::notify::{Classes, Event};
use super::resp::Proto;
use super::topics::{Letter, Topic, Topics};
use crate::durability::{Durability, Levels};

/// One connection's state between its commands.
#[derive(Debug)]
pub struct Session {
    /// Its number: from 1, never used again while the process lives.
    pub id: u64,
    /// The name it gave itself, empty if none.
    pub name: Vec<u8>,
    /// The client library's name, as the library tells.
    pub library: Vec<u8>,
    /// The client library's version.
    pub library_version: Vec<u8>,
    /// The protocol version it speaks.
    pub proto: Proto,
    /// The numbered namespace it selected.
    pub space: u8,
    /// When its writes are answered, if it has chosen; else its namespace says.
    pub durability: Option<Durability>,
    /// The numbered namespace it last wrote to, if it ever did.
    pub wrote: Option<u8>,
    /// When it came.
    pub connected: Instant,
    /// When it last said something.
    pub active: Instant,
    /// The command it gave last; a subcommand with its container.
    pub last: Option<(&'static Command, Option<&'static Command>)>,
    /// The channels it listens on, by name and by pattern.
    heard: [BTreeSet<Bytes>; 2],
}

impl Session {
    /// A connection that has said nothing yet.
    pub fn new(id: u64, connected: Instant) -> Self {
        Self {
            id,
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            proto: Proto::Resp2,
            space: 0,
            durability: None,
            wrote: None,
            connected,
            active: connected,
            last: None,
            heard: Default::default(),
        }
    }

    /// Whether the last command that it gave changes data.
    pub fn is_writer(&self) -> bool {
        self.last.is_some_and(|(command, _)| command.flags.has(Flags::WRITE))
    }

    /// What it listens on.
    pub fn heard(&self, topic: Topic) -> &BTreeSet<Bytes> {
        &self.heard[topic as usize]
    }

    /// How many channels and patterns it listens on.
    pub fn subscriptions(&self) -> usize {
        self.heard.iter().map(BTreeSet::len).sum()
    }

    /// Back to how a connection begins; it keeps its number and its library.
    pub fn reset(&mut self) {
        self.name.clear();
        self.proto = Proto::Resp2;
        self.space = 0;
        self.durability = None;
    }
}

/// All sessions, by the loop's slot numbers.
#[derive(Debug, Default)]
pub struct Sessions {
    slots: Vec<Option<Session>>,
    open: usize,
    opened: u64,
    killed: Vec<usize>,
    topics: Topics,
    post: Vec<Letter>,
    classes: Classes,
    levels: Levels,
}

impl Sessions {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// How many were ever opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Opens a session in `slot`.
    pub fn open(&mut self, slot: usize, now: Instant) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "a slot is free before a connection is put into it");
        self.opened += 1;
        self.open += 1;
        self.slots[slot] = Some(Session::new(self.opened, now));
    }

    /// Ends the session in `slot`.
    pub fn close(&mut self, slot: usize) {
        if let Some(session) = self.slots.get_mut(slot).and_then(Option::take) {
            self.open -= 1;
            for topic in [Topic::Channel, Topic::Pattern] {
                session.heard(topic).iter().for_each(|name| self.topics.ignore(slot, topic, name));
            }
        }
    }

    /// Who listens on what.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The session in `slot` listens on `name` from now on.
    pub fn listen(&mut self, slot: usize, topic: Topic, name: Bytes) {
        if self.of_mut(slot).heard[topic as usize].insert(name.clone()) {
            self.topics.listen(slot, topic, name);
        }
    }

    /// The session in `slot` listens on `name` no more.
    pub fn ignore(&mut self, slot: usize, topic: Topic, name: &[u8]) {
        if self.of_mut(slot).heard[topic as usize].remove(name) {
            self.topics.ignore(slot, topic, name);
        }
    }

    /// Posts a message to everybody who listens on `channel`; how many letters that makes.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let Self { slots, topics, post, .. } = self;
        let before = post.len();
        let proto = |slot: usize| slots[slot].as_ref().map_or(Proto::Resp2, |session| session.proto);
        topics.letters((channel, message), proto, |letter| post.push(letter));
        post.len() - before
    }

    /// When writes of those are answered that have not chosen.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Sets it.
    pub fn set_levels(&mut self, levels: Levels) {
        self.levels = levels;
    }

    /// When the session in `slot` is answered about a namespace.
    pub fn durability(&self, slot: usize, space: u8) -> Durability {
        self.of(slot).durability.unwrap_or_else(|| self.levels.of(space))
    }

    /// Which changes of keys are told from now on.
    pub fn set_classes(&mut self, classes: Classes) {
        self.classes = classes;
    }

    /// Whether a change of a key may have to be told to somebody.
    pub fn notifies(&self) -> bool {
        self.classes.tells() && !self.topics.is_empty()
    }

    /// Posts an event on a key to those who listen for it.
    pub fn notify(&mut self, event: Event<'_>) {
        for (channel, message) in self.classes.messages(event) {
            self.publish(&channel, &message);
        }
    }

    /// Whether letters wait to be delivered.
    pub fn has_post(&self) -> bool {
        !self.post.is_empty()
    }

    /// The letters posted since the last call.
    pub fn take_post(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.post)
    }

    /// The letters among those posted that are for `slot`, in one piece.
    pub fn take_post_for(&mut self, slot: usize) -> Vec<u8> {
        let own = self.post.extract_if(.., |letter| letter.to == slot);
        own.fold(Vec::new(), |mut bytes, letter| {
            bytes.extend_from_slice(&letter.bytes);
            bytes
        })
    }

    /// Marks the session in `slot` to be ended by others' will; the loop ends it.
    pub fn kill(&mut self, slot: usize) {
        self.killed.push(slot);
    }

    /// The slots marked since the last call.
    pub fn take_killed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.killed)
    }

    /// All of them with their slots.
    pub fn slots(&self) -> impl Iterator<Item = (usize, &Session)> {
        self.slots.iter().enumerate().filter_map(|(slot, session)| Some((slot, session.as_ref()?)))
    }

    /// The session of a connected `slot`.
    pub fn of(&self, slot: usize) -> &Session {
        self.slots[slot].as_ref().expect("a command comes from an open session")
    }

    /// The session of a connected `slot`, to be changed.
    pub fn of_mut(&mut self, slot: usize) -> &mut Session {
        self.slots[slot].as_mut().expect("a command comes from an open session")
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }
}
