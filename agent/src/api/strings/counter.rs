//! Counting: increments of several agents add up, so only the amount is written, never the sum.

use super::{Bytes, Call, Edit, Refusal, Stop};

pub(super) fn incr(call: &mut Call<'_>) -> Result<(), Stop> {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Result<(), Stop> {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> Result<(), Stop> {
    let by = call.int(2)?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call<'_>) -> Result<(), Stop> {
    let by = call.int(2)?;
    add(call, by.checked_neg().ok_or(Refusal::DecrementOverflow)?)
}

fn add(call: &mut Call<'_>, by: i64) -> Result<(), Stop> {
    let key = call.key(1)?;
    let now = match call.view(key)?.value {
        None => 0,
        // Sums of several agents' increments may have left the range of what a client can count in.
        Some(value) => value.integer().and_then(|sum| i64::try_from(sum).ok()).ok_or(Refusal::NotInteger)?,
    };
    let sum = now.checked_add(by).ok_or(Refusal::Overflow)?;
    call.edit(vec![Edit::Add { key: Bytes::copy_from_slice(key), by }])?;
    call.reply.int(sum);
    Ok(())
}
