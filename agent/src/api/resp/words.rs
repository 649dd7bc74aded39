//! Inline commands: a line split into words, with quotes, as a person types it into a terminal.
//!
//! Apart because quoting changes bytes (`"\x00"` is one), so words of a line cannot be ranges of the input as a
//! multibulk's arguments are: they are written to a scratch buffer instead.

use std::ops::Range;

/// The line's quotes do not match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbalanced;

/// Splits `line` into words, appending their bytes to `scratch` and their places in it to `words`.
pub(super) fn split(line: &[u8], scratch: &mut Vec<u8>, words: &mut Vec<Range<usize>>) -> Result<(), Unbalanced> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = scratch.len();
        rest = word(rest, scratch)?;
        words.push(start..scratch.len());
    }
}

/// Takes one word from the front of `rest`; returns what follows it.
fn word<'a>(mut rest: &'a [u8], scratch: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            [b'"', tail @ ..] => return closed(double_quoted(tail, scratch)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, scratch)?),
            [byte, tail @ ..] if is_space(*byte) => return Ok(tail),
            [byte, tail @ ..] => {
                scratch.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote ends its word: a space or the end of the line must follow.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] => Ok(rest),
        [byte, tail @ ..] if is_space(*byte) => Ok(tail),
        _ => Err(Unbalanced),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], scratch: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                scratch.push(nibble(*high) << 4 | nibble(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                scratch.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                scratch.push(*byte);
                tail
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], scratch: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'\\', b'\'', tail @ ..] => {
                scratch.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return Ok(tail),
            [byte, tail @ ..] => {
                scratch.push(*byte);
                tail
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
