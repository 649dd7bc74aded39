//! `CLIENT`: what the server knows of its connections.

use std::fmt::{self, Display, Write};

use super::super::host::Host;
use super::super::session::Session;
use super::super::topics::Topic;
use super::{ALWAYS, Call, Command, Flow, Group, Refusal, Stop, help, parse_i64, quoted};

const fn sub(name: &'static str, arity: i32, run: super::super::command::Handler) -> Command {
    Command::new(name, arity, Group::Connection, run).flags(ALWAYS)
}

pub(super) const SUBCOMMANDS: &[Command] = &[
    sub("getname", 2, getname).docs("2.6.9", "O(1)", "Returns the connection's name."),
    sub("help", 2, help).docs("5.0.0", "O(1)", "Prints this help."),
    sub("id", 2, id).docs("5.0.0", "O(1)", "Returns the connection's number."),
    sub("info", 2, info).docs("6.2.0", "O(1)", "Describes the connection."),
    sub("kill", -3, kill)
        .docs("2.4.0", "O(N) where N is the number of connections", "Ends the chosen connections.")
        .takes(
            "<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR ip:port] \
             [LADDR ip:port] [SKIPME <YES | NO>]>",
        ),
    sub("list", -2, list)
        .docs("2.4.0", "O(N) where N is the number of connections", "Describes all connections, or the chosen ones.")
        .takes("[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]"),
    sub("no-evict", 3, on_off)
        .docs("7.0.0", "O(1)", "Accepted for clients that ask: no connection is ever evicted.")
        .takes("<ON | OFF>"),
    sub("no-touch", 3, on_off)
        .docs("7.2.0", "O(1)", "Accepted for clients that ask: reads never change what is kept.")
        .takes("<ON | OFF>"),
    sub("setinfo", 4, setinfo)
        .docs("7.2.0", "O(1)", "Tells the name or the version of the client's library.")
        .takes("<LIB-NAME libname | LIB-VER libver>"),
    sub("setname", 3, setname).docs("2.6.9", "O(1)", "Names the connection.").takes("connection-name"),
];

fn id(call: &mut Call<'_>) -> Result<(), Stop> {
    let id = call.session().id;
    call.reply.uint(id);
    Ok(())
}

fn setname(call: &mut Call<'_>) -> Result<(), Stop> {
    let name = call.arg(2);
    check_word(name, "Client names")?;
    call.session().name = name.to_vec();
    call.reply.ok();
    Ok(())
}

fn getname(call: &mut Call<'_>) -> Result<(), Stop> {
    let name = &call.host.sessions.of(call.me).name;
    if name.is_empty() {
        call.reply.null();
    } else {
        call.reply.bulk(name);
    }
    Ok(())
}

fn setinfo(call: &mut Call<'_>) -> Result<(), Stop> {
    let value = call.arg(3);
    if call.says(2, "lib-name") {
        check_word(value, "lib-name")?;
        call.session().library = value.to_vec();
    } else if call.says(2, "lib-ver") {
        check_word(value, "lib-ver")?;
        call.session().library_version = value.to_vec();
    } else {
        return Err(Refusal::UnrecognizedOption(quoted(call.arg(2))).into());
    }
    call.reply.ok();
    Ok(())
}

fn on_off(call: &mut Call<'_>) -> Result<(), Stop> {
    if !call.says(2, "on") && !call.says(2, "off") {
        return Err(Refusal::Syntax.into());
    }
    call.reply.ok();
    Ok(())
}

fn info(call: &mut Call<'_>) -> Result<(), Stop> {
    let line = format!("{}\n", Line { session: call.host.sessions.of(call.me), call });
    call.reply.verbatim(&line);
    Ok(())
}

fn list(call: &mut Call<'_>) -> Result<(), Stop> {
    let mut kind = None;
    let chosen = match call.args.len() {
        2 => None,
        4 if call.says(2, "type") => {
            kind = Some(ClientKind::named(call.arg(3))?);
            None
        }
        words if words > 3 && call.says(2, "id") => {
            let ids = call.args.from(3).map(|arg| parse_i64(arg).and_then(|id| u64::try_from(id).ok()));
            Some(ids.collect::<Option<Vec<u64>>>().ok_or(Refusal::ClientId)?)
        }
        _ => return Err(Refusal::Syntax.into()),
    };
    let mut sessions: Vec<&Session> = call.host.sessions.iter().collect();
    sessions.retain(|session| chosen.as_ref().is_none_or(|ids| ids.contains(&session.id)));
    sessions.retain(|session| kind.is_none_or(|kind| kind == ClientKind::of(session)));
    sessions.sort_unstable_by_key(|session| session.id);
    let mut text = String::new();
    for session in sessions {
        writeln!(text, "{}", Line { session, call }).expect("memory takes every write");
    }
    call.reply.verbatim(&text);
    Ok(())
}

/// Which connections `CLIENT KILL` is about.
#[derive(Debug, Default)]
struct Victims<'a> {
    id: Option<u64>,
    kind: Option<ClientKind>,
    address: Option<&'a [u8]>,
    spare_me: bool,
}

fn kill(call: &mut Call<'_>) -> Result<(), Stop> {
    let old_form = call.args.len() == 3;
    let victims = if old_form { Victims { address: Some(call.arg(2)), ..Victims::default() } } else { victims(call)? };
    let here = format!("{}:0", socket(call.host));
    let is_victim = |(slot, session): &(usize, &Session)| {
        let chosen = victims.id.is_none_or(|id| id == session.id) && !(victims.spare_me && *slot == call.me);
        chosen
            && victims.kind.is_none_or(|kind| kind == ClientKind::of(session))
            && victims.address.is_none_or(|address| address == here.as_bytes())
    };
    let slots: Vec<usize> = call.host.sessions.slots().filter(is_victim).map(|(slot, _)| slot).collect();
    if old_form && slots.is_empty() {
        return Err(Refusal::NoSuchClient.into());
    }
    for &slot in &slots {
        if slot == call.me {
            call.flow = Flow::Close;
        } else {
            call.host.sessions.kill(slot);
        }
    }
    if old_form {
        call.reply.ok();
    } else {
        call.reply.count(slots.len());
    }
    Ok(())
}

fn victims<'a>(call: &Call<'a>) -> Result<Victims<'a>, Refusal> {
    let mut victims = Victims { spare_me: true, ..Victims::default() };
    for at in (2..call.args.len()).step_by(2) {
        let value = call.args.get(at + 1).ok_or(Refusal::Syntax)?;
        if call.says(at, "id") {
            let id = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            victims.id = Some(id.ok_or(Refusal::ClientIdPositive)?);
        } else if call.says(at, "type") {
            victims.kind = Some(ClientKind::named(value)?);
        } else if call.says(at, "user") {
            if value != b"default" {
                return Err(Refusal::NoSuchUser(quoted(value)));
            }
        } else if call.says(at, "addr") || call.says(at, "laddr") {
            victims.address = Some(value);
        } else if call.says(at, "skipme") && (call.says(at + 1, "yes") || call.says(at + 1, "no")) {
            victims.spare_me = call.says(at + 1, "yes");
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(victims)
}

/// What a connection is for, in the words of Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientKind {
    Normal,
    /// It listens on channels.
    PubSub,
    /// The kinds that replicate in Redis; nobody is one here.
    Replication,
}

impl ClientKind {
    fn named(name: &[u8]) -> Result<Self, Refusal> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::PubSub),
            b"master" | b"replica" | b"slave" => Ok(Self::Replication),
            _ => Err(Refusal::ClientType(quoted(name))),
        }
    }

    fn of(session: &Session) -> Self {
        if session.subscriptions() > 0 { Self::PubSub } else { Self::Normal }
    }
}

/// One connection in the words of `CLIENT LIST`.
struct Line<'a, 'c> {
    session: &'a Session,
    call: &'a Call<'c>,
}

impl Display for Line<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { id, name, space, connected, active, library, library_version, .. } = self.session;
        let now = self.call.now.mono;
        let age = now.saturating_since(*connected).as_secs();
        let idle = now.saturating_since(*active).as_secs();
        let socket = socket(self.call.host);
        let [name, library, version] = [name, library, library_version].map(|word| String::from_utf8_lossy(word));
        write!(f, "id={id} addr={socket}:0 laddr={socket}:0 name={name} age={age} idle={idle} ")?;
        let [channels, patterns] = [Topic::Channel, Topic::Pattern].map(|topic| self.session.heard(topic).len());
        let flags = if channels + patterns > 0 { "PU" } else { "U" };
        write!(
            f,
            "flags={flags} db={space} sub={channels} psub={patterns} ssub=0 multi=-1 cmd={} user=default redir=-1 ",
            LastCommand(self.session)
        )?;
        write!(f, "resp={} lib-name={library} lib-ver={version}", self.session.proto.number())
    }
}

struct LastCommand<'a>(&'a Session);

impl Display for LastCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.last {
            None => f.write_str("NULL"),
            Some((command, None)) => f.write_str(command.name),
            Some((container, Some(command))) => write!(f, "{}|{}", container.name, command.name),
        }
    }
}

fn socket(host: &Host) -> &str {
    host.settings.iter().find(|(name, _)| *name == "unixsocket").map_or("", |(_, path)| path)
}

/// Names are shown in lines of words: they hold neither spaces nor control characters.
pub(super) fn check_word(word: &[u8], what: &'static str) -> Result<(), Refusal> {
    let printable = word.iter().all(u8::is_ascii_graphic);
    if printable { Ok(()) } else { Err(Refusal::SpecialCharacters(what)) }
}
