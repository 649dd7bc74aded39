//! Errors by which a command is refused: the client's fault, the state unchanged.
//!
//! Their texts are those of Redis 7 word for word, since programs branch on them; where Everett refuses something
//! Redis has no word for, the text says what would have to change.

use super::resp::Reply;
use crate::store::StoreError;

/// Why a command did nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The words make no sense together.
    #[error("ERR syntax error")]
    Syntax,
    /// Too few or too many words.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    /// A container does not know this subcommand.
    #[error("ERR unknown subcommand '{subcommand}'. Try {container} HELP.")]
    UnknownSubcommand {
        /// What was asked for.
        subcommand: String,
        /// Of which command.
        container: String,
    },
    /// A number was expected, and one that fits.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A number was expected, and one that fits: the named thing.
    #[error("ERR {0} is not an integer or out of range")]
    NotIntegerOf(&'static str),
    /// The result of an increment would not fit.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// A decrement by the least integer cannot be negated.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// An offset beyond what a string may have.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// A string would become longer than the limit.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// The changes of one command are more than can be told to the peers at once.
    #[error("ERR the changes of one command exceed the maximum allowed size ({0} bytes)")]
    GroupTooLarge(usize),
    /// A key is longer than the limit.
    #[error("ERR key exceeds maximum allowed size ({0} bytes)")]
    KeyTooLong(usize),
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// A deadline that lies outside of time.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// `NX` excludes the other conditions of an expiry.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxAndOthers,
    /// Both cannot hold.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtAndLt,
    /// An expiry's condition is unknown.
    #[error("ERR Unsupported option {0}")]
    ExpireOption(String),
    /// Not a cursor that `SCAN` ever returned.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// There is no such key.
    #[error("ERR no such key")]
    NoSuchKey,
    /// Not one of the numbered namespaces.
    #[error("ERR DB index is out of range")]
    DbIndex,
    /// Not the name of another node.
    #[error("ERR no other node has that name")]
    UnknownNode,
    /// A timeout below zero.
    #[error("ERR timeout is negative")]
    TimeoutNegative,
    /// A protocol version nobody speaks here.
    #[error("NOPROTO unsupported protocol version")]
    NoProto,
    /// `HELLO` with something that is no number.
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtoNotInteger,
    /// `HELLO` with an option it does not know.
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    /// `AUTH` with a password where none is set.
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?"
    )]
    NoPassword,
    /// Not a user, or not this password.
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    /// A connection's name must be one word.
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    SpecialCharacters(&'static str),
    /// `CLIENT SETINFO` of something else than a library's name or version.
    #[error("ERR Unrecognized option '{0}'")]
    UnrecognizedOption(String),
    /// The asked-for type of clients does not exist.
    #[error("ERR Unknown client type '{0}'")]
    ClientType(String),
    /// A client id is no number.
    #[error("ERR Invalid client ID")]
    ClientId,
    /// A client id that nobody can have.
    #[error("ERR client-id should be greater than 0")]
    ClientIdPositive,
    /// No connection has the address.
    #[error("ERR No such client")]
    NoSuchClient,
    /// There is no such user.
    #[error("ERR No such user '{0}'")]
    NoSuchUser(String),
    /// `CONFIG SET` of what is not set while running.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    ConfigSet(String),
    /// `CONFIG SET` of one thing twice.
    #[error("ERR CONFIG SET failed (possibly related to argument '{0}') - duplicate parameter")]
    ConfigSetTwice(&'static str),
    /// `CONFIG SET notify-keyspace-events` with a letter that means nothing.
    #[error(
        "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. \
         Use 'Ag$lshzxeKEtmdn'."
    )]
    EventClass,
    /// `COMMAND GETKEYS` of what is no command.
    #[error("ERR Invalid command specified")]
    InvalidCommand,
    /// `COMMAND GETKEYS` of what is too short or too long to be that command.
    #[error("ERR Invalid number of arguments specified for command")]
    InvalidCommandArity,
    /// `COMMAND GETKEYS` of a command without keys.
    #[error("ERR The command has no key arguments")]
    NoKeys,
    /// A connection of RESP2 that listens on channels is told messages and nothing else.
    #[error(
        "ERR Can't execute '{0}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context"
    )]
    OnlyListens(String),
    /// A connection listens on too much.
    #[error("ERR too many subscriptions on one connection ({0} at most)")]
    TooManySubscriptions(usize),
    /// A pattern is longer than the limit.
    #[error("ERR pattern exceeds maximum allowed size ({0} bytes)")]
    PatternTooLong(usize),
    /// A container's subcommand got more words than it takes.
    #[error("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} HELP.")]
    SubcommandOrArity {
        /// What was asked for.
        subcommand: String,
        /// Of which command.
        container: String,
    },
    /// This agent has never held its cluster's data and is still waiting for a peer to give it.
    #[error("LOADING Everett is loading the dataset of its cluster")]
    Loading,
    /// The agent is on its way out and takes nothing new.
    #[error("ERR closing")]
    Closing,
}

/// Why a command ended early.
#[derive(Debug)]
pub enum Stop {
    /// The client's fault; the state is unchanged.
    Refused(Refusal),
    /// The store failed; the process ends.
    Store(StoreError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Refusal {
    /// Writes the refusal in place of whatever the command began to say.
    pub(super) fn replace(&self, reply: &mut Reply<'_>) {
        reply.retract();
        reply.error(self);
    }
}

/// A client's word inside an error text: as text, and not at any length.
pub(super) fn quoted(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned()
}
