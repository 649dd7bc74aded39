//! What was counted, as a file in the tree keeps it, and when a count is still the same.
//!
//! A count follows from the sources, the locked dependencies, the compiler, the C library (copying and allocating), what
//! the processor offers to both (blake3 and memcpy choose by it), and valgrind. The first two are what is judged; the
//! others are the *maker*, recorded beside the counts. With another maker the counts are shown and not judged: a new
//! compiler moves them by more than the margin without anybody having done anything here. Whoever changes the
//! compiler records anew.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How far a count may be from the recorded one, in both directions: what became cheaper is recorded too, or the next one
/// could make it dear again unseen. Two runs on one machine differ by less than a tenth of this.
pub(crate) const MARGIN_PERCENT: f64 = 3.0;

/// Counts below this may move by as much, whatever that is in percent.
const MARGIN_LEAST: f64 = 8.0;

/// What one step of a path takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// Instructions.
    pub(crate) instructions: u64,
    /// Calls that allocate, in hundredths.
    pub(crate) allocations: Hundredths,
}

/// A number with two digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hundredths(pub(crate) u64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As recorded.
    Holds,
    /// More than the margin allows.
    Dearer,
    /// Less than the margin allows.
    Cheaper,
    /// Nothing is recorded.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "",
            Self::Dearer => "dearer than the margin allows",
            Self::Cheaper => "cheaper: record it",
            Self::Unknown => "not recorded",
        })
    }
}

/// Counts by path, and who counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    maker: String,
    counts: BTreeMap<String, Count>,
}

impl Record {
    /// An empty record of the compiler, library, processor and tool at hand.
    pub(crate) fn of_this_machine() -> Self {
        let said = |program: &str, argument: &str| {
            let output = Command::new(program).arg(argument).output();
            let output = output.unwrap_or_else(|error| panic!("{program} runs: {error}"));
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
        };
        let library = said("ldd", "--version");
        let library = library.rsplit(' ').next().unwrap_or_default();
        let maker = [said("rustc", "--version"), said("valgrind", "--version"), format!("glibc-{library}"), vectors()];
        Self { maker: maker.join(", "), counts: BTreeMap::new() }
    }

    /// Reads the file; an absent one is empty.
    pub(crate) fn read(file: &Path) -> Self {
        Self::parse(&fs::read_to_string(file).unwrap_or_default())
    }

    /// Writes the file.
    pub(crate) fn write(&self, file: &Path) {
        fs::write(file, self.to_string()).expect("the record can be written");
    }

    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(maker) = line.strip_prefix("# ") {
                maker.clone_into(&mut record.maker);
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if let [path, instructions, allocations] = words[..]
                && let (Ok(instructions), Some(allocations)) = (instructions.parse(), hundredths(allocations))
            {
                record.set(path, Count { instructions, allocations });
            }
        }
        record
    }

    /// Enters a path's count.
    pub(crate) fn set(&mut self, path: &str, count: Count) {
        self.counts.insert(path.to_owned(), count);
    }

    /// A path's count.
    pub(crate) fn count(&self, path: &str) -> Option<Count> {
        self.counts.get(path).copied()
    }

    /// All counts.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Count)> {
        self.counts.iter().map(|(path, count)| (path.as_str(), *count))
    }

    /// Who counted.
    pub(crate) fn maker(&self) -> &str {
        &self.maker
    }

    /// What the new count of a path means beside the one here.
    pub(crate) fn verdict(&self, path: &str, count: Count) -> Verdict {
        let Some(recorded) = self.count(path) else { return Verdict::Unknown };
        let allowed = (recorded.instructions as f64 * MARGIN_PERCENT / 100.0).max(MARGIN_LEAST);
        let change = count.instructions as f64 - recorded.instructions as f64;
        match change {
            _ if change > allowed => Verdict::Dearer,
            _ if change < -allowed => Verdict::Cheaper,
            _ => Verdict::Holds,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.maker)?;
        for (path, count) in &self.counts {
            writeln!(f, "{path} {} {}", count.instructions, count.allocations)?;
        }
        Ok(())
    }
}

fn hundredths(text: &str) -> Option<Hundredths> {
    let (whole, part) = text.split_once('.')?;
    Some(Hundredths(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?))
}

/// What the processor offers that code chooses by at run time.
fn vectors() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &&str| flags.split_whitespace().any(|word| word == *flag);
    // Beyond these valgrind offers nothing.
    ["avx2", "avx", "sse4_1"].into_iter().find(has).unwrap_or("sse2").to_owned()
}
