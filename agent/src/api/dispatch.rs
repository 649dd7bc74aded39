//! From a request's words to the function that executes it.
//!
//! Here stand the checks that no command makes itself: does it exist, has it the right number of words, is it answered
//! in the agent's present phase.

use everett_mesh_proto::time::Now;

use super::call::{Call, Flow, Reflects};
use super::command::{Command, Flags};
use super::host::{Host, Phase};
use super::pubsub;
use super::refusal::{Refusal, Stop, quoted};
use super::resp::{Args, Reply};
use crate::store::StoreError;

/// What is left to the loop after a command.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The command's number in the table; none if it is unknown.
    pub command: Option<usize>,
    /// What the connection does next.
    pub flow: Flow,
    /// What the reply reflects.
    pub reflects: Reflects,
    /// Messages that the command published to its own connection stand before the reply.
    pub carries_post: bool,
}

/// Executes one request of the connection in slot `me`, appending its one reply to `out`. An error is the store's.
pub fn execute(host: &mut Host, me: usize, args: Args<'_>, out: &mut Vec<u8>, now: Now) -> Result<Outcome, StoreError> {
    let session = host.sessions.of_mut(me);
    session.active = now.mono;
    let mut reply = Reply::new(out, session.proto);
    host.stats.commands += 1;
    let Some((number, command)) = host.table.find(&args[0]) else {
        unknown(args, &mut reply);
        return Ok(Outcome { command: None, flow: Flow::Next, reflects: Reflects::default(), carries_post: false });
    };
    host.sessions.of_mut(me).last = Some((command, None));
    let start = reply.start();
    let mut call = Call { args, reply, host, me, now, command, flow: Flow::Next, reflects: Reflects::default() };
    let done = admitted(&call).map_err(Stop::from).and_then(|()| (command.run)(&mut call));
    match done {
        Ok(()) => {}
        Err(Stop::Refused(refusal)) => refusal.replace(&mut call.reply),
        Err(Stop::Store(error)) => return Err(error),
    }
    let (flow, reflects) = (call.flow, call.reflects);
    let mut outcome = Outcome { command: Some(number), flow, reflects, carries_post: false };
    if host.sessions.has_post() {
        // What a command publishes to its own connection comes before its reply, never inside it.
        let own = host.sessions.take_post_for(me);
        outcome.carries_post = !own.is_empty();
        out.splice(start..start, own);
    }
    Ok(outcome)
}

/// Executes the subcommand that the second word names.
pub(super) fn subcommand(call: &mut Call<'_>) -> Result<(), Stop> {
    let container = call.command;
    let name = call.arg(1);
    let unknown = || Refusal::UnknownSubcommand { subcommand: quoted(name), container: container.name.to_uppercase() };
    let command = container.subcommand(name).ok_or_else(unknown)?;
    if !command.takes_words(call.args.len()) {
        return Err(Refusal::Arity(format!("{}|{}", container.name, command.name)).into());
    }
    call.session().last = Some((container, Some(command)));
    call.command = command;
    (command.run)(call)
}

/// Answers `HELP` of a container with its subcommands.
pub(super) fn help(call: &mut Call<'_>) -> Result<(), Stop> {
    let name = call.arg(0).to_ascii_uppercase();
    let Some((_, container)) = call.host.table.find(&name) else { return Err(Refusal::Syntax.into()) };
    call.reply.array(1 + 2 * container.subcommands.len());
    let title = String::from_utf8_lossy(&name);
    call.reply.status(&format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for Command { name, syntax, summary, .. } in container.subcommands {
        call.reply.status(format!("{} {syntax}", name.to_uppercase()).trim_end());
        call.reply.status(&format!("    {summary}"));
    }
    Ok(())
}

fn admitted(call: &Call<'_>) -> Result<(), Refusal> {
    if !call.command.takes_words(call.args.len()) {
        return Err(Refusal::Arity(call.command.name.to_owned()));
    }
    if !call.command.flags.has(Flags::LISTENING) && pubsub::is_confined(call.host.sessions.of(call.me)) {
        refuse_listener(call)?;
    }
    match call.host.phase {
        Phase::Serving => Ok(()),
        _ if call.command.flags.has(Flags::LOADING) => Ok(()),
        Phase::Loading => Err(Refusal::Loading),
        Phase::Draining | Phase::Leaving => Err(Refusal::Closing),
    }
}

/// A connection of RESP2 that listens on channels is refused everything else, unless something else is wrong with it.
fn refuse_listener(call: &Call<'_>) -> Result<(), Refusal> {
    let container = call.command;
    if container.subcommands.is_empty() {
        return Err(Refusal::OnlyListens(container.name.to_owned()));
    }
    match call.args.get(1).and_then(|name| container.subcommand(name)) {
        Some(command) if command.takes_words(call.args.len()) => {
            Err(Refusal::OnlyListens(format!("{}|{}", container.name, command.name)))
        }
        None if call.args.len() == 1 => Err(Refusal::OnlyListens(container.name.to_owned())),
        Some(_) | None => Ok(()),
    }
}

/// The error for a name nobody answers to, with the beginning of what came with it.
fn unknown(args: Args<'_>, reply: &mut Reply<'_>) {
    const SHOWN_MAX: usize = 128;
    let clip = |word: &[u8], max: usize| word[..word.len().min(max)].to_vec();
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(clip(&args[0], SHOWN_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut shown = 0;
    for arg in args.from(1) {
        if shown >= SHOWN_MAX {
            break;
        }
        let word = clip(arg, SHOWN_MAX - shown);
        shown += word.len() + 3;
        text.push(b'\'');
        text.extend(word);
        text.extend_from_slice(b"' ");
    }
    reply.error_parts([text.as_slice()]);
}
