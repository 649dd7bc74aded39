//! Commands about the connection itself.

use super::call::{Call, Flow};
use super::command::{ALWAYS, Command, Flags, Group};
use super::dispatch::{help, subcommand};
use super::pubsub;
use super::refusal::{Refusal, Stop, quoted};
use super::resp::{Proto, parse_i64};

mod client;

const FAST: Flags = ALWAYS.and(Flags::FAST);
const OPEN: Flags = FAST.and(Flags::NO_AUTH);

const fn connection(name: &'static str, arity: i32, run: super::command::Handler) -> Command {
    Command::new(name, arity, Group::Connection, run).flags(FAST)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[
    connection("auth", -2, auth)
        .flags(OPEN)
        .docs("1.0.0", "O(1)", "Says who the connection belongs to.")
        .takes("[username] password"),
    connection("client", -2, subcommand)
        .flags(ALWAYS)
        .docs("2.4.0", "Depends on subcommand.", "Commands about connections.")
        .container(client::SUBCOMMANDS),
    connection("echo", 2, echo)
        .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST))
        .docs("1.0.0", "O(1)", "Returns the given message.")
        .takes("message"),
    connection("hello", -1, hello)
        .flags(OPEN)
        .docs("6.0.0", "O(1)", "Chooses the protocol version and tells who answers.")
        .takes("[protover [AUTH username password] [SETNAME clientname]]"),
    connection("ping", -1, ping)
        .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::LISTENING))
        .docs("1.0.0", "O(1)", "Returns PONG, or the given message.")
        .takes("[message]"),
    connection("quit", -1, quit).flags(OPEN.and(Flags::LISTENING)).docs(
        "1.0.0",
        "O(1)",
        "Ends the connection after its replies.",
    ),
    connection("reset", 1, reset).flags(OPEN.and(Flags::LISTENING)).docs(
        "6.2.0",
        "O(1)",
        "Puts the connection back to how it began.",
    ),
    connection("select", 2, select)
        .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST))
        .docs("1.0.0", "O(1)", "Looks at the namespace named by the number.")
        .takes("index"),
];

/// How many numbered namespaces `SELECT` reaches.
pub const NUMBERED_SPACES: u8 = 16;

fn auth(call: &mut Call<'_>) -> Result<(), Stop> {
    match call.args.len() {
        2 => Err(Refusal::NoPassword.into()),
        3 => {
            check_user(call.arg(1))?;
            call.reply.ok();
            Ok(())
        }
        _ => Err(Refusal::Syntax.into()),
    }
}

/// Anybody who can open the socket is the default user, whatever the password; there is no other.
fn check_user(user: &[u8]) -> Result<(), Refusal> {
    if user == b"default" { Ok(()) } else { Err(Refusal::WrongPass) }
}

fn echo(call: &mut Call<'_>) -> Result<(), Stop> {
    let message = call.arg(1);
    call.reply.bulk(message);
    Ok(())
}

fn hello(call: &mut Call<'_>) -> Result<(), Stop> {
    let mut proto = call.session().proto;
    let mut name = None;
    if let Some(version) = call.args.get(1) {
        proto = match parse_i64(version).ok_or(Refusal::ProtoNotInteger)? {
            2 => Proto::Resp2,
            3 => Proto::Resp3,
            _ => return Err(Refusal::NoProto.into()),
        };
        let mut at = 2;
        while let Some(option) = call.args.get(at) {
            let left = call.args.len() - at - 1;
            if call.says(at, "auth") && left >= 2 {
                check_user(call.arg(at + 1))?;
                at += 3;
            } else if call.says(at, "setname") && left >= 1 {
                name = Some(call.arg(at + 1));
                client::check_word(call.arg(at + 1), "Client names")?;
                at += 2;
            } else {
                return Err(Refusal::HelloOption(quoted(option)).into());
            }
        }
    }
    let session = call.session();
    session.proto = proto;
    let id = session.id;
    if let Some(name) = name {
        session.name = name.to_vec();
    }
    call.reply.set_proto(proto);
    greeting(call, proto, id);
    Ok(())
}

fn greeting(call: &mut Call<'_>, proto: Proto, id: u64) {
    let reply = &mut call.reply;
    reply.map(7);
    for (key, value) in [("server", "everett"), ("version", env!("CARGO_PKG_VERSION"))] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(proto.number().into());
    reply.bulk(b"id");
    reply.uint(id);
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

fn ping(call: &mut Call<'_>) -> Result<(), Stop> {
    let is_confined = pubsub::is_confined(call.session());
    match call.args.len() {
        words @ (1 | 2) if is_confined => {
            let message = if words == 2 { call.arg(1) } else { b"" };
            pubsub::pong(message, &mut call.reply);
        }
        1 => call.reply.status("PONG"),
        2 => echo(call)?,
        _ => return Err(Refusal::Arity("ping".to_owned()).into()),
    }
    Ok(())
}

fn quit(call: &mut Call<'_>) -> Result<(), Stop> {
    call.flow = Flow::Close;
    call.reply.ok();
    Ok(())
}

fn reset(call: &mut Call<'_>) -> Result<(), Stop> {
    pubsub::silence(&mut call.host.sessions, call.me);
    call.session().reset();
    call.reply.set_proto(Proto::Resp2);
    call.reply.status("RESET");
    Ok(())
}

fn select(call: &mut Call<'_>) -> Result<(), Stop> {
    let index = call.int(1)?;
    if !(0..i64::from(NUMBERED_SPACES)).contains(&index) {
        return Err(Refusal::DbIndex.into());
    }
    call.session().space = u8::try_from(index).expect("a numbered namespace fits a byte");
    call.reply.ok();
    Ok(())
}
