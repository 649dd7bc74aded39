//! Parts of values. A change of a part reads the whole value and writes it back: concurrent ones do not mix bytes, one
//! of them wins.

use super::{Bytes, Call, Edit, Expiry, Refusal, Stop};

pub(super) fn strlen(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    let len = call.view(key)?.value.map_or(0, |value| value.to_bytes().len());
    call.reply.count(len);
    Ok(())
}

pub(super) fn getrange(call: &mut Call<'_>) -> Result<(), Stop> {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let key = call.key(1)?;
    let value = call.view(key)?.value.map(|value| value.to_bytes()).unwrap_or_default();
    call.reply.bulk(slice(&value, start, end));
    Ok(())
}

/// The part from `start` to `end`, both included; negative ones count from the end.
fn slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_front = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => &value[start..=end],
        _ => &[],
    }
}

pub(super) fn append(call: &mut Call<'_>) -> Result<(), Stop> {
    let (key, tail) = (call.key(1)?, call.arg(2));
    let before = call.view(key)?.value.map(|value| value.to_bytes()).unwrap_or_default();
    let len = before.len() + tail.len();
    call.check_length(len)?;
    let mut value = Vec::with_capacity(len);
    value.extend_from_slice(&before);
    value.extend_from_slice(tail);
    write_back(call, key, value)
}

pub(super) fn setrange(call: &mut Call<'_>) -> Result<(), Stop> {
    let offset = call.int(2)?;
    let offset = usize::try_from(offset).map_err(|_| Refusal::OffsetOutOfRange)?;
    let (key, part) = (call.key(1)?, call.arg(3));
    let before = call.view(key)?.value.map(|value| value.to_bytes()).unwrap_or_default();
    if part.is_empty() {
        call.reply.count(before.len());
        return Ok(());
    }
    let end = offset.checked_add(part.len()).ok_or(Refusal::StringTooLong)?;
    call.check_length(end)?;
    let mut value = Vec::with_capacity(before.len().max(end));
    value.extend_from_slice(&before);
    value.resize(before.len().max(end), 0);
    value[offset..end].copy_from_slice(part);
    write_back(call, key, value)
}

fn write_back(call: &mut Call<'_>, key: &[u8], value: Vec<u8>) -> Result<(), Stop> {
    call.reply.count(value.len());
    let key = Bytes::copy_from_slice(key);
    call.edit(vec![Edit::Set { key, value: value.into(), expiry: Expiry::Keep }])
}

#[cfg(test)]
mod tests {
    use super::slice;

    #[test]
    fn parts_are_cut_as_redis_cuts_them() {
        let value = b"This is a string";
        for (start, end, part) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 2, ""),
            (-1, -3, ""),
            (-100, 3, "This"),
            (100, 200, ""),
            (0, -100, "T"),
            (i64::MIN, i64::MAX, "This is a string"),
        ] {
            assert_eq!(slice(value, start, end), part.as_bytes(), "{start} {end}");
        }
        assert_eq!(slice(b"", 0, -1), b"");
    }
}
