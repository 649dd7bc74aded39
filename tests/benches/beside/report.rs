//! Figures as they are printed, and as a file keeps them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// What is asked of a figure's median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
    /// As near to one as this.
    NearOne(f64),
    /// Nothing: it is said for information.
    Nothing,
}

impl Asked {
    fn text(self) -> String {
        match self {
            Self::AtLeast(value) => format!(">= {value}"),
            Self::AtMost(value) => format!("<= {value}"),
            Self::NearOne(by) => format!("1 ± {by}"),
            Self::Nothing => String::new(),
        }
    }

    fn met_by(self, median: f64) -> Option<bool> {
        match self {
            Self::AtLeast(value) => Some(median >= value),
            Self::AtMost(value) => Some(median <= value),
            Self::NearOne(by) => Some((median - 1.0).abs() <= by),
            Self::Nothing => None,
        }
    }
}

/// Prints and keeps figures.
#[derive(Debug)]
pub(crate) struct Report {
    json: File,
    section: &'static str,
}

impl Report {
    /// Prints the head of the table; figures go to the file at `json` too, which begins anew.
    pub(crate) fn new(json: &Path) -> Self {
        if let Some(folder) = json.parent() {
            fs::create_dir_all(folder).expect("the folder of the file of figures can be made");
        }
        let json = File::create(json).expect("the file of figures can be written");
        println!("{:<52} {:>10} {:>10} {:>10}  {:<9} met", "figure", "min", "median", "max", "asked");
        Self { json, section: "" }
    }

    /// Figures that follow are this section's.
    pub(crate) fn begin(&mut self, section: &'static str) {
        self.section = section;
        println!("-- {section}");
    }

    /// One figure: a sample of each round.
    pub(crate) fn figure(&mut self, name: &str, samples: &[f64], asked: Asked) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return };
        let median = sorted[(sorted.len() - 1) / 2];
        let met = asked.met_by(median);
        let word = met.map_or("", |met| if met { "yes" } else { "no" });
        let [least, middle, most] = [*min, median, *max].map(readable);
        println!("{name:<52} {least:>10} {middle:>10} {most:>10}  {:<9} {word}", asked.text());
        let mut line = format!("{{\"section\":\"{}\",\"figure\":\"{name}\",\"samples\":{samples:?}", self.section);
        line.push_str(",\"asked\":");
        // Writing to a string does not fail.
        let _ = match met {
            Some(met) => writeln!(line, "\"{}\",\"met\":{met}}}", asked.text()),
            None => writeln!(line, "null}}"),
        };
        self.json.write_all(line.as_bytes()).expect("the file of figures can be written");
    }

    /// One figure of one sample.
    pub(crate) fn single(&mut self, name: &str, sample: f64, asked: Asked) {
        self.figure(name, &[sample], asked);
    }
}

fn readable(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. | 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
