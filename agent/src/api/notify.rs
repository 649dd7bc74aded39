//! Keyspace notifications: which changes of keys are told to listeners, and under which names.
//!
//! The classes, their letters and the names of events are those of Redis 7. What commands of this agent's clients do is
//! named by the command; a change that a peer sent, which is a join and no command, by what it left behind
//! (`Watched::event_names`). Off by default; switched on, it costs nothing until somebody listens.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use bytes::Bytes;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::replica::{Edit, Expiry, View};
use everett_mesh_proto::rows::{Kind, Position};

/// A set of classes of events, and of the channels that they are told on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Classes(u16);

impl Classes {
    /// On the key's channel, the event as message.
    const KEYSPACE: Self = Self(1);
    /// On the event's channel, the key as message.
    const KEYEVENT: Self = Self(1 << 1);
    /// What happens to keys of any type.
    pub const GENERIC: Self = Self(1 << 2);
    /// What happens to strings.
    pub const STRING: Self = Self(1 << 3);
    /// Reads that found no key.
    pub const MISS: Self = Self(1 << 11);
    /// Keys that were not there before.
    pub const NEW: Self = Self(1 << 13);
    /// What the letter `A` stands for.
    const ALL: Self = Self(0b1_0111_1111_1100);

    /// The letters in the order in which Redis shows them.
    const LETTERS: [(Self, char); 14] = [
        (Self::GENERIC, 'g'),
        (Self::STRING, '$'),
        (Self(1 << 4), 'l'),
        (Self(1 << 5), 's'),
        (Self(1 << 6), 'h'),
        (Self(1 << 7), 'z'),
        (Self(1 << 8), 'x'),
        (Self(1 << 9), 'e'),
        (Self(1 << 10), 't'),
        (Self(1 << 12), 'd'),
        (Self::NEW, 'n'),
        (Self::KEYSPACE, 'K'),
        (Self::KEYEVENT, 'E'),
        (Self::MISS, 'm'),
    ];

    /// Reads the letters; `None` if one means nothing.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self(0), |classes, &letter| {
            let one = |(class, known): (Self, char)| (known == char::from(letter)).then_some(class);
            let class = if letter == b'A' { Some(Self::ALL) } else { Self::LETTERS.into_iter().find_map(one) };
            class.map(|class| Self(classes.0 | class.0))
        })
    }

    /// Whether all of `other` are among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any event is told anywhere.
    pub fn tells(self) -> bool {
        let channels = Self::KEYSPACE.0 | Self::KEYEVENT.0;
        self.0 & channels != 0 && self.0 & !channels != 0
    }

    /// The channels and messages by which an event of `class` on a key is told.
    pub(super) fn messages(self, event: Event<'_>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let Event { space, class, name, key } = event;
        let on = |channels: Self, of: &str, channel: &[u8], message: &[u8]| {
            let prefix = format!("__{of}@{space}__:");
            let told = self.has(class) && self.has(channels);
            told.then(|| ([prefix.as_bytes(), channel].concat(), message.to_vec()))
        };
        let by_key = on(Self::KEYSPACE, "keyspace", key, name.as_bytes());
        let by_event = on(Self::KEYEVENT, "keyevent", name.as_bytes(), key);
        by_key.into_iter().chain(by_event)
    }
}

impl Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.has(Self::ALL);
        if all {
            f.write_str("A")?;
        }
        let shown = |class: Self| self.has(class) && !(all && Self::ALL.has(class));
        Self::LETTERS.iter().filter(|(class, _)| shown(*class)).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// One event on one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The number of the key's namespace.
    pub space: u8,
    /// The event's class.
    pub class: Classes,
    /// Its name.
    pub name: &'a str,
    /// The key.
    pub key: &'a [u8],
}

/// The names of events, each with its class.
pub(super) type Named = (Classes, &'static str);

/// What a client's edit is called, when `command` makes it of a key that is visible or not. Nothing for those that are
/// not told key by key.
pub(super) fn names_of(edit: &Edit, command: &str, is_visible: bool) -> Vec<Named> {
    let mut names = Vec::new();
    match edit {
        Edit::Set { expiry, .. } => {
            if !is_visible {
                names.push((Classes::NEW, "new"));
            }
            let name = match command {
                "append" => "append",
                "setrange" => "setrange",
                _ => "set",
            };
            names.push((Classes::STRING, name));
            if matches!(expiry, Expiry::At(_)) {
                names.push((Classes::GENERIC, "expire"));
            }
        }
        Edit::Delete { .. } if is_visible => names.push((Classes::GENERIC, "del")),
        Edit::Expire { deadline_ms: NEVER_MS, .. } => names.push((Classes::GENERIC, "persist")),
        Edit::Expire { .. } => names.push((Classes::GENERIC, "expire")),
        Edit::Add { .. } => {
            if !is_visible {
                names.push((Classes::NEW, "new"));
            }
            names.push((Classes::STRING, "incrby"));
        }
        // A withdrawal is no client's command: it is told as a peer's change is, by what it left behind.
        Edit::Delete { .. } | Edit::Withdraw { .. } | Edit::Flush => {}
    }
    names
}

/// What peers changed since somebody began to watch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    keys: BTreeMap<(u8, Bytes), Parts>,
    /// The last op that emptied a namespace.
    cut: Option<Position>,
}

/// Which of a key's rows changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    value: bool,
    deadline: bool,
}

impl Watched {
    /// A row of a key took a new value by the op at `at`.
    pub fn note(&mut self, (space, key): (u8, Bytes), kind: Kind, at: Position) {
        // The op that empties a namespace resets its counters by name.
        if self.cut == Some(at) {
            return;
        }
        let parts = self.keys.entry((space, key)).or_default();
        match kind {
            Kind::Scalar => parts.value = true,
            Kind::Expiry => parts.deadline = true,
        }
    }

    /// The op at `at` emptied a whole namespace: as in Redis, that is not told key by key.
    pub fn note_cut(&mut self, at: Position) {
        self.cut = Some(at);
    }

    /// The keys that changed, with the number of their namespace.
    pub fn into_keys(self) -> impl Iterator<Item = (u8, Bytes, Parts)> {
        self.keys.into_iter().map(|((space, key), parts)| (space, key, parts))
    }

    /// What a peer's change of these parts is called, after which a client sees `view`.
    pub(crate) fn event_names(parts: Parts, view: &View) -> impl Iterator<Item = Named> {
        let is_visible = view.value.is_some();
        let deadline = if view.deadline_ms.is_some() { "expire" } else { "persist" };
        let del = (!is_visible).then_some((Classes::GENERIC, "del"));
        let set = (is_visible && parts.value).then_some((Classes::STRING, "set"));
        // A SET that cleared a deadline is a SET.
        let moved = is_visible && parts.deadline && !(parts.value && view.deadline_ms.is_none());
        del.into_iter().chain(set).chain(moved.then_some((Classes::GENERIC, deadline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_and_shown_as_redis_does() {
        for (given, shown) in [
            ("KEA", "AKE"),
            ("KE$", "$KE"),
            ("gxKEt", "gxtKE"),
            ("KEg$lshzxetd", "AKE"),
            ("KEAm", "AKEm"),
            ("mK", "Km"),
            ("A", "A"),
            ("", ""),
            ("K$lshzxetdg", "AK"),
            ("KEn", "nKE"),
        ] {
            assert_eq!(Classes::parse(given.as_bytes()).unwrap().to_string(), shown, "{given}");
        }
        assert_eq!(Classes::parse(b"KEq"), None);
        for (letters, tells) in [("", false), ("A", false), ("KE", false), ("K$", true), ("Em", true)] {
            assert_eq!(Classes::parse(letters.as_bytes()).unwrap().tells(), tells, "{letters}");
        }
    }

    #[test]
    fn a_peers_change_is_named_by_what_it_left_behind() {
        let (value, deadline) = (Parts { value: true, deadline: false }, Parts { value: false, deadline: true });
        let both = Parts { value: true, deadline: true };
        let one = everett_mesh_proto::crdt::Value::Integer(1);
        let view = |value: bool, deadline_ms| View {
            value: value.then(|| one.clone()),
            deadline_ms,
            steady_until_ms: NEVER_MS,
            at: everett_mesh_proto::log::Commit(1),
        };
        let names = |parts, view: View| Watched::event_names(parts, &view).map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(value, view(true, None)), ["set"]);
        assert_eq!(names(both, view(true, Some(5))), ["set", "expire"]);
        assert_eq!(names(both, view(true, None)), ["set"]);
        assert_eq!(names(deadline, view(true, Some(5))), ["expire"]);
        assert_eq!(names(deadline, view(true, None)), ["persist"]);
        assert_eq!(names(both, view(false, None)), ["del"]);
    }
}
