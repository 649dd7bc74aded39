//! Deadlines of keys: setting, taking away, asking.

use everett_mesh_proto::crdt::NEVER_MS;

use super::{Bytes, Call, Edit, Refusal, Stop};
use crate::api::refusal::quoted;

pub(super) fn expire(call: &mut Call<'_>) -> Result<(), Stop> {
    let base_ms = call.now_ms();
    set_deadline(call, "expire", 1_000, base_ms)
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Result<(), Stop> {
    let base_ms = call.now_ms();
    set_deadline(call, "pexpire", 1, base_ms)
}

pub(super) fn expireat(call: &mut Call<'_>) -> Result<(), Stop> {
    set_deadline(call, "expireat", 1_000, 0)
}

pub(super) fn pexpireat(call: &mut Call<'_>) -> Result<(), Stop> {
    set_deadline(call, "pexpireat", 1, 0)
}

/// When a deadline is set, compared with the one in force.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "four options that a client may give in any combination")]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(call: &Call<'_>) -> Result<Self, Refusal> {
        let mut conditions = Self::default();
        for (index, word) in (3..).zip(call.args.from(3)) {
            let flag = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut conditions.only_without,
                b"xx" => &mut conditions.only_with,
                b"gt" => &mut conditions.only_later,
                b"lt" => &mut conditions.only_earlier,
                _ => return Err(Refusal::ExpireOption(quoted(call.arg(index)))),
            };
            *flag = true;
        }
        if conditions.only_without && (conditions.only_with || conditions.only_later || conditions.only_earlier) {
            return Err(Refusal::ExpireNxAndOthers);
        }
        if conditions.only_later && conditions.only_earlier {
            return Err(Refusal::ExpireGtAndLt);
        }
        Ok(conditions)
    }

    /// No deadline counts as one after all others.
    fn hold(&self, now: Option<u64>, deadline_ms: i64) -> bool {
        let now_ms = now.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.only_without && now.is_some()
            || self.only_with && now.is_none()
            || self.only_later && now_ms.is_none_or(|now_ms| deadline_ms <= now_ms)
            || self.only_earlier && now_ms.is_some_and(|now_ms| deadline_ms >= now_ms))
    }
}

fn set_deadline(call: &mut Call<'_>, command: &'static str, unit_ms: i64, base_ms: u64) -> Result<(), Stop> {
    let conditions = Conditions::parse(call)?;
    let number = call.int(2)?;
    let base_ms = i64::try_from(base_ms).unwrap_or(i64::MAX);
    let deadline_ms =
        number.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base_ms)).ok_or(Refusal::InvalidExpire(command))?;
    let key = call.key(1)?;
    let view = call.view(key)?;
    if view.value.is_none() || !conditions.hold(view.deadline_ms, deadline_ms) {
        call.reply.int(0);
        return Ok(());
    }
    let key = Bytes::copy_from_slice(key);
    let edit = match u64::try_from(deadline_ms) {
        Ok(deadline_ms) if deadline_ms > call.now_ms() => Edit::Expire { key, deadline_ms },
        // What expires in the past is deleted now.
        _ => Edit::Delete { key },
    };
    call.edit(vec![edit])?;
    call.reply.int(1);
    Ok(())
}

pub(super) fn persist(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    let had_deadline = call.view(key)?.deadline_ms.is_some();
    if had_deadline {
        call.edit(vec![Edit::Expire { key: Bytes::copy_from_slice(key), deadline_ms: NEVER_MS }])?;
    }
    call.reply.int(had_deadline.into());
    Ok(())
}

pub(super) fn ttl(call: &mut Call<'_>) -> Result<(), Stop> {
    let now_ms = call.now_ms();
    tell(call, |deadline_ms| to_seconds(deadline_ms.saturating_sub(now_ms)))
}

pub(super) fn pttl(call: &mut Call<'_>) -> Result<(), Stop> {
    let now_ms = call.now_ms();
    tell(call, |deadline_ms| deadline_ms.saturating_sub(now_ms))
}

pub(super) fn expiretime(call: &mut Call<'_>) -> Result<(), Stop> {
    tell(call, to_seconds)
}

pub(super) fn pexpiretime(call: &mut Call<'_>) -> Result<(), Stop> {
    tell(call, |deadline_ms| deadline_ms)
}

/// To the nearest second.
fn to_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

/// Replies with what `show` makes of the deadline: -1 if there is none, -2 if there is no such key.
fn tell(call: &mut Call<'_>, show: impl FnOnce(u64) -> u64) -> Result<(), Stop> {
    let key = call.key(1)?;
    let view = call.view(key)?;
    match (view.value, view.deadline_ms) {
        (None, _) => call.reply.int(-2),
        (Some(_), None) => call.reply.int(-1),
        (Some(_), Some(deadline_ms)) => call.reply.uint(show(deadline_ms)),
    }
    Ok(())
}
