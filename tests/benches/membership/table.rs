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

/// Seconds, of those that happened; how many did not.
pub(crate) fn percentile(times: &[Option<Duration>], percent: usize) -> String {
    let mut sorted = times.to_vec();
    // What never happened comes last.
    sorted.sort_by_key(|time| time.unwrap_or(Duration::MAX));
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1)) - 1;
    match sorted.get(at) {
        Some(Some(time)) => format!("{:.2}", time.as_secs_f64()),
        Some(None) => "never".into(),
        None => "-".into(),
    }
}
