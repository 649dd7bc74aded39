//! Listing keys. They lie in order of their places, keyed hashes that no client can choose, so a cursor is simply the
//! place where to go on: a key that is there throughout is returned at least once, and nothing is kept between calls.

use std::ops::ControlFlow;

use rand::RngExt;

use super::{Call, Refusal, Stop};
use crate::api::glob;
use crate::api::resp::parse_i64;

/// How many keys a call looks at if it does not say.
const COUNT_DEFAULT: usize = 10;

/// The options of SCAN.
struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    strings: bool,
}

pub(super) fn scan(call: &mut Call<'_>) -> Result<(), Stop> {
    let cursor = cursor(call.arg(1)).ok_or(Refusal::InvalidCursor)?;
    let options = parse(call)?;
    let space = call.session().space;
    let (mut looked_at, mut last, mut next) = (0, cursor, 0);
    let mut found = Vec::new();
    call.host.data.walk(call.now, space, cursor, &mut |place, row_key| {
        // Keys that share a place are returned together: the cursor cannot tell them apart.
        if looked_at >= options.count && place != last {
            next = place;
            return ControlFlow::Break(());
        }
        (looked_at, last) = (looked_at + 1, place);
        let key = row_key.key();
        if options.strings && options.pattern.is_none_or(|pattern| glob::matches(pattern, &key, false)) {
            found.push(key);
        }
        ControlFlow::Continue(())
    })?;
    call.reflects_all();
    call.reply.array(2);
    call.reply.digits(next);
    call.reply.array(found.len());
    found.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

/// A cursor as clients are used to write it: none at all is the beginning, and a negative one counts from the end of the
/// numbers, as C reads it.
fn cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.is_empty() {
        return Some(0);
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain)?;
    Some(if negative { number.wrapping_neg() } else { number })
}

fn parse<'a>(call: &Call<'a>) -> Result<Options<'a>, Refusal> {
    let mut options = Options { pattern: None, count: COUNT_DEFAULT, strings: true };
    for at in (2..call.args.len()).step_by(2) {
        let value = call.args.get(at + 1).ok_or(Refusal::Syntax)?;
        if call.says(at, "count") {
            let count = parse_i64(value).ok_or(Refusal::NotInteger)?;
            options.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Refusal::Syntax)?;
        } else if call.says(at, "match") {
            options.pattern = Some(value);
        } else if call.says(at, "type") {
            options.strings = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(options)
}

pub(super) fn keys(call: &mut Call<'_>) -> Result<(), Stop> {
    let pattern = call.arg(1);
    let space = call.session().space;
    let mut found = Vec::new();
    call.host.data.walk(call.now, space, 0, &mut |_, row_key| {
        let key = row_key.key();
        if glob::matches(pattern, &key, false) {
            found.push(key);
        }
        ControlFlow::Continue(())
    })?;
    call.reflects_all();
    call.reply.array(found.len());
    found.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

pub(super) fn randomkey(call: &mut Call<'_>) -> Result<(), Stop> {
    let space = call.session().space;
    let place = call.host.random.random();
    let mut found = None;
    for from in [place, 0] {
        if found.is_none() {
            call.host.data.walk(call.now, space, from, &mut |_, row_key| {
                found = Some(row_key.key());
                ControlFlow::Break(())
            })?;
        }
    }
    call.reflects_all();
    match found {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        assert_eq!([cursor(b""), cursor(b"0"), cursor(b"+7")], [Some(0), Some(0), Some(7)]);
        assert_eq!([cursor(b"-1"), cursor(b"18446744073709551615")], [Some(u64::MAX); 2]);
        for nonsense in [&b" 0"[..], b"1.5", b"abc", b"18446744073709551616", b"-", b"++1", b"1 ", b"\xff"] {
            assert_eq!(cursor(nonsense), None, "{}", nonsense.escape_ascii());
        }
    }
}
