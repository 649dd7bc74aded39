//! Bringing the tree up to date: only the leaves that hold changed places are read, and only their ancestors hashed.
//!
//! What comes out is a function of the change: nothing that is stored is read back, so it can be computed beside the rows'
//! being written. With the hashes go the gists of the larger nodes. What changed below a node adds up to one gist, made
//! once, at the lowest node that has a gist stored, and merged into those of all above it.
//!
//! Invariant: a gist is stored only at a node of more than half of [`GIST_MIN`] elements.

use std::ops::ControlFlow;

use super::change::{Fresh, turns};
use super::{Change, Element, GIST_MIN, Gist, Hash, LEAF_MAX, Node, Path, Tree, inner_hash, leaf_hash};
use crate::id::Space;
use crate::rows::Placer;

/// Brings the tree of `space` up to date with a change of rows that all lie at `changed` (sorted, each once). Returns the
/// root.
pub fn update<T: Tree, C: Change<Error = T::Error>>(
    tree: &mut T,
    change: &C,
    placer: &Placer,
    space: &Space,
    changed: &[u64],
) -> Result<Hash, T::Error> {
    let root = if changed.is_empty() {
        change.node(Path::ROOT)?
    } else {
        Builder { tree, change, placer, space }.node(Path::ROOT, changed)?.0
    };
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

/// Builds the tree of `space` from what is there after a change, whatever is stored; returns the root.
pub fn rebuild<T: Tree, C: Change<Error = T::Error>>(
    tree: &mut T,
    change: &C,
    placer: &Placer,
    space: &Space,
) -> Result<Hash, T::Error> {
    tree.clear(space)?;
    let root = Builder { tree, change: &Fresh(change), placer, space }.build(Path::ROOT)?.0;
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

/// How the ids in a path changed.
#[derive(Default)]
struct Difference {
    added: Vec<u64>,
    removed: Vec<u64>,
    /// The rest of it.
    gist: Option<Gist>,
    /// The ids that were there, in a path under which no nodes were stored: a leaf's.
    before: Vec<u64>,
}

impl Difference {
    fn note(&mut self, before: Option<Element>, after: Option<Element>) {
        let [before_id, after_id] = [before, after].map(|element| element.as_ref().map(Element::id));
        self.before.extend(before_id);
        if before != after {
            self.removed.extend(before_id);
            self.added.extend(after_id);
        }
    }

    fn absorb(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
        self.before.extend(other.before);
        match (&mut self.gist, other.gist) {
            (Some(mine), Some(theirs)) => mine.merge(&theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs),
            (_, None) => {}
        }
    }

    /// All of it as a gist.
    fn condensed(&mut self) -> &Gist {
        let gist = self.gist.get_or_insert_default();
        self.added.drain(..).for_each(|id| gist.add(id));
        self.removed.drain(..).for_each(|id| gist.remove(id));
        gist
    }

    fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.gist.is_none()
    }
}

/// A node as it is now, and how the ids below it have changed.
type Brought = (Option<Node>, Difference);

/// What makes nodes from rows, and stores them.
struct Builder<'a, T, C> {
    tree: &'a mut T,
    change: &'a C,
    placer: &'a Placer,
    space: &'a Space,
}

impl<T: Tree, C: Change<Error = T::Error>> Builder<'_, T, C> {
    /// The node at `path` after the rows at `changed`, all in `path`, have changed.
    fn node(&mut self, path: Path, changed: &[u64]) -> Result<Brought, T::Error> {
        let stored = self.change.node(path)?;
        let Some(stored) = stored.filter(|node| !node.is_leaf(path)) else { return self.build(path) };
        let (mut children, mut difference) = (Vec::new(), Difference::default());
        let mut rest = changed;
        for child in path.children() {
            let (here, later) = rest.split_at(rest.partition_point(|&place| place <= child.last()));
            rest = later;
            let node = if here.is_empty() {
                self.change.node(child)?
            } else {
                let (node, mut below) = self.node(child, here)?;
                below.before.clear();
                difference.absorb(below);
                node
            };
            children.push(node);
        }
        let count: u64 = children.iter().flatten().map(|node| node.count).sum();
        self.keep_gist(path, (stored.count, count), &mut difference)?;
        if count > LEAF_MAX {
            return Ok((self.inner(path, count, &children)?, difference));
        }
        // No child has children left: those that had some have become leaves.
        for child in path.children() {
            self.tree.set_node(self.space, child, None)?;
        }
        let mut elements = Vec::new();
        self.visit(path, &mut |element| elements.push(element))?;
        Ok((self.leaf(path, &elements)?, difference))
    }

    /// The same where no nodes are stored below `path`, however much lies there now.
    fn build(&mut self, path: Path) -> Result<Brought, T::Error> {
        let (mut elements, mut difference) = (Vec::new(), Difference::default());
        let mut fits = true;
        turns(self.change, self.placer, path, &mut |turn| {
            difference.note(turn.before(), turn.after());
            elements.extend(turn.after());
            fits = elements.len() as u64 <= LEAF_MAX || path.is_deepest();
            if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if fits { Ok((self.leaf(path, &elements)?, difference)) } else { self.divide(path) }
    }

    /// The same where more lies than a leaf holds.
    fn divide(&mut self, path: Path) -> Result<Brought, T::Error> {
        let (mut children, mut difference) = (Vec::new(), Difference::default());
        for child in path.children() {
            let (node, below) = self.build(child)?;
            children.push(node);
            difference.absorb(below);
        }
        let count = children.iter().flatten().map(|node| node.count).sum();
        if count > GIST_MIN {
            let mut gist = difference.condensed().clone();
            difference.before.iter().for_each(|&id| gist.add(id));
            self.tree.set_gist(self.space, path, Some(&gist))?;
        }
        Ok((self.inner(path, count, &children)?, difference))
    }

    /// Brings the gist of an inner node up to date, whose elements were and are so many, makes it, or drops it.
    fn keep_gist(&mut self, path: Path, (were, are): (u64, u64), difference: &mut Difference) -> Result<(), T::Error> {
        let stored = if were > GIST_MIN / 2 { self.change.gist(path)? } else { None };
        let gist = match stored {
            Some(_) if are <= GIST_MIN / 2 => None,
            Some(_) if difference.is_nothing() => return Ok(()),
            Some(mut gist) => {
                gist.merge(difference.condensed());
                Some(gist)
            }
            None if are > GIST_MIN => Some(self.gist_of(path)?),
            None => return Ok(()),
        };
        self.tree.set_gist(self.space, path, gist.as_ref())
    }

    /// The gist of a node from its rows.
    fn gist_of(&self, path: Path) -> Result<Gist, T::Error> {
        let mut gist = Gist::default();
        self.visit(path, &mut |element| gist.add(element.id()))?;
        Ok(gist)
    }

    /// Visits the elements that are in `path` now.
    fn visit(&self, path: Path, visit: &mut dyn FnMut(Element)) -> Result<(), T::Error> {
        turns(self.change, self.placer, path, &mut |turn| {
            turn.after().into_iter().for_each(&mut *visit);
            ControlFlow::Continue(())
        })
    }

    fn leaf(&mut self, path: Path, elements: &[Element]) -> Result<Option<Node>, T::Error> {
        let node = Node { count: elements.len() as u64, hash: leaf_hash(self.placer, elements) };
        self.set(path, (node.count > 0).then_some(node))
    }

    fn inner(&mut self, path: Path, count: u64, children: &[Option<Node>]) -> Result<Option<Node>, T::Error> {
        let hashes = children.iter().map(|child| child.map(|node| node.hash).unwrap_or_default());
        let hash = inner_hash(self.placer, hashes);
        self.set(path, Some(Node { count, hash }))
    }

    fn set(&mut self, path: Path, node: Option<Node>) -> Result<Option<Node>, T::Error> {
        self.tree.set_node(self.space, path, node)?;
        Ok(node)
    }
}
