//! Reads a stopped store from end to end and compares it with itself.
//!
//! Three looks: each row (does it parse, does it lie where its key belongs, is it in canonical bytes, does the vector cover
//! it), the rows against the tree, which is computed anew, and each record of the log. A damaged value in an intact shape is
//! seen by the tree alone, which knows its rows in leaves: then all keys of the leaf are named, one of which is it.
//!
//! It changes nothing that was stored; opening the rows' file finishes what a killed process left unfinished there, as a
//! start would. After an interrupted flush rows and tree are of two commits: then the second look waits for the next start
//! and stop. The computed tree is held in memory, some 100 bytes for 30 rows.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path as FilePath;

use bytes::Bytes;
use everett_mesh_proto::id::{ClusterId, Space};
use everett_mesh_proto::rows::{Placer, RowKey};
use everett_mesh_proto::summary::{Content, GIST_MIN, Gist, Node, Path, Standing, Tree, elements, rebuild};
use everett_mesh_proto::wire::encode_row;
use redb::{ReadableTable, ReadableTableMetadata};

use super::disk::Folder;
use super::error::StoreError;
use super::log_dir::read_through;
use super::open::check_owner;
use super::rows_file::{RowsFile, Snapshot, decode_entry};

/// More faults than a person reads; what is beyond is only counted.
const FAULTS_MAX: usize = 1_000;

/// Rows between two words about how far it has come.
const STEP_ROWS: u64 = 4_096;

/// The store to check, and whose it must be.
#[derive(Debug)]
pub struct Checking<'a> {
    /// The state directory.
    pub state: &'a FilePath,
    /// The certificate's cluster.
    pub cluster: ClusterId,
    /// The fingerprint of `place.key`.
    pub place_fingerprint: [u8; 16],
    /// Places and hashes under that key.
    pub placer: Placer,
    /// How much of `rows.redb` is kept in memory.
    pub cache_bytes: usize,
}

/// How far a check has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What is being read.
    pub what: &'static str,
    /// How much of it was.
    pub percent: u64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Rows read.
    pub rows: u64,
    /// Commits in the log.
    pub commits: Range<u64>,
    /// Whether a flush was interrupted, so that the tree could not be compared.
    pub is_interrupted: bool,
    /// What is not as it was written.
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub more: u64,
}

impl Checked {
    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A row that does not parse, or lies where its key does not belong.
    Row(String),
    /// A row whose dots the vector of its namespace does not cover.
    Uncovered(Named),
    /// The rows that share a leaf of the tree are not those it was made of.
    Leaf(Vec<Named>),
    /// The tree of a namespace is not that of its rows, which fit together.
    Tree(Space),
    /// The stored gist of so many rows is not that of them.
    Gist(Space, u64),
    /// The tree has nodes for rows that are not there.
    Nodes {
        /// Stored.
        stored: u64,
        /// Wanted.
        wanted: u64,
    },
}

/// A row, by namespace and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    space: Space,
    key: Bytes,
}

impl From<&RowKey> for Named {
    fn from(key: &RowKey) -> Self {
        Self { space: key.space(), key: key.key() }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.space, self.key.escape_ascii())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(key) => write!(f, "row {key}: damaged"),
            Self::Uncovered(row) => write!(f, "row {row}: later than the vector of its namespace"),
            Self::Leaf(rows) => {
                f.write_str("one of these rows, or a neighbour that is gone:")?;
                rows.iter().try_for_each(|row| write!(f, "\n  {row}"))
            }
            Self::Tree(space) => write!(f, "namespace {space}: the tree is not that of its rows"),
            Self::Gist(space, rows) => write!(f, "namespace {space}: the sketch of {rows} rows is not that of them"),
            Self::Nodes { stored, wanted } => write!(f, "the tree has {stored} nodes where its rows need {wanted}"),
        }
    }
}

/// Checks the store; `tell` hears how far it has come.
pub fn check(checking: &Checking<'_>, tell: &mut dyn FnMut(Step)) -> Result<Checked, StoreError> {
    let path = checking.state.join("rows.redb");
    if !path.try_exists().map_err(StoreError::Folder)? {
        return Err(StoreError::Absent);
    }
    let file = RowsFile::open(&path, checking.cache_bytes, checking.placer.clone())?;
    let facts = file.facts()?.ok_or(StoreError::Absent)?;
    check_owner(&facts, checking.cluster, checking.place_fingerprint)?;
    let snapshot = file.snapshot()?;
    let mut checked = Checked { is_interrupted: facts.progress.is_interrupted(), ..Checked::default() };
    check_rows(&snapshot, &checking.placer, &mut checked, tell)?;
    // Where a key does not parse, no range of rows can be read.
    if !checked.is_interrupted && checked.faults.is_empty() {
        check_trees(&snapshot, &checking.placer, &mut checked, tell)?;
    }
    let folder = Folder::open(&checking.state.join("log")).map_err(StoreError::Folder)?;
    checked.commits = read_through(&folder, facts.store, &mut |percent| tell(Step { what: "log", percent }))?;
    super::open::check_parts(&facts.progress, checked.commits.clone())?;
    Ok(checked)
}

fn check_rows(
    snapshot: &Snapshot,
    placer: &Placer,
    checked: &mut Checked,
    tell: &mut dyn FnMut(Step),
) -> Result<(), StoreError> {
    let whole = snapshot.rows().len()?;
    for entry in snapshot.rows().iter()? {
        let (key, value) = entry?;
        let (key, value) = (key.value(), value.value());
        match decode_entry(key, value) {
            Ok((key, row)) if encode_row(&row) == value && placer.place(&key.key()) == key.place() => {
                let vector = snapshot.vectors().get(&key.space());
                let covered = row.dots().iter().all(|dot| vector.is_some_and(|vector| vector.covers(*dot)));
                // The vector describes the watermark, which some rows are past.
                if !covered && !checked.is_interrupted {
                    checked.fault(Fault::Uncovered(Named::from(&key)));
                }
            }
            Ok((key, _)) => checked.fault(Fault::Row(Named::from(&key).to_string())),
            Err(StoreError::Row(key)) => checked.fault(Fault::Row(key)),
            Err(error) => return Err(error),
        }
        checked.rows += 1;
        if checked.rows.is_multiple_of(STEP_ROWS) {
            tell(Step { what: "rows", percent: checked.rows * 100 / whole.max(checked.rows) });
        }
    }
    Ok(())
}

fn check_trees(
    snapshot: &Snapshot,
    placer: &Placer,
    checked: &mut Checked,
    tell: &mut dyn FnMut(Step),
) -> Result<(), StoreError> {
    let mut wanted = 0;
    for space in snapshot.vectors().keys() {
        let mut computed = Computed { snapshot, nodes: BTreeMap::new(), gists: BTreeMap::new() };
        rebuild(&mut computed, &Standing { content: snapshot, space }, placer, space)?;
        compare(&computed, space, checked, tell)?;
        wanted += computed.nodes.len() as u64 + check_gists(&computed, placer, space, checked)?;
    }
    let gists = snapshot.gists().map_or(Ok(0), ReadableTableMetadata::len)?;
    let stored = snapshot.nodes().len()? + gists;
    if stored != wanted {
        checked.fault(Fault::Nodes { stored, wanted });
    }
    Ok(())
}

fn compare(
    computed: &Computed<'_>,
    space: &Space,
    checked: &mut Checked,
    tell: &mut dyn FnMut(Step),
) -> Result<(), StoreError> {
    let (mut leaves, mut inner) = (0, 0);
    for (&path, &node) in &computed.nodes {
        tell(Step { what: "tree", percent: path.first() / (u64::MAX / 100) });
        if computed.snapshot.node(space, path)? == Some(node) {
            continue;
        }
        if node.is_leaf(path) {
            leaves += 1;
            let mut rows = Vec::new();
            Content::rows(computed.snapshot, space, path, &mut |key, _| {
                rows.push(Named::from(key));
                ControlFlow::Continue(())
            })?;
            checked.fault(Fault::Leaf(rows));
        } else {
            inner += 1;
        }
    }
    // Above a leaf that differs every node does.
    if inner > 0 && leaves == 0 {
        checked.fault(Fault::Tree(space.clone()));
    }
    Ok(())
}

/// Compares the gists that are stored with what they ought to be, and counts them. Where the tree is damaged, it speaks for
/// itself.
fn check_gists(
    computed: &Computed<'_>,
    placer: &Placer,
    space: &Space,
    checked: &mut Checked,
) -> Result<u64, StoreError> {
    let mut found = 0;
    for (&path, node) in computed.nodes.iter().filter(|(_, node)| node.count > GIST_MIN / 2) {
        let Some(stored) = computed.snapshot.gist(space, path)? else { continue };
        found += 1;
        let wanted = if let Some(gist) = computed.gists.get(&path) {
            gist.clone()
        } else {
            let mut gist = Gist::default();
            elements(computed.snapshot, placer, space, path)?.iter().for_each(|element| gist.add(element.id()));
            gist
        };
        if stored != wanted && computed.snapshot.node(space, path)? == Some(*node) {
            checked.fault(Fault::Gist(space.clone(), node.count));
        }
    }
    Ok(found)
}

/// A namespace's rows as stored, and the tree that they ought to have.
struct Computed<'a> {
    snapshot: &'a Snapshot,
    nodes: BTreeMap<Path, Node>,
    gists: BTreeMap<Path, Gist>,
}

impl Tree for Computed<'_> {
    type Error = StoreError;

    fn set_node(&mut self, _: &Space, path: Path, node: Option<Node>) -> Result<(), StoreError> {
        match node {
            Some(node) => drop(self.nodes.insert(path, node)),
            None => drop(self.nodes.remove(&path)),
        }
        Ok(())
    }

    fn set_gist(&mut self, _: &Space, path: Path, gist: Option<&Gist>) -> Result<(), StoreError> {
        match gist {
            Some(gist) => drop(self.gists.insert(path, gist.clone())),
            None => drop(self.gists.remove(&path)),
        }
        Ok(())
    }

    fn clear(&mut self, _: &Space) -> Result<(), StoreError> {
        self.nodes.clear();
        self.gists.clear();
        Ok(())
    }
}
