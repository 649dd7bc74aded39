//! `MESH.*`: what this agent knows of the mesh, for programs. Maps in RESP3, flat arrays of names and values in RESP2.

use super::super::call::{Call, Flow, Wait};
use super::super::command::{ALWAYS, Command, Flags, Group, Handler, Keys};
use super::super::host::Phase;
use super::super::refusal::{Refusal, Stop};
use super::facts::{Fact, facts, figures};
use crate::durability::Durability;
use crate::peers::ANSWER_PATIENCE;

const fn mesh(name: &'static str, arity: i32, run: Handler) -> Command {
    Command::new(name, arity, Group::Mesh, run).flags(ALWAYS)
}

/// This family's part of the table.
pub(in super::super) const COMMANDS: &[Command] = &[
    mesh("mesh.digest", 1, digest).docs(
        "0.1.0",
        "O(N) where N is the number of rows changed since the last flush",
        "Returns the root over each namespace's rows, after flushing them: equal on agents that hold the same.",
    ),
    mesh("mesh.durability", -1, durability)
        .docs(
            "0.1.0",
            "O(1)",
            "Returns when this connection's writes are answered, or chooses it: once they are on the disk (commit), at once \
             with the disk a second behind at most (interval), or as the namespace has it (default).",
        )
        .takes("[COMMIT | INTERVAL | DEFAULT]"),
    mesh("mesh.histogram", 1, histogram).docs(
        "0.1.0",
        "O(N) where N is the number of paths measured",
        "Returns the percentiles of everything that is measured.",
    ),
    mesh("mesh.info", 1, info).docs("0.1.0", "O(1)", "Describes this agent."),
    mesh("mesh.lag", 1, lag).docs(
        "0.1.0",
        "O(N) where N is the number of members",
        "Returns how far each peer is behind this agent's writes.",
    ),
    mesh("mesh.leave", 1, leave).flags(ALWAYS.and(Flags::ADMIN)).docs(
        "0.1.0",
        "O(1)",
        "Lets this agent finish, give up its leases, take its leave of the mesh, and end.",
    ),
    mesh("mesh.peers", 1, peers).docs(
        "0.1.0",
        "O(N) where N is the number of members",
        "Describes all other members, one map each.",
    ),
    mesh("mesh.siblings", 2, siblings)
        .flags(Flags::READONLY)
        .keys(Keys::ONE)
        .docs("0.1.0", "O(N) where N is the number of values", "Returns a key's concurrent values, the winner first.")
        .takes("key"),
    mesh("mesh.verify", 2, verify)
        .docs(
            "0.1.0",
            "O(1) for equal content; O(N) where N is the number of rows that differ",
            "Compares this namespace with another node's, mends what differs, and names it.",
        )
        .takes("node"),
];

fn write(call: &mut Call<'_>, facts: &[(&'static str, Fact)]) {
    call.reply.map(facts.len());
    for (name, fact) in facts {
        call.reply.bulk(name.as_bytes());
        fact.write(&mut call.reply);
    }
}

fn info(call: &mut Call<'_>) -> Result<(), Stop> {
    let facts = facts(call);
    write(call, &facts);
    Ok(())
}

fn peers(call: &mut Call<'_>) -> Result<(), Stop> {
    let reports = call.host.peers.report(call.now, &call.host.data.replica);
    call.reply.array(reports.len());
    for report in reports {
        write(call, &figures(&report));
    }
    Ok(())
}

fn lag(call: &mut Call<'_>) -> Result<(), Stop> {
    let reports = call.host.peers.report(call.now, &call.host.data.replica);
    call.reply.map(reports.len());
    for report in reports {
        call.reply.bulk(report.node.as_bytes());
        let mut figures = figures(&report);
        figures.retain(|(name, _)| matches!(*name, "state" | "lag_ops" | "lag_ms"));
        write(call, &figures);
    }
    Ok(())
}

fn leave(call: &mut Call<'_>) -> Result<(), Stop> {
    // The loop sees it at the end of its turn.
    call.host.phase = Phase::Leaving;
    call.reply.ok();
    Ok(())
}

fn histogram(call: &mut Call<'_>) -> Result<(), Stop> {
    let names: Vec<&str> = call.host.table.iter().map(|command| command.name).collect();
    let lines = call.host.metrics.lines(|number| names[number]);
    call.reply.map(lines.len());
    for line in lines {
        call.reply.bulk(line.path.as_bytes());
        let figures = line.figures();
        call.reply.map(figures.len());
        for (name, figure) in figures {
            call.reply.bulk(name.as_bytes());
            call.reply.uint(figure);
        }
    }
    Ok(())
}

fn durability(call: &mut Call<'_>) -> Result<(), Stop> {
    if call.args.len() > 2 {
        return Err(Refusal::Arity(call.command.name.to_owned()).into());
    }
    let Some(word) = call.args.get(1) else {
        let space = call.session().space;
        let level = call.host.sessions.durability(call.me, space);
        call.reply.bulk(level.name().as_bytes());
        return Ok(());
    };
    let chosen = if call.says(1, "default") { None } else { Some(Durability::parse(word).ok_or(Refusal::Syntax)?) };
    call.session().durability = chosen;
    // From this reply on, all that was answered before is as durable as the new level says.
    let space = call.session().space;
    if call.host.sessions.durability(call.me, space) == Durability::Commit {
        call.reflects_all_durably();
    }
    call.reply.ok();
    Ok(())
}

fn digest(call: &mut Call<'_>) -> Result<(), Stop> {
    call.flow = Flow::Wait(Wait::Digest { commit: call.host.data.replica.commit() });
    Ok(())
}

fn verify(call: &mut Call<'_>) -> Result<(), Stop> {
    let name = call.arg(1);
    let listed = call.host.peers.roster().iter().find(|listed| !listed.own && listed.name.as_bytes() == name);
    let peer = listed.map(|listed| listed.node).ok_or(Refusal::UnknownNode)?;
    let number = call.session().space;
    let space = call.host.data.space(number).clone();
    let question = call.host.peers.questions.ask(peer, space);
    call.flow = Flow::Wait(Wait::Verify { question, until: call.now.mono + ANSWER_PATIENCE });
    Ok(())
}

fn siblings(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    // The view says what the reply reflects.
    call.view(key)?;
    let space = call.session().space;
    let data = &call.host.data;
    let siblings = data.replica.siblings(call.now, &data.rows, data.space(space), key)?;
    call.reply.array(siblings.len());
    for sibling in siblings {
        call.reply.map(4);
        call.reply.bulk(b"value");
        call.reply.bulk(&sibling.bytes);
        call.reply.bulk(b"stamp_ms");
        call.reply.uint(sibling.stamp.ms());
        call.reply.bulk(b"replica");
        call.reply.text(&sibling.dot.replica);
        call.reply.bulk(b"seq");
        call.reply.uint(sibling.dot.seq);
    }
    Ok(())
}
