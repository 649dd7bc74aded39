//! Commands of publish and subscribe: messages to whoever listens on this agent at this moment.
//!
//! Messages are local: PUBLISH reaches the clients of this agent, never those of another, and nothing of it is kept or
//! replicated. A message waits like a reply: it leaves once everything that its publisher's own replies reflect is
//! durable here.

use bytes::Bytes;

use super::call::Call;
use super::command::{Command, Flags, Group, Handler};
use super::dispatch::{help, subcommand};
use super::refusal::{Refusal, Stop, quoted};
use super::resp::Reply;
use super::session::{Session, Sessions};
use super::topics::{PATTERN_BYTES_MAX, SUBSCRIPTIONS_MAX, Topic};

/// Answered at any time.
const ANY_TIME: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);

/// Answered also on a connection that only listens.
const LISTENING: Flags = ANY_TIME.and(Flags::NOSCRIPT).and(Flags::LISTENING);

const fn pubsub(name: &'static str, arity: i32, flags: Flags, run: Handler) -> Command {
    Command::new(name, arity, Group::PubSub, run).flags(flags)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[
    pubsub("psubscribe", -2, LISTENING, psubscribe)
        .docs("2.0.0", "O(N) where N is the number of patterns", "Listens on the channels that match the patterns.")
        .takes("pattern [pattern ...]"),
    pubsub("publish", 3, ANY_TIME.and(Flags::FAST), publish)
        .docs(
            "2.0.0",
            "O(N+M) where N is the number of listeners and M the number of patterns",
            "Sends a message to this agent's clients that listen on the channel; returns how many do.",
        )
        .takes("channel message"),
    pubsub("pubsub", -2, Flags::LOADING.and(Flags::STALE), subcommand)
        .docs("2.8.0", "Depends on subcommand.", "Commands about channels.")
        .container(&[
            pubsub("channels", -2, ANY_TIME, channels)
                .docs("2.8.0", "O(N) where N is the number of channels", "Lists the channels that somebody listens on.")
                .takes("[pattern]"),
            pubsub("help", 2, Flags::LOADING.and(Flags::STALE), help).docs("6.2.0", "O(1)", "Prints this help."),
            pubsub("numpat", 2, ANY_TIME, numpat).docs(
                "2.8.0",
                "O(1)",
                "Counts the patterns that somebody listens on.",
            ),
            pubsub("numsub", -2, ANY_TIME, numsub)
                .docs("2.8.0", "O(N) where N is the number of channels", "Counts the listeners of each given channel.")
                .takes("[channel [channel ...]]"),
        ]),
    pubsub("punsubscribe", -1, LISTENING, punsubscribe)
        .docs("2.0.0", "O(N) where N is the number of patterns", "Listens on these patterns no more, or on none.")
        .takes("[pattern [pattern ...]]"),
    pubsub("subscribe", -2, LISTENING, subscribe)
        .docs("2.0.0", "O(N) where N is the number of channels", "Listens on the channels.")
        .takes("channel [channel ...]"),
    pubsub("unsubscribe", -1, LISTENING, unsubscribe)
        .docs("2.0.0", "O(N) where N is the number of channels", "Listens on these channels no more, or on none.")
        .takes("[channel [channel ...]]"),
];

fn subscribe(call: &mut Call<'_>) -> Result<(), Stop> {
    listen(call, Topic::Channel)
}

fn psubscribe(call: &mut Call<'_>) -> Result<(), Stop> {
    listen(call, Topic::Pattern)
}

fn unsubscribe(call: &mut Call<'_>) -> Result<(), Stop> {
    ignore(call, Topic::Channel);
    Ok(())
}

fn punsubscribe(call: &mut Call<'_>) -> Result<(), Stop> {
    ignore(call, Topic::Pattern);
    Ok(())
}

fn listen(call: &mut Call<'_>, topic: Topic) -> Result<(), Stop> {
    let names = call.args.len() - 1;
    if call.session().subscriptions() + names > SUBSCRIPTIONS_MAX {
        return Err(Refusal::TooManySubscriptions(SUBSCRIPTIONS_MAX).into());
    }
    for index in 1..=names {
        let name = call.key(index)?;
        if topic == Topic::Pattern && name.len() > PATTERN_BYTES_MAX {
            return Err(Refusal::PatternTooLong(PATTERN_BYTES_MAX).into());
        }
    }
    for index in 1..=names {
        let name = call.arg(index);
        call.host.sessions.listen(call.me, topic, Bytes::copy_from_slice(name));
        confirm(call, topic.subscribed(), Some(name));
    }
    Ok(())
}

fn ignore(call: &mut Call<'_>, topic: Topic) {
    if call.args.len() > 1 {
        for name in call.args.from(1) {
            call.host.sessions.ignore(call.me, topic, name);
            confirm(call, topic.unsubscribed(), Some(name));
        }
        return;
    }
    let names = call.session().heard(topic).clone();
    for name in &names {
        call.host.sessions.ignore(call.me, topic, name);
        confirm(call, topic.unsubscribed(), Some(name));
    }
    if names.is_empty() {
        confirm(call, topic.unsubscribed(), None);
    }
}

/// One line of the reply: what happened, to which name, and what the connection listens on now in all.
fn confirm(call: &mut Call<'_>, what: &str, name: Option<&[u8]>) {
    let count = call.session().subscriptions();
    call.reply.push(3);
    call.reply.bulk(what.as_bytes());
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.count(count);
}

fn publish(call: &mut Call<'_>) -> Result<(), Stop> {
    let reached = call.host.sessions.publish(call.arg(1), call.arg(2));
    call.reply.count(reached);
    Ok(())
}

fn channels(call: &mut Call<'_>) -> Result<(), Stop> {
    if call.args.len() > 3 {
        let (subcommand, container) = (quoted(call.arg(1)), "PUBSUB".to_owned());
        return Err(Refusal::SubcommandOrArity { subcommand, container }.into());
    }
    let pattern = call.args.get(2);
    let found: Vec<&Bytes> = call.host.sessions.topics().channels(pattern).collect();
    call.reply.array(found.len());
    found.into_iter().for_each(|channel| call.reply.bulk(channel));
    Ok(())
}

fn numpat(call: &mut Call<'_>) -> Result<(), Stop> {
    call.reply.count(call.host.sessions.topics().patterns());
    Ok(())
}

fn numsub(call: &mut Call<'_>) -> Result<(), Stop> {
    call.reply.map(call.args.len() - 2);
    for name in call.args.from(2) {
        call.reply.bulk(name);
        call.reply.count(call.host.sessions.topics().listeners(name));
    }
    Ok(())
}

/// Answers PING on a connection that can only be told messages: as one of them.
pub(super) fn pong(message: &[u8], reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk(b"pong");
    reply.bulk(message);
}

/// Ends all that a connection listens on, without a word.
pub(super) fn silence(sessions: &mut Sessions, me: usize) {
    for topic in [Topic::Channel, Topic::Pattern] {
        for name in sessions.of(me).heard(topic).clone() {
            sessions.ignore(me, topic, &name);
        }
    }
}

/// Whether a connection takes nothing but messages: one of RESP2, which cannot tell a message from a reply.
pub(super) fn is_confined(session: &Session) -> bool {
    session.proto == super::resp::Proto::Resp2 && session.subscriptions() > 0
}
