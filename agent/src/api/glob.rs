//! Patterns of `KEYS`, `SCAN MATCH` and `CONFIG GET`: `*`, `?`, `[a-z]`, `[^a]` and `\` before a literal.
//!
//! Apart because the pattern is a client's: matching goes back to the latest `*` only, so its time is bounded by the
//! product of the lengths and no pattern can stall the loop for longer than that.

/// Whether `text` matches `pattern`; `fold` compares without regard to ASCII case.
pub fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(width) = one(&pattern[p..], text[t], fold) {
            p += width;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether the pattern's first element, never a `*`, stands for `byte`; its width if so.
fn one(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let byte = folded(byte, fold);
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (found, width) = class_has(class, byte, fold);
            found.then_some(width + 1)
        }
        [b'\\', literal, ..] => (folded(*literal, fold) == byte).then_some(2),
        [literal, ..] => (folded(*literal, fold) == byte).then_some(1),
    }
}

/// Whether the class that begins after a `[` holds `byte`, and its width up to and with the `]`. A class that is
/// never closed ends with the pattern.
fn class_has(class: &[u8], byte: u8, fold: bool) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= folded(literal, fold) == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (folded(low, fold), folded(high, fold));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= folded(literal, fold) == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

fn folded(byte: u8, fold: bool) -> u8 {
    if fold { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_redis() {
        let yes = [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            ("\\*", "*"),
            ("[c-a]", "b"),
            ("a[b", "ab"),
            ("**a**", "xax"),
            ("h[\\]]llo", "h]llo"),
            ("a\\", "a\\"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        let no =
            [("", "a"), ("a", ""), ("a?", "a"), ("[^a]", "a"), ("[a-c]", "d"), ("a*b", "ac"), ("A", "a"), ("[]", "]")];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        assert!(matches(b"MaX*", b"maxclients", true));
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(20_000).as_bytes(), false));
    }
}
