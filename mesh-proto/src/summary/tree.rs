//! Bringing the tree up to date: only the leaves that hold changed places are read, and only their ancestors hashed.
//!
//! With the hashes go the gists of the larger nodes. What changed below a node adds up to one gist, made once, at the
//! lowest node that has a gist stored, and merged into those of all above it.
//!
//! Invariant: a gist is stored only at a node of more than half of [`GIST_MIN`] elements.

use super::{Content, GIST_MIN};
use super::{Element, Gist, Hash, LEAF_MAX, Node, Path, Tree, elements, elements_upto, inner_hash, leaf_hash};
use crate::id::Space;
use crate::rows::Placer;

/// Brings the tree of `space` up to date after the rows at `changed` (sorted, each once) have changed; `before` is what the
/// tree describes until then. Returns the root.
pub fn update<T: Tree, B: Content<Error = T::Error>>(
    tree: &mut T,
    before: &B,
    placer: &Placer,
    space: &Space,
    changed: &[u64],
) -> Result<Hash, T::Error> {
    let mut update = Update { builder: Builder { tree, placer, space }, before };
    let root = if changed.is_empty() {
        update.builder.tree.node(space, Path::ROOT)?
    } else {
        update.node(Path::ROOT, changed)?.0
    };
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

/// Builds the tree of `space` from its rows alone; returns the root.
pub fn rebuild<T: Tree>(tree: &mut T, placer: &Placer, space: &Space) -> Result<Hash, T::Error> {
    let mut builder = Builder { tree, placer, space };
    builder.remove_below(Path::ROOT)?;
    let root = builder.build(Path::ROOT)?.0;
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

/// How the ids in a path changed.
#[derive(Default)]
struct Change {
    added: Vec<u64>,
    removed: Vec<u64>,
    /// The rest of it.
    gist: Option<Gist>,
}

impl Change {
    fn absorb(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
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
type Brought = (Option<Node>, Change);

/// What makes nodes from rows, and stores them.
struct Builder<'a, T> {
    tree: &'a mut T,
    placer: &'a Placer,
    space: &'a Space,
}

/// What brings nodes up to date.
struct Update<'a, T, B> {
    builder: Builder<'a, T>,
    before: &'a B,
}

impl<T: Tree, B: Content<Error = T::Error>> Update<'_, T, B> {
    /// The node at `path` after the rows at `changed`, all in `path`, have changed.
    fn node(&mut self, path: Path, changed: &[u64]) -> Result<Brought, T::Error> {
        let stored = self.builder.node(path)?;
        let Some(stored) = stored.filter(|node| !node.is_leaf(path)) else { return self.was_leaf(path, changed) };
        let (mut children, mut change) = (Vec::new(), Change::default());
        let mut rest = changed;
        for child in path.children() {
            let (here, later) = rest.split_at(rest.partition_point(|&place| place <= child.last()));
            rest = later;
            let node = if here.is_empty() {
                self.builder.node(child)?
            } else {
                let (node, below) = self.node(child, here)?;
                change.absorb(below);
                node
            };
            children.push(node);
        }
        let count: u64 = children.iter().flatten().map(|node| node.count).sum();
        self.builder.keep_gist(path, (stored.count, count), &mut change)?;
        if count > LEAF_MAX {
            return Ok((self.builder.inner(path, count, &children)?, change));
        }
        for child in path.children() {
            self.builder.remove_below(child)?;
            self.builder.set(child, None)?;
        }
        let elements = self.builder.elements(path)?;
        Ok((self.builder.leaf(path, &elements)?, change))
    }

    /// The same where no nodes are stored below `path`.
    fn was_leaf(&mut self, path: Path, changed: &[u64]) -> Result<Brought, T::Error> {
        let Builder { placer, space, .. } = self.builder;
        let Some(now) = self.builder.leaf_elements(path)? else {
            let (node, mut change) = self.builder.divide(path)?;
            let before = elements(self.before, placer, space, path)?;
            change.removed.extend(before.iter().map(Element::id));
            return Ok((node, change));
        };
        let mut change = Change::default();
        for &place in changed {
            let before = elements(self.before, placer, space, Path::of_place(place))?;
            let before = before.first().map(Element::id);
            let after = now.binary_search_by_key(&place, |element| element.place).ok().map(|at| now[at].id());
            if before != after {
                change.removed.extend(before);
                change.added.extend(after);
            }
        }
        Ok((self.builder.leaf(path, &now)?, change))
    }
}

impl<T: Tree> Builder<'_, T> {
    /// The node at `path`, under which no nodes are stored, from its rows: all of them are new.
    fn build(&mut self, path: Path) -> Result<Brought, T::Error> {
        let Some(elements) = self.leaf_elements(path)? else { return self.divide(path) };
        let change = Change { added: elements.iter().map(Element::id).collect(), ..Change::default() };
        Ok((self.leaf(path, &elements)?, change))
    }

    /// The same for a node with children.
    fn divide(&mut self, path: Path) -> Result<Brought, T::Error> {
        let (mut children, mut change) = (Vec::new(), Change::default());
        for child in path.children() {
            let (node, below) = self.build(child)?;
            children.push(node);
            change.absorb(below);
        }
        let count = children.iter().flatten().map(|node| node.count).sum();
        if count > GIST_MIN {
            self.tree.set_gist(self.space, path, Some(change.condensed()))?;
        }
        Ok((self.inner(path, count, &children)?, change))
    }

    /// Brings the gist of an inner node up to date, whose elements were and are so many, makes it, or drops it.
    fn keep_gist(&mut self, path: Path, (were, are): (u64, u64), change: &mut Change) -> Result<(), T::Error> {
        let stored = if were > GIST_MIN / 2 { self.tree.gist(self.space, path)? } else { None };
        let gist = match stored {
            Some(_) if are <= GIST_MIN / 2 => None,
            Some(_) if change.is_nothing() => return Ok(()),
            Some(mut gist) => {
                gist.merge(change.condensed());
                Some(gist)
            }
            None if are > GIST_MIN => Some(self.gist_of(path)?),
            None => return Ok(()),
        };
        self.tree.set_gist(self.space, path, gist.as_ref())
    }

    /// The gist of an inner node from those of its children, or their rows.
    fn gist_of(&self, path: Path) -> Result<Gist, T::Error> {
        let mut gist = Gist::default();
        for child in path.children() {
            match self.tree.gist(self.space, child)? {
                Some(below) => gist.merge(&below),
                None => self.elements(child)?.iter().for_each(|element| gist.add(element.id())),
            }
        }
        Ok(gist)
    }

    /// The elements in `path`, if a leaf can hold them.
    fn leaf_elements(&self, path: Path) -> Result<Option<Vec<Element>>, T::Error> {
        let most = if path.is_deepest() { usize::MAX } else { usize::try_from(LEAF_MAX).expect("a small number") };
        elements_upto(self.tree, self.placer, self.space, (path, most))
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

    fn node(&self, path: Path) -> Result<Option<Node>, T::Error> {
        self.tree.node(self.space, path)
    }

    fn elements(&self, path: Path) -> Result<Vec<Element>, T::Error> {
        elements(self.tree, self.placer, self.space, path)
    }

    fn set(&mut self, path: Path, node: Option<Node>) -> Result<Option<Node>, T::Error> {
        self.tree.set_node(self.space, path, node)?;
        Ok(node)
    }

    fn remove_below(&mut self, path: Path) -> Result<(), T::Error> {
        let Some(node) = self.node(path)?.filter(|node| !node.is_leaf(path)) else { return Ok(()) };
        if node.count > GIST_MIN / 2 {
            self.tree.set_gist(self.space, path, None)?;
        }
        for child in path.children() {
            self.remove_below(child)?;
            self.set(child, None)?;
        }
        Ok(())
    }
}
