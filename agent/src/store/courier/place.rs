//! Where in a segment a reading starts: at the last mark before what a peer lacks.
//!
//! The index says which segment holds an op, not where in it. An author's seqs ascend in a segment, so its marks are
//! halved: at each, the author's next record tells on which side the op lies. That reads a few stretches between two
//! marks instead of all that lies before the op, which for a peer that lacks the last second of a busy day is nearly a
//! whole segment.

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::wire::{Span, decode_span};

use super::super::error::{LogError, StoreError};
use super::super::log_index::{Mark, SegmentSummary};
use super::super::log_reader::LogReader;
use super::Courier;

impl Courier {
    /// The last mark of `segment` at or before the op that `span` begins with, which the segment holds.
    pub(super) fn mark_before(
        &self,
        segment: &SegmentSummary,
        span: &Span,
        durable: Commit,
    ) -> Result<Mark, StoreError> {
        let marks = segment.marks();
        // The op lies at or after the mark `low`, and reading may start there.
        let (mut low, mut high) = (0, marks.len());
        while high.saturating_sub(low) > 1 {
            let middle = usize::midpoint(low, high);
            let end = marks.get(middle + 1).map_or(segment.next_commit(), |mark| mark.commit);
            match self.first_seq(marks[middle], end, span, durable) {
                Ok(Some(seq)) if seq <= span.first => low = middle,
                // The author wrote nothing there, or later things: what lies before is safe.
                Ok(_) => high = middle,
                // Told by the reading itself.
                Err(StoreError::Log(LogError::Recycled { .. })) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(marks.get(low).copied().unwrap_or_else(|| segment.start_for(segment.first_commit())))
    }

    /// The first seq of the span's author and namespace in the records from `mark` to before `end`.
    fn first_seq(&self, mark: Mark, end: u64, span: &Span, durable: Commit) -> Result<Option<u64>, StoreError> {
        let folder = self.folder.reopen().map_err(StoreError::Folder)?;
        let mut reader = LogReader::new(folder, self.store, mark.commit, durable.0);
        reader.start_at(mark)?;
        while reader.next_commit() < end
            && let Some((commit, payload)) = reader.advance()?
        {
            let found = decode_span(payload).map_err(|_| LogError::Payload { commit })?;
            if let Some(found) = found.filter(|found| found.author == span.author && found.space == span.space) {
                return Ok(Some(found.first));
            }
        }
        Ok(None)
    }
}
