//! What a schedule contains, and which rule of the design it breaks on purpose.

/// One schedule's ingredients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// How many random steps before everything must converge.
    pub steps: usize,
    /// How many keys clients use; the fewer, the more writes meet.
    pub keys: usize,
    /// FLUSHDB.
    pub cuts: bool,
    /// Deadlines, and a clock that moves.
    pub expiry: bool,
    /// Processes that end at any point and lose what was not durable.
    pub crashes: bool,
    /// Disks put back.
    pub restores: bool,
    /// Nodes that go and return.
    pub downs: bool,
    /// Many repair sessions at a time, so that they come between each other.
    pub busy: bool,
    /// Processes that end every few steps, most of them in the middle of a flush.
    pub rough: bool,
    /// The rule to break; `None` in every schedule that must pass.
    pub flaw: Option<Flaw>,
    /// Whether every step is told on standard error.
    pub told: bool,
}

impl Plan {
    /// The everyday schedule of `seed`: its ingredients are mixed over the seeds.
    pub fn of(seed: u64) -> Self {
        let mix = seed / 3;
        let bit = |index: u64| mix >> index & 1 == 1;
        Self {
            nodes: 3 + usize::try_from(seed % 3).expect("less than three"),
            steps: 220,
            cuts: bit(0),
            expiry: bit(1),
            crashes: bit(2),
            restores: bit(3),
            downs: bit(4),
            busy: bit(5),
            rough: bit(2) && bit(6),
            keys: if bit(7) { 2 } else { 6 },
            flaw: None,
            told: false,
        }
    }

    /// Everything at once, with one rule broken, where breaking it matters most.
    pub fn flawed(seed: u64, flaw: Flaw) -> Self {
        let all = Self { cuts: true, expiry: true, crashes: true, restores: true, downs: true, ..Self::of(seed) };
        let (busy, rough, keys) = match flaw {
            Flaw::FlushNotDurable | Flaw::CursorIgnored => (false, true, 6),
            Flaw::RecordStageOnly => (true, true, 2),
            Flaw::EqualRootsNaive | Flaw::NamesNothing => (true, false, 2),
            Flaw::CutFirst
            | Flaw::NoSettle
            | Flaw::NeedNotSend
            | Flaw::NeedNotSendOneSided
            | Flaw::StageOnly
            | Flaw::PerMessageFirst
            | Flaw::PerMessageLast
            | Flaw::Fifo
            | Flaw::NoInheritedDeadlines
            | Flaw::SameLife => (true, false, 6),
        };
        Self { flaw: Some(flaw), busy, rough, keys, ..all }
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
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::CutFirst,
        Self::FlushNotDurable,
        Self::NoSettle,
        Self::NeedNotSend,
        Self::NeedNotSendOneSided,
        Self::EqualRootsNaive,
        Self::NamesNothing,
        Self::RecordStageOnly,
        Self::StageOnly,
        Self::PerMessageFirst,
        Self::PerMessageLast,
        Self::Fifo,
        Self::NoInheritedDeadlines,
        Self::SameLife,
        Self::CursorIgnored,
    ];
}
