//! Decimal integers as the protocol writes and reads them.
//!
//! Apart from `str::parse` because a request's integer is stricter (no `+`, no leading zeros, no `-0`) and because a
//! reply's must not pass through the formatting machinery: most replies of a busy server hold one.

/// Reads an integer in its one canonical form; anything else is no integer.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        let scaled = value.checked_mul(10)?;
        value = if negative { scaled.checked_sub(digit)? } else { scaled.checked_add(digit)? };
    }
    Some(value)
}

/// Appends an integer in decimal.
pub(super) fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Appends an unsigned integer in decimal.
pub(super) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a remainder of ten fits a byte");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
