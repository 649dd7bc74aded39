//! Counting: increments of several agents add up, so only the amount is written, never the sum.

use everett_mesh_proto::replica::Counted;

use super::{Call, Refusal, Stop};

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
    match call.count(key, by)? {
        Counted::Sum(sum) => call.reply.int(sum),
        Counted::NoNumber => return Err(Refusal::NotInteger.into()),
        Counted::Overflow => return Err(Refusal::Overflow.into()),
    }
    Ok(())
}
