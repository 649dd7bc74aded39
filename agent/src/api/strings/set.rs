//! Setting values, with conditions and deadlines. Conditions hold for what this agent sees; effects merge.

use everett_mesh_proto::crdt::NEVER_MS;

use super::deadline::Unit;
use super::{Bytes, Call, Edit, Expiry, Refusal, Stop};

/// When a SET takes place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Always,
    Missing,
    Present,
}

/// What an option says about the key's deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifetime<'a> {
    Unsaid,
    Keep,
    Persist,
    Until(Unit, &'a [u8]),
}

/// The options of SET.
struct Options<'a> {
    condition: Condition,
    get: bool,
    lifetime: Lifetime<'a>,
}

pub(super) fn set(call: &mut Call<'_>) -> Result<(), Stop> {
    let options = parse_set(call)?;
    let (key, value) = (call.key(1)?, call.value(2)?);
    let now_ms = call.now_ms();
    let expiry = match options.lifetime {
        Lifetime::Unsaid | Lifetime::Persist => Expiry::Clear,
        Lifetime::Keep => Expiry::Keep,
        Lifetime::Until(unit, number) => Expiry::At(unit.deadline_ms(number, now_ms, "set")?),
    };
    let needs_view = options.get || options.condition != Condition::Always;
    let before = if needs_view { call.view(key)?.value } else { None };
    let takes_place = match options.condition {
        Condition::Always => true,
        Condition::Missing => before.is_none(),
        Condition::Present => before.is_some(),
    };
    if takes_place {
        put(call, key, value, expiry)?;
    }
    match before {
        Some(before) if options.get => call.reply.bulk(&before.to_bytes()),
        _ if options.get || !takes_place => call.reply.null(),
        _ => call.reply.ok(),
    }
    Ok(())
}

/// A value whose deadline has passed already is as good as deleted.
fn put(call: &mut Call<'_>, key: &[u8], value: Bytes, expiry: Expiry) -> Result<(), Stop> {
    let key = Bytes::copy_from_slice(key);
    let edit = match expiry {
        Expiry::At(deadline_ms) if deadline_ms <= call.now_ms() => Edit::Delete { key },
        Expiry::At(_) | Expiry::Clear | Expiry::Keep => Edit::Set { key, value, expiry },
    };
    call.edit(vec![edit])
}

pub(super) fn setnx(call: &mut Call<'_>) -> Result<(), Stop> {
    let (key, value) = (call.key(1)?, call.value(2)?);
    let missing = call.view(key)?.value.is_none();
    if missing {
        put(call, key, value, Expiry::Clear)?;
    }
    call.reply.int(missing.into());
    Ok(())
}

pub(super) fn setex(call: &mut Call<'_>) -> Result<(), Stop> {
    set_until(call, Unit::SECONDS, "setex")
}

pub(super) fn psetex(call: &mut Call<'_>) -> Result<(), Stop> {
    set_until(call, Unit::MILLISECONDS, "psetex")
}

fn set_until(call: &mut Call<'_>, unit: Unit, command: &'static str) -> Result<(), Stop> {
    let deadline_ms = unit.deadline_ms(call.arg(2), call.now_ms(), command)?;
    let (key, value) = (call.key(1)?, call.value(3)?);
    put(call, key, value, Expiry::At(deadline_ms))?;
    call.reply.ok();
    Ok(())
}

pub(super) fn getex(call: &mut Call<'_>) -> Result<(), Stop> {
    let lifetime = parse_getex(call)?;
    let (key, now_ms) = (call.key(1)?, call.now_ms());
    let view = call.view(key)?;
    let Some(value) = view.value else {
        call.reply.null();
        return Ok(());
    };
    let deadline_ms = match lifetime {
        Lifetime::Until(unit, number) => Some(unit.deadline_ms(number, now_ms, "getex")?),
        Lifetime::Persist => view.deadline_ms.map(|_| NEVER_MS),
        Lifetime::Unsaid | Lifetime::Keep => None,
    };
    call.reply.bulk(&value.to_bytes());
    let key = Bytes::copy_from_slice(key);
    match deadline_ms {
        Some(deadline_ms) if deadline_ms <= now_ms => call.edit(vec![Edit::Delete { key }])?,
        Some(deadline_ms) => call.edit(vec![Edit::Expire { key, deadline_ms }])?,
        None => {}
    }
    Ok(())
}

fn parse_set<'a>(call: &Call<'a>) -> Result<Options<'a>, Refusal> {
    let mut options = Options { condition: Condition::Always, get: false, lifetime: Lifetime::Unsaid };
    let mut at = 3;
    while let Some(word) = call.args.get(at) {
        if call.says(at, "nx") && options.condition != Condition::Present {
            options.condition = Condition::Missing;
        } else if call.says(at, "xx") && options.condition != Condition::Missing {
            options.condition = Condition::Present;
        } else if call.says(at, "get") {
            options.get = true;
        } else if call.says(at, "keepttl") && matches!(options.lifetime, Lifetime::Unsaid | Lifetime::Keep) {
            options.lifetime = Lifetime::Keep;
        } else {
            options.lifetime = parse_unit(call, word, at, options.lifetime)?;
            at += 1;
        }
        at += 1;
    }
    Ok(options)
}

fn parse_getex<'a>(call: &Call<'a>) -> Result<Lifetime<'a>, Refusal> {
    let mut lifetime = Lifetime::Unsaid;
    let mut at = 2;
    while let Some(word) = call.args.get(at) {
        if call.says(at, "persist") && matches!(lifetime, Lifetime::Unsaid | Lifetime::Persist) {
            lifetime = Lifetime::Persist;
        } else {
            lifetime = parse_unit(call, word, at, lifetime)?;
            at += 1;
        }
        at += 1;
    }
    Ok(lifetime)
}

/// A deadline's option and its number; there may be one. Given twice in one unit, the later number counts.
fn parse_unit<'a>(call: &Call<'a>, word: &[u8], at: usize, so_far: Lifetime<'_>) -> Result<Lifetime<'a>, Refusal> {
    let unit = Unit::of(word).ok_or(Refusal::Syntax)?;
    let free = match so_far {
        Lifetime::Unsaid => true,
        Lifetime::Until(earlier, _) => earlier == unit,
        Lifetime::Keep | Lifetime::Persist => false,
    };
    match call.args.get(at + 1) {
        Some(number) if free => Ok(Lifetime::Until(unit, number)),
        _ => Err(Refusal::Syntax),
    }
}
