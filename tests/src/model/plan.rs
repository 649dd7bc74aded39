//! What a schedule contains, and which rule of the design it breaks on purpose.

use Ingredient::{Busy, Closes, Crashes, Cuts, Downs, Expiry, Narrow, Restores, Rough};

/// What may happen in a schedule beside edits, pushes, catch-up, repair and flushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Ingredient {
    /// Sessions are held by the protocol's machines, not by hand.
    Wired = 1,
    /// FLUSHDB.
    Cuts = 1 << 1,
    /// Deadlines; the clock moves in any case.
    Expiry = 1 << 2,
    /// Processes that end at any point and lose what was not durable.
    Crashes = 1 << 3,
    /// Disks put back.
    Restores = 1 << 4,
    /// Nodes that go and return.
    Downs = 1 << 5,
    /// Many repair sessions at a time, so that they come between each other.
    Busy = 1 << 6,
    /// Processes that end every few steps, most of them in the middle of a flush.
    Rough = 1 << 7,
    /// Two keys instead of six, so that more writes meet.
    Narrow = 1 << 8,
    /// Lives that are closed, whether or not they are over.
    Closes = 1 << 9,
}

/// One schedule's ingredients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// How many random steps before everything must converge.
    pub steps: usize,
    /// The rule to break; `None` in every schedule that must pass.
    pub flaw: Option<Flaw>,
    /// Whether every step is told on standard error.
    pub told: bool,
    /// The ingredients, as a sum.
    mix: u16,
}

impl Plan {
    /// The everyday schedule of `seed`: its ingredients are mixed over the seeds.
    pub fn of(seed: u64) -> Self {
        let [low, high, ..] = (seed / 3).to_le_bytes();
        let closes = if seed.is_multiple_of(2) { 0 } else { Closes as u16 };
        let mix = u16::from_le_bytes([low, high]) & !(Closes as u16) | closes;
        let nodes = 3 + usize::try_from(seed % 3).expect("less than three");
        Self { nodes, steps: 220, flaw: None, told: false, mix }
    }

    /// Everything at once, with one rule broken, where breaking it matters most.
    pub fn flawed(seed: u64, flaw: Flaw) -> Self {
        let stress: &[Ingredient] = match flaw {
            Flaw::FlushNotDurable | Flaw::CursorIgnored => &[Rough],
            Flaw::RecordStageOnly => &[Busy, Rough, Narrow],
            Flaw::EqualRootsNaive | Flaw::NamesNothing => &[Busy, Narrow],
            Flaw::ClosingCovers => &[Closes],
            Flaw::TableLost => &[Rough, Closes],
            Flaw::TablesTaken => &[Busy, Closes],
            Flaw::CutFirst
            | Flaw::NoSettle
            | Flaw::NeedNotSend
            | Flaw::NeedNotSendOneSided
            | Flaw::StageOnly
            | Flaw::PerMessageFirst
            | Flaw::PerMessageLast
            | Flaw::Fifo
            | Flaw::NoInheritedDeadlines
            | Flaw::SameLife => &[Busy],
        };
        let all = [Cuts, Expiry, Crashes, Restores, Downs];
        let mix = all.iter().chain(stress).fold(0, |mix, &ingredient| mix | ingredient as u16);
        Self { flaw: Some(flaw), mix, ..Self::of(seed) }
    }

    /// Whether `ingredient` is in it.
    pub fn with(&self, ingredient: Ingredient) -> bool {
        self.mix & ingredient as u16 != 0
    }

    /// How many keys clients use.
    pub fn keys(&self) -> usize {
        if self.with(Narrow) { 2 } else { 6 }
    }

    /// Whether `flaw` is the one to commit.
    pub fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// A rule of the design that a run breaks to show that the model notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Cuts apply below the memtable, whatever was written before them.
    CutFirst,
    /// A flush does not wait for the log.
    FlushNotDurable,
    /// Sessions pin what the file happens to hold, without a flush before.
    NoSettle,
    /// What the other side covers is not sent, and taken for equal.
    NeedNotSend,
    /// The same, but only where one side has news.
    NeedNotSendOneSided,
    /// Equal roots adopt the vector and join nothing.
    EqualRootsNaive,
    /// An adoption does not tell other pins which rows it changed. (That it tells them of those that came is enough: the
    /// others it can only shorten, by what every later join would remove as well.)
    NamesNothing,
    /// The log record of an adoption holds only the rows that came.
    RecordStageOnly,
    /// An adoption joins only the rows that came.
    StageOnly,
    /// Each message of a session shows its own present; the vector is that of the first.
    PerMessageFirst,
    /// Each message of a session shows its own present; the vector is that of the last.
    PerMessageLast,
    /// Groups are applied in their author's order, without regard to what else they depend on.
    Fifo,
    /// Elements carry no deadline of their own.
    NoInheritedDeadlines,
    /// A start goes on with the id of the life before.
    SameLife,
    /// Replay takes every row for as new as the newest flush, however far that came.
    CursorIgnored,
    /// What a closing names counts as applied, whether or not it was.
    ClosingCovers,
    /// A start reads the open entries of its vectors alone.
    TableLost,
    /// A peer's table of closed lives is taken for the own one.
    TablesTaken,
}
