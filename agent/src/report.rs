//! Percentiles as a person reads them: one line a path, one table an agent.
//!
//! [`Line`] is the form in which percentiles leave the process (`MESH.HISTOGRAM`) and come back into a terminal, so
//! that both ends name the same figures. What this does not do: it records nothing, that is `metrics`.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// What is known of one path's latency since the agent started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The path's name, such as `command get` or `commit`.
    pub path: String,
    /// How many times it was taken.
    pub count: u64,
    /// How long that took together.
    pub sum_us: u64,
    /// Half of them took no longer than this.
    pub p50_us: u64,
    /// Nine in ten took no longer.
    pub p90_us: u64,
    /// Ninety-nine in a hundred.
    pub p99_us: u64,
    /// Nine hundred and ninety-nine in a thousand.
    pub p999_us: u64,
    /// The worst one.
    pub max_us: u64,
}

impl Line {
    /// The figures with the names they have in `MESH.HISTOGRAM`.
    pub fn figures(&self) -> [(&'static str, u64); 7] {
        [
            ("count", self.count),
            ("sum_us", self.sum_us),
            ("p50_us", self.p50_us),
            ("p90_us", self.p90_us),
            ("p99_us", self.p99_us),
            ("p999_us", self.p999_us),
            ("max_us", self.max_us),
        ]
    }

    /// The line of `path` whose figures `figure` looks up by name; `None` if one is missing.
    pub fn from_figures(path: String, figure: impl Fn(&str) -> Option<u64>) -> Option<Self> {
        Some(Self {
            path,
            count: figure("count")?,
            sum_us: figure("sum_us")?,
            p50_us: figure("p50_us")?,
            p90_us: figure("p90_us")?,
            p99_us: figure("p99_us")?,
            p999_us: figure("p999_us")?,
            max_us: figure("max_us")?,
        })
    }
}

/// A table of `lines`, in their order.
pub fn table(lines: &[Line]) -> String {
    let mut table = plain(&["path", "count", "p50", "p90", "p99", "p99.9", "max"]);
    for line in lines {
        let [(_, count), _, times @ ..] = line.figures();
        let figures = times.map(|(_, time_us)| duration(time_us));
        let row = [line.path.clone(), count.to_string()].into_iter().chain(figures);
        table.add_row(row.collect::<Vec<_>>());
    }
    align_right(&mut table, 1);
    trimmed(&table)
}

/// An unruled table with these column names.
pub fn plain(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.to_vec());
    table
}

/// Aligns every column from the `first` one on to the right, as figures are read.
pub fn align_right(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The table's text without the blanks that end its lines.
pub fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A time with three significant digits and the unit that suits it.
pub fn duration(time_us: u64) -> String {
    let (value, unit) = match time_us {
        0..1_000 => return format!("{time_us} µs"),
        1_000..1_000_000 => (time_us as f64 / 1e3, "ms"),
        _ => (time_us as f64 / 1e6, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let shown = [7, 999, 1_000, 12_340, 456_789, 1_500_000].map(duration);
        assert_eq!(shown, ["7 µs", "999 µs", "1.00 ms", "12.3 ms", "457 ms", "1.50 s"]);
    }

    #[test]
    fn a_line_survives_its_figures() {
        let line =
            Line { path: "commit".into(), count: 6, sum_us: 9, p50_us: 1, p90_us: 2, p99_us: 3, p999_us: 4, max_us: 5 };
        let figures = line.figures();
        let find = |name: &str| figures.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        assert_eq!(Line::from_figures("commit".into(), find), Some(line));
        assert_eq!(Line::from_figures("commit".into(), |name| (name != "p90_us").then_some(1)), None);
    }

    #[test]
    fn a_table_has_a_row_for_each_line() {
        let line = |path: &str| Line::from_figures(path.into(), |_| Some(1_500));
        let lines: Vec<_> = [line("command get"), line("commit")].into_iter().flatten().collect();
        let text = table(&lines);
        let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["path", "count", "p50", "p90", "p99", "p99.9", "max"]);
        assert_eq!(rows[1][..4], ["command", "get", "1500", "1.50"]);
        assert_eq!(rows.len(), 3);
    }
}
