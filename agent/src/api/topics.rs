//! Who listens on what: channels by name and by pattern, and the messages that are on their way to listeners.
//!
//! Apart from sessions because it is the same relation read the other way round, and from the loop because it knows no
//! sockets: a message becomes a [`Letter`] for each listener, which the loop puts into that connection's output.
//!
//! Invariant: a slot listens on a name here exactly if its session says that it does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::glob;
use super::resp::{Proto, Reply};

/// On how many channels and patterns one connection may listen.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// The longest pattern: each message's channel is held against every pattern.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// How a listener names what it listens on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// A channel's name.
    Channel,
    /// All channels whose names match.
    Pattern,
}

impl Topic {
    /// How a new subscription is confirmed.
    pub fn subscribed(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
        }
    }

    /// How its end is confirmed.
    pub fn unsubscribed(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
        }
    }
}

/// A message for one connection, in the bytes of its protocol version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// The connection's slot.
    pub to: usize,
    /// What it is sent.
    pub bytes: Bytes,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Topics {
    channels: BTreeMap<Bytes, BTreeSet<usize>>,
    patterns: BTreeMap<Bytes, BTreeSet<usize>>,
}

impl Topics {
    fn of(&mut self, topic: Topic) -> &mut BTreeMap<Bytes, BTreeSet<usize>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
        }
    }

    pub(super) fn listen(&mut self, slot: usize, topic: Topic, name: Bytes) {
        self.of(topic).entry(name).or_default().insert(slot);
    }

    pub(super) fn ignore(&mut self, slot: usize, topic: Topic, name: &[u8]) {
        let names = self.of(topic);
        if let Some(listeners) = names.get_mut(name) {
            listeners.remove(&slot);
            if listeners.is_empty() {
                names.remove(name);
            }
        }
    }

    /// Whether nobody listens on anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    /// The channels that somebody listens on by name, all of them or those that match, in order.
    pub fn channels(&self, pattern: Option<&[u8]>) -> impl Iterator<Item = &Bytes> {
        self.channels.keys().filter(move |name| pattern.is_none_or(|pattern| glob::matches(pattern, name, false)))
    }

    /// How many channels somebody listens on by name.
    pub fn channels_len(&self) -> usize {
        self.channels.len()
    }

    /// How many patterns somebody listens on.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// How many listen on a channel by its name.
    pub fn listeners(&self, channel: &[u8]) -> usize {
        self.channels.get(channel).map_or(0, BTreeSet::len)
    }

    /// Writes a message to everybody who listens on `channel`, those first that named it; once for each subscription
    /// that it falls under. `proto` says what a connection speaks.
    pub(super) fn letters(
        &self,
        (channel, message): (&[u8], &[u8]),
        proto: impl Fn(usize) -> Proto,
        mut post: impl FnMut(Letter),
    ) {
        if let Some(listeners) = self.channels.get(channel) {
            let texts = Texts::of(&[b"message", channel, message]);
            listeners.iter().for_each(|&to| post(Letter { to, bytes: texts.in_version(proto(to)) }));
        }
        for (pattern, listeners) in &self.patterns {
            if glob::matches(pattern, channel, false) {
                let texts = Texts::of(&[b"pmessage", pattern, channel, message]);
                listeners.iter().for_each(|&to| post(Letter { to, bytes: texts.in_version(proto(to)) }));
            }
        }
    }
}

/// One message in both versions, written once however many get it.
struct Texts {
    resp2: Bytes,
    resp3: Bytes,
}

impl Texts {
    fn of(words: &[&[u8]]) -> Self {
        let write = |proto| {
            let mut bytes = Vec::with_capacity(words.iter().map(|word| word.len() + 16).sum());
            let mut reply = Reply::new(&mut bytes, proto);
            reply.push(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            Bytes::from(bytes)
        };
        Self { resp2: write(Proto::Resp2), resp3: write(Proto::Resp3) }
    }

    fn in_version(&self, proto: Proto) -> Bytes {
        match proto {
            Proto::Resp2 => self.resp2.clone(),
            Proto::Resp3 => self.resp3.clone(),
        }
    }
}
