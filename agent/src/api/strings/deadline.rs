//! Deadlines as options give them: seconds or milliseconds, from now or since 1970.

use super::Refusal;
use crate::api::resp::parse_i64;

/// What an option's number means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unit {
    /// The option's word.
    word: &'static str,
    ms: i64,
    relative: bool,
}

impl Unit {
    pub(super) const SECONDS: Self = Self { word: "ex", ms: 1_000, relative: true };
    pub(super) const MILLISECONDS: Self = Self { word: "px", ms: 1, relative: true };
    const ALL: [Self; 4] = [
        Self::SECONDS,
        Self::MILLISECONDS,
        Self { word: "exat", ms: 1_000, relative: false },
        Self { word: "pxat", ms: 1, relative: false },
    ];

    /// The unit of an option, if it is one of these.
    pub(super) fn of(option: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| option.eq_ignore_ascii_case(unit.word.as_bytes()))
    }

    /// The deadline in ms since 1970 that `number` names; it lies after 1970 and before the end of time.
    pub(super) fn deadline_ms(self, number: &[u8], now_ms: u64, command: &'static str) -> Result<u64, Refusal> {
        let invalid = Refusal::InvalidExpire(command);
        let number = parse_i64(number).ok_or(Refusal::NotInteger)?;
        if number <= 0 {
            return Err(invalid);
        }
        let base_ms = if self.relative { i64::try_from(now_ms).unwrap_or(i64::MAX) } else { 0 };
        let deadline_ms = number.checked_mul(self.ms).and_then(|ms| ms.checked_add(base_ms));
        deadline_ms.and_then(|ms| u64::try_from(ms).ok()).ok_or(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_outside_of_time_are_refused() {
        let invalid = Err(Refusal::InvalidExpire("set"));
        assert_eq!(Unit::SECONDS.deadline_ms(b"2", 500, "set"), Ok(2_500));
        assert_eq!(Unit::of(b"PxAt").unwrap().deadline_ms(b"2", 500, "set"), Ok(2));
        assert_eq!(Unit::SECONDS.deadline_ms(b"0", 500, "set"), invalid);
        assert_eq!(Unit::MILLISECONDS.deadline_ms(b"-1", 500, "set"), invalid);
        assert_eq!(Unit::SECONDS.deadline_ms(b"9223372036854775807", 0, "set"), invalid);
        assert_eq!(Unit::MILLISECONDS.deadline_ms(b"9223372036854775807", 1, "set"), invalid);
        assert_eq!(Unit::SECONDS.deadline_ms(b"x", 500, "set"), Err(Refusal::NotInteger));
        assert_eq!(Unit::of(b"keepttl"), None);
    }
}
