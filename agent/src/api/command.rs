//! What a command is: the line of the table that drives dispatch, arity errors, `COMMAND` and the documentation.
//!
//! One description, so that what `COMMAND DOCS` says and what the dispatcher does cannot differ. Descriptions are
//! constants beside the functions they describe; [`Table`](super::table::Table) gathers them.

use super::call::Call;
use super::refusal::Stop;

/// Executes one command: writes its reply, or stops: refused, or the store failed.
pub type Handler = fn(&mut Call<'_>) -> Result<(), Stop>;

/// One command, or one subcommand of a container such as `CLIENT`.
#[derive(Debug)]
pub struct Command {
    /// Its name in lower case; a subcommand's without its container's.
    pub name: &'static str,
    /// How many words it takes, its name (and its container's) included; negative: at least so many.
    pub arity: i32,
    /// What kind of command it is.
    pub flags: Flags,
    /// Which of its words are keys.
    pub keys: Keys,
    /// The family it is listed under.
    pub group: Group,
    /// Since when it exists: the version of Redis for its commands, of Everett for its own.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its arguments, in the notation of [`syntax`](super::syntax).
    pub syntax: &'static str,
    /// The subcommands of a container.
    pub subcommands: &'static [Command],
    /// What executes it.
    pub run: Handler,
}

impl Command {
    /// A keyless command of no particular kind, to be described further.
    pub const fn new(name: &'static str, arity: i32, group: Group, run: Handler) -> Self {
        Self {
            name,
            arity,
            flags: Flags(0),
            keys: Keys::NONE,
            group,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "",
            syntax: "",
            subcommands: &[],
            run,
        }
    }

    /// With these flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// With keys among its words.
    pub const fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// With its description: the version it came with, its cost, its summary, its arguments.
    pub const fn docs(mut self, since: &'static str, complexity: &'static str, summary: &'static str) -> Self {
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    /// With its arguments in the notation of [`syntax`](super::syntax).
    pub const fn takes(mut self, syntax: &'static str) -> Self {
        self.syntax = syntax;
        self
    }

    /// With subcommands: it becomes a container.
    pub const fn container(mut self, subcommands: &'static [Command]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether a request of `words` words may be this command.
    pub fn takes_words(&self, words: usize) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { words >= least } else { words == least }
    }

    /// The subcommand of that name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Properties of a command, a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u16);

impl Flags {
    /// Changes data.
    pub const WRITE: Self = Self(1);
    /// Reads data.
    pub const READONLY: Self = Self(1 << 1);
    /// Takes time independent of the data's size.
    pub const FAST: Self = Self(1 << 2);
    /// May let data grow: refused where a quota is exceeded.
    pub const DENYOOM: Self = Self(1 << 3);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 4);
    /// Not from scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// Answered also while this agent has never held its cluster's data, and while it drains.
    pub const LOADING: Self = Self(1 << 6);
    /// Answered also with old data.
    pub const STALE: Self = Self(1 << 7);
    /// Answered also before authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// May keep its connection waiting.
    pub const BLOCKING: Self = Self(1 << 9);
    /// Costly or destructive enough to be kept from ordinary users.
    pub const DANGEROUS: Self = Self(1 << 10);
    /// About channels and their messages.
    pub const PUBSUB: Self = Self(1 << 11);
    /// Answered also on a connection of RESP2 that listens on channels.
    pub const LISTENING: Self = Self(1 << 12);

    /// The names clients know, with the flags they stand for.
    pub const NAMES: [(Self, &'static str); 11] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
    ];

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A reader of one key that takes constant time.
pub const READ: Flags = Flags::READONLY.and(Flags::FAST);
/// A reader whose time depends on the data.
pub const READ_SLOW: Flags = Flags::READONLY;
/// A writer that may let data grow.
pub const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// The same, in constant time.
pub const GROW_FAST: Flags = GROW.and(Flags::FAST);
/// A writer that never lets data grow.
pub const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
/// A command about the connection or the server rather than its data: always answered.
pub const ALWAYS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);

/// Which words of a request are keys: the first, the last (negative: from the end, -1 the last word), every how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys {
    /// The first key's index; 0: there are none.
    pub first: usize,
    /// The last key's index.
    pub last: i32,
    /// From one key to the next.
    pub step: usize,
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self { first: 0, last: 0, step: 0 };
    /// The first argument.
    pub const ONE: Self = Self { first: 1, last: 1, step: 1 };
    /// Every argument.
    pub const ALL: Self = Self { first: 1, last: -1, step: 1 };
    /// Every other argument, beginning with the first.
    pub const PAIRS: Self = Self { first: 1, last: -1, step: 2 };

    /// The indices of the keys in a request of `words` words.
    pub fn indices(self, words: usize) -> impl Iterator<Item = usize> {
        let end = match usize::try_from(self.last) {
            Ok(last) => last + 1,
            Err(_) => words.saturating_sub(self.last.unsigned_abs() as usize - 1),
        };
        let end = if self.first == 0 { 0 } else { end.min(words) };
        (self.first..end).step_by(self.step.max(1))
    }
}

/// The family a command is listed under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// About any key.
    Generic,
    /// About strings and counters.
    String,
    /// About the connection.
    Connection,
    /// About the server.
    Server,
    /// About channels and their messages.
    PubSub,
    /// About the mesh: words of Everett's own.
    Mesh,
}

impl Group {
    /// The name clients know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::PubSub => "pubsub",
            Self::Mesh => "mesh",
        }
    }

    /// The access category of its commands.
    pub fn category(self) -> &'static str {
        match self {
            Self::Generic => "@keyspace",
            Self::String => "@string",
            Self::Connection => "@connection",
            Self::Server => "@admin",
            Self::PubSub => "@pubsub",
            Self::Mesh => "@mesh",
        }
    }
}
