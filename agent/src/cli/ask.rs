//! What an agent answered, as a person reads it.

use std::time::SystemTime;

use serde_json::Value;

use crate::report;

/// A value as a person reads it, in the unit that its key's name ends with.
pub(super) fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::Null if key == "last_equal_ms" => "never".into(),
        Value::Null => "-".into(),
        Value::Bool(truth) => yes_or_no(*truth),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_i64(), key) {
            (Some(truth @ (0 | 1)), "root_equal") => yes_or_no(truth == 1),
            (Some(at_ms), "last_equal_ms") => ago(at_ms, now_ms()),
            (Some(time_us), _) if key.ends_with("_us") => signed(time_us, 1),
            (Some(time_ms), _) if key.ends_with("_ms") => signed(time_ms, 1_000),
            (Some(_) | None, _) => number.to_string(),
        },
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A key without the unit that its name ends with, since [`shown`] says the unit.
pub(super) fn title(key: &str) -> &str {
    key.strip_suffix("_ms").or_else(|| key.strip_suffix("_us")).unwrap_or(key)
}

fn yes_or_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.into()
}

/// How long before `now_ms` a moment was, as a person says it.
fn ago(at_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - at_ms).max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn signed(time: i64, unit_us: u64) -> String {
    let sign = if time < 0 { "-" } else { "" };
    format!("{sign}{}", report::duration(time.unsigned_abs().saturating_mul(unit_us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_the_unit_of_their_name() {
        assert_eq!(shown("rtt_us", &Value::from(1_500)), "1.50 ms");
        assert_eq!(shown("offset_us", &Value::from(-20)), "-20 µs");
        assert_eq!(shown("lag_ms", &Value::from(2_000)), "2.00 s");
        assert_eq!(shown("lag_ops", &Value::from(2_000)), "2000");
        assert_eq!(shown("root_equal", &Value::from(1)), "yes");
        assert_eq!(shown("node", &Value::Null), "-");
        assert_eq!(shown("last_equal_ms", &Value::Null), "never");
        assert_eq!(shown("last_equal_ms", &Value::from(now_ms())), "0 s ago");
    }

    #[test]
    fn moments_are_told_by_their_distance() {
        let told = |seconds: i64| ago(1_000_000, 1_000_000 + seconds * 1_000);
        assert_eq!([3, 119, 120, 7_199].map(told), ["3 s ago", "119 s ago", "2 min ago", "119 min ago"]);
        assert_eq!([7_200, 172_800, -5].map(told), ["2 h ago", "2 d ago", "0 s ago"]);
    }
}
