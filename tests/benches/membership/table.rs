//! Tables as they stand in the documentation.

use std::time::Duration;

/// Prints a table; the first cell of a row names who it is about.
pub(crate) fn print(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    println!("\n#### {title}\n| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// One line as soon as it is known, beside the table: a run takes minutes.
pub(crate) fn progress(figure: &str, shown: &[String]) {
    eprintln!("{figure}: {}", shown.join(" | "));
}

/// Seconds, of those that happened; how many did not.
pub(crate) fn percentile(times: &[Option<Duration>], percent: usize) -> String {
    if times.is_empty() { "-".into() } else { seconds(percentile_of(times, percent)) }
}

/// What so many of a hundred did not exceed; `None` if that never happened.
pub(crate) fn percentile_of(times: &[Option<Duration>], percent: usize) -> Option<Duration> {
    let mut sorted = times.to_vec();
    // What never happened comes last.
    sorted.sort_by_key(|time| time.unwrap_or(Duration::MAX));
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().flatten()
}

/// A time, if it came.
pub(crate) fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".into(), |time| format!("{:.2}", time.as_secs_f64()))
}
