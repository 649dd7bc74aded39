//! Which ops the log holds: per segment, the runs of seqs of every author in every namespace.
//!
//! Small enough to stay in memory, exact enough to say whether a peer can be caught up by ops, where to start reading, and
//! which segments every member has acknowledged. A sealed segment carries its summary as a footer; the live one's is kept
//! as records are appended and rebuilt by a scan.
//!
//! Invariants: within a segment an author's runs ascend; an adoption advances a vector without ops and so leaves a gap
//! here, which is the log's floor for that author. Footers are bytes from a file: counts in them are never trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use everett_mesh_proto::id::{ReplicaId, Space};
use everett_mesh_proto::wire::SpanRef;

use super::segment::HEADER_BYTES;

/// Records this far apart are findable without reading what lies between.
const MARK_EVERY_BYTES: u64 = 1 << 20;

/// First and last seq of consecutive ops.
type Run = (u64, u64);

/// What one segment holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentSummary {
    first_commit: u64,
    next_commit: u64,
    runs: BTreeMap<Space, BTreeMap<ReplicaId, Vec<Run>>>,
    marks: Vec<Mark>,
}

/// Where a record begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The first commit of its segment.
    pub segment: u64,
    /// The record's commit.
    pub commit: u64,
    /// Its offset in that segment.
    pub offset: u64,
}

impl SegmentSummary {
    /// A segment without records.
    pub fn empty(first_commit: u64) -> Self {
        Self { first_commit, next_commit: first_commit, runs: BTreeMap::new(), marks: Vec::new() }
    }

    /// The commit of the segment's first record, present or to come.
    pub fn first_commit(&self) -> u64 {
        self.first_commit
    }

    /// The commit after the segment's last record.
    pub fn next_commit(&self) -> u64 {
        self.next_commit
    }

    /// Counts in the next record, which begins at `offset` and holds the ops `span`.
    pub fn note(&mut self, offset: u64, span: Option<&SpanRef<'_>>) {
        let far = self.marks.last().is_none_or(|mark| offset - mark.offset >= MARK_EVERY_BYTES);
        if far {
            self.marks.push(Mark { segment: self.first_commit, commit: self.next_commit, offset });
        }
        self.next_commit += 1;
        let Some(span) = span else { return };
        let known = self.runs.get_mut(span.space).and_then(|authors| authors.get_mut(&span.author));
        let runs = if let Some(runs) = known {
            runs
        } else {
            let space = Space::new(span.space).expect("a span that was decoded names a namespace");
            self.runs.entry(space).or_default().entry(span.author).or_default()
        };
        match runs.last_mut() {
            Some(run) if run.0 <= span.first && span.first <= run.1.saturating_add(1) => {
                run.1 = run.1.max(span.last);
            }
            _ => runs.push((span.first, span.last)),
        }
    }

    /// The last place at or before `commit` where reading may start.
    pub fn start_for(&self, commit: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.commit <= commit);
        match after.checked_sub(1) {
            Some(index) => self.marks[index],
            None => Mark { segment: self.first_commit, commit: self.first_commit, offset: HEADER_BYTES },
        }
    }

    /// The places where reading may start, in order.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    fn runs_of(&self, space: &Space, author: ReplicaId) -> &[Run] {
        self.runs.get(space).and_then(|authors| authors.get(&author)).map_or(&[], Vec::as_slice)
    }

    /// An upper bound of the footer's length.
    pub fn footer_bytes(&self) -> u64 {
        let runs: usize = self
            .runs
            .values()
            .map(|authors| {
                let runs: usize = authors.values().map(|runs| 20 + 16 * runs.len()).sum();
                5 + Space::LEN_MAX + runs
            })
            .sum();
        24 + runs as u64 + 16 * self.marks.len() as u64
    }

    /// The footer's payload.
    pub fn encode_footer(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_count(&mut out, self.runs.len());
        for (space, authors) in &self.runs {
            let name = space.as_str().as_bytes();
            put_count(&mut out, name.len());
            out.extend_from_slice(name);
            put_count(&mut out, authors.len());
            for (author, runs) in authors {
                out.extend_from_slice(&author.0);
                put_count(&mut out, runs.len());
                for (first, last) in runs {
                    put_pair(&mut out, *first, *last);
                }
            }
        }
        put_count(&mut out, self.marks.len());
        for mark in &self.marks {
            put_pair(&mut out, mark.commit, mark.offset);
        }
        out
    }

    /// Reads a footer's payload; `None` if it is not one.
    pub fn decode_footer(first_commit: u64, next_commit: u64, payload: &[u8]) -> Option<Self> {
        let mut take = Take(payload);
        let mut summary = Self::empty(first_commit);
        summary.next_commit = next_commit;
        for _ in 0..take.count()? {
            let length = take.count()? as usize;
            let name = std::str::from_utf8(take.bytes(length)?).ok()?;
            let mut authors = BTreeMap::new();
            let space = Space::new(name).ok()?;
            for _ in 0..take.count()? {
                let author = ReplicaId(take.bytes(16)?.try_into().ok()?);
                let mut runs = Vec::new();
                for _ in 0..take.count()? {
                    runs.push(take.pair()?);
                }
                authors.insert(author, runs);
            }
            summary.runs.insert(space, authors);
        }
        for _ in 0..take.count()? {
            let (commit, offset) = take.pair()?;
            summary.marks.push(Mark { segment: first_commit, commit, offset });
        }
        take.0.is_empty().then_some(summary)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a segment holds fewer runs than bytes");
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_pair(out: &mut Vec<u8>, a: u64, b: u64) {
    out.extend_from_slice(&a.to_le_bytes());
    out.extend_from_slice(&b.to_le_bytes());
}

/// What is left of a footer.
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn count(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn pair(&mut self) -> Option<(u64, u64)> {
        Some((self.word()?, self.word()?))
    }
}

/// What the whole log holds: a snapshot, cheap to clone and to hand to another thread.
#[derive(Clone, Debug, Default)]
pub struct LogIndex {
    segments: Vec<Arc<SegmentSummary>>,
}

impl LogIndex {
    /// An index over `segments`, oldest first.
    pub fn new(segments: Vec<Arc<SegmentSummary>>) -> Self {
        Self { segments }
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[Arc<SegmentSummary>] {
        &self.segments
    }

    /// Everybody of whom the log holds an op, once per segment and namespace.
    pub fn authors(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let spaces = self.segments.iter().flat_map(|segment| segment.runs.values());
        spaces.flat_map(|authors| authors.keys().copied())
    }

    /// Whether the log holds every op `first..=last` of `author` in `space`.
    pub fn holds(&self, space: &Space, author: ReplicaId, first: u64, last: u64) -> bool {
        let mut next = first;
        for segment in &self.segments {
            for &(from, to) in segment.runs_of(space, author) {
                if from <= next && next <= to {
                    next = to.saturating_add(1);
                }
            }
        }
        next > last
    }

    /// The segment that holds the op `seq` of `author`.
    pub fn find(&self, space: &Space, author: ReplicaId, seq: u64) -> Option<&SegmentSummary> {
        let holds = |segment: &&Arc<SegmentSummary>| {
            let runs = segment.runs_of(space, author);
            runs.iter().any(|&(from, to)| from <= seq && seq <= to)
        };
        self.segments.iter().find(holds).map(Arc::as_ref)
    }

    /// The last commit of the longest run of segments, from the oldest, whose every op lies at or below `acknowledged` of
    /// its namespace and author; 0 if there is none.
    pub fn acknowledged_through(&self, acknowledged: impl Fn(&Space, ReplicaId) -> u64) -> u64 {
        let all_acknowledged = |segment: &&Arc<SegmentSummary>| {
            segment.runs.iter().all(|(space, authors)| {
                authors.iter().all(|(author, runs)| {
                    let last = runs.iter().map(|run| run.1).max().unwrap_or(0);
                    last <= acknowledged(space, *author)
                })
            })
        };
        self.segments.iter().take_while(all_acknowledged).last().map_or(0, |segment| segment.next_commit - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId([1; 16]);
    const B: ReplicaId = ReplicaId([2; 16]);

    fn span(space: &str, author: ReplicaId, first: u64, last: u64) -> SpanRef<'_> {
        SpanRef { space, author, first, last }
    }

    fn summary() -> SegmentSummary {
        let mut summary = SegmentSummary::empty(10);
        for seq in 1..=4 {
            summary.note(HEADER_BYTES + seq * MARK_EVERY_BYTES / 2, Some(&span("0", A, seq, seq)));
        }
        summary.note(HEADER_BYTES + 3 * MARK_EVERY_BYTES, Some(&span("0", A, 9, 10)));
        summary.note(HEADER_BYTES + 3 * MARK_EVERY_BYTES + 64, None);
        summary.note(HEADER_BYTES + 3 * MARK_EVERY_BYTES + 96, Some(&span("1", B, 1, 3)));
        summary
    }

    #[test]
    fn a_footer_reads_back_and_every_shorter_one_is_refused() {
        let summary = summary();
        let bytes = summary.encode_footer();
        assert!(bytes.len() as u64 <= summary.footer_bytes());
        assert_eq!(SegmentSummary::decode_footer(10, 17, &bytes), Some(summary));
        for length in 0..bytes.len() {
            assert_eq!(SegmentSummary::decode_footer(10, 17, &bytes[..length]), None);
        }
        assert_eq!(SegmentSummary::decode_footer(10, 17, &[0xff; 64]), None);
    }

    #[test]
    fn a_gap_left_by_an_adoption_is_not_held() {
        let mut later = SegmentSummary::empty(17);
        later.note(HEADER_BYTES, Some(&span("0", A, 11, 20)));
        let index = LogIndex::new(vec![Arc::new(summary()), Arc::new(later)]);
        let space = Space::numbered(0);
        assert!(index.holds(&space, A, 1, 4));
        assert!(!index.holds(&space, A, 1, 5));
        assert!(index.holds(&space, A, 9, 20));
        assert!(!index.holds(&space, B, 1, 1));
        assert_eq!(index.find(&space, A, 12).map(SegmentSummary::first_commit), Some(17));
        assert!(index.find(&space, A, 5).is_none());
        assert_eq!(index.authors().collect::<Vec<_>>(), [A, B, A]);
    }

    #[test]
    fn reading_starts_at_the_nearest_mark() {
        let summary = summary();
        assert_eq!(summary.start_for(10).commit, 10);
        assert_eq!(summary.start_for(11).commit, 10);
        assert_eq!(summary.start_for(13).commit, 12);
        assert_eq!(summary.start_for(99).commit, 14);
    }

    #[test]
    fn acknowledgement_stops_at_the_first_op_that_someone_lacks() {
        let index = LogIndex::new(vec![Arc::new(summary())]);
        assert_eq!(index.acknowledged_through(|_, _| 10), 16);
        assert_eq!(index.acknowledged_through(|_, author| if author == A { 9 } else { 10 }), 0);
        assert_eq!(LogIndex::default().acknowledged_through(|_, _| 0), 0);
    }
}
