//! Reads the log for peers that are behind: which ops a peer lacks, as their records hold them.
//!
//! Apart from the log thread, so that a peer that missed a day does not delay a commit. It reads in commit order, which is
//! a causal order, a bounded piece at a time, and remembers where each peer's reading stands.
//!
//! Invariants: only durable records are read; a namespace whose missing ops are not all in the log is named as below it,
//! and none of its ops is sent, because none could be applied.

mod place;

use std::collections::BTreeMap;

use bytes::Bytes;
use everett_mesh_proto::id::{NodeId, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Durable};
use everett_mesh_proto::push::{Piece, Reading, Vectors, Whose};
use everett_mesh_proto::wire::{Span, decode_span};

use super::disk::{Disk, Folder};
use super::error::{LogError, StoreError};
use super::log_index::{LogIndex, Mark};
use super::log_reader::LogReader;
use super::segment::StoreId;

/// A piece ends with the record that makes it this long.
const PIECE_BYTES: usize = 256 << 10;
/// Or after looking at this many records, so that a peer that lacks little does not occupy the courier.
const PIECE_RECORDS: u64 = 65_536;
/// The places of so many authors' ops are sought within a segment; with more it is read from its beginning.
const SOUGHT_MAX: usize = 8;

/// What a reading is answered from.
#[derive(Debug)]
pub struct Known<'a> {
    /// What the log holds; at least as new as `durable`.
    pub index: &'a LogIndex,
    /// Up to where it may be read.
    pub durable: Durable,
    /// What is applied and durable here.
    pub vectors: &'a Vectors,
}

/// Reads the log of one store for any number of peers.
#[derive(Debug)]
pub struct Courier {
    folder: Folder,
    store: StoreId,
    node: String,
    readers: BTreeMap<NodeId, LogReader<Folder>>,
}

impl Courier {
    /// A courier over the log in `folder`; `node` is the own node's name, by which own lives are known.
    pub fn new(folder: Folder, store: StoreId, node: String) -> Self {
        Self { folder, store, node, readers: BTreeMap::new() }
    }

    /// Forgets where a peer's reading stands; for peers whose link is gone.
    pub fn forget(&mut self, peer: NodeId) {
        self.readers.remove(&peer);
    }

    /// Answers a reading.
    pub fn read(&mut self, reading: &Reading, known: &Known<'_>) -> Result<Piece, StoreError> {
        let (start, mut below) = self.plan(reading, known)?;
        let durable = known.durable.upto();
        let piece = |groups, upto, below| Piece { peer: reading.peer, ticket: reading.ticket, groups, upto, below };
        let Some(start) = start else {
            self.readers.remove(&reading.peer);
            return Ok(piece(Vec::new(), durable, below));
        };
        let mut reader = self.reader(reading, start, durable)?;
        match self.collect(reading, &mut reader, &below) {
            Ok(groups) => {
                let upto = Commit(reader.next_commit() - 1);
                self.readers.insert(reading.peer, reader);
                Ok(piece(groups, upto, below))
            }
            // The log moved on under the reading: what it lacked has to come as rows.
            Err(LogError::Recycled { .. }) => {
                below.extend(lacking(reading, known.vectors).map(|span| span.space));
                below.dedup();
                Ok(piece(Vec::new(), durable, below))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where the first op that the peer lacks may be, and the namespaces of which not all that it lacks is in the log.
    fn plan(&self, reading: &Reading, known: &Known<'_>) -> Result<(Option<Mark>, Vec<Space>), StoreError> {
        let wanted = || lacking(reading, known.vectors).filter(|span| self.is_wanted(reading.whose, span.author));
        let mut below: Vec<Space> = wanted()
            .filter(|span| !known.index.holds(&span.space, span.author, span.first, span.last))
            .map(|span| span.space)
            .collect();
        below.dedup();
        let found = |span: Span| Some((known.index.find(&span.space, span.author, span.first)?, span));
        let places: Vec<_> = wanted().filter(|span| !below.contains(&span.space)).filter_map(found).collect();
        let Some(oldest) = places.iter().map(|(segment, _)| *segment).min_by_key(|segment| segment.first_commit())
        else {
            return Ok((None, below));
        };
        let first = oldest.start_for(oldest.first_commit());
        let in_oldest = || places.iter().filter(|(segment, _)| segment.first_commit() == oldest.first_commit());
        if reading.after.next().0 > first.commit || in_oldest().count() > SOUGHT_MAX {
            return Ok((Some(first), below));
        }
        let durable = known.durable.upto();
        let marks = in_oldest().map(|(segment, span)| self.mark_before(segment, span, durable));
        let marks = marks.collect::<Result<Vec<_>, _>>()?;
        Ok((marks.into_iter().min_by_key(|mark| mark.commit), below))
    }

    fn is_wanted(&self, whose: Whose, author: ReplicaId) -> bool {
        match whose {
            Whose::Own => author.is_life_of(&self.node),
            Whose::All => true,
        }
    }

    /// The peer's reader if it stands where the reading goes on, else a new one at the later of both places.
    fn reader(&mut self, reading: &Reading, start: Mark, durable: Commit) -> Result<LogReader<Folder>, StoreError> {
        let next = reading.after.next();
        if let Some(mut reader) = self.readers.remove(&reading.peer)
            && reader.next_commit() == next.0
            && start.commit <= next.0
        {
            reader.extend(durable.0);
            return Ok(reader);
        }
        let folder = self.folder.reopen().map_err(StoreError::Folder)?;
        let from = next.0.max(start.commit);
        let mut reader = LogReader::new(folder, self.store, from, durable.0);
        if start.commit >= next.0 {
            match reader.start_at(start) {
                // Told by the first read.
                Ok(()) | Err(LogError::Recycled { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(reader)
    }

    fn collect<D: Disk>(
        &self,
        reading: &Reading,
        reader: &mut LogReader<D>,
        below: &[Space],
    ) -> Result<Vec<Bytes>, LogError> {
        let mut groups = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        while bytes < PIECE_BYTES && records < PIECE_RECORDS {
            let Some((commit, payload)) = reader.advance()? else { break };
            records += 1;
            let span = decode_span(payload).map_err(|_| LogError::Payload { commit })?;
            let Some(span) = span else { continue };
            let covered = reading.has.get(&span.space).map_or(0, |has| has.seq(span.author));
            let lacks = covered < span.last && !below.contains(&span.space);
            if lacks && self.is_wanted(reading.whose, span.author) {
                bytes += payload.len();
                groups.push(Bytes::copy_from_slice(payload));
            }
        }
        Ok(groups)
    }
}

/// Per namespace and author, the seqs that are here and not at the peer.
fn lacking<'a>(reading: &'a Reading, here: &'a Vectors) -> impl Iterator<Item = Span> + 'a {
    here.iter().flat_map(move |(space, vector)| {
        vector.dots().filter_map(move |dot| {
            let has = reading.has.get(space).map_or(0, |has| has.seq(dot.replica));
            let span = Span { space: space.clone(), author: dot.replica, first: has + 1, last: dot.seq };
            (has < dot.seq).then_some(span)
        })
    })
}

#[cfg(test)]
mod tests;
