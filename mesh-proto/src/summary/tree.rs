//! Bringing the tree up to date: only the leaves that hold changed places are read, and only their ancestors hashed.

use std::ops::ControlFlow;

use super::{Hash, LEAF_MAX, Node, Path, Tree, elements, inner_hash, leaf_hash};
use crate::id::Space;
use crate::rows::Placer;

/// Brings the tree of `space` up to date after the rows at `changed` (sorted, each once) have changed; returns the root.
pub fn update<T: Tree>(tree: &mut T, placer: &Placer, space: &Space, changed: &[u64]) -> Result<Hash, T::Error> {
    let mut update = Update { tree, placer, space };
    let root =
        if changed.is_empty() { update.tree.node(space, Path::ROOT)? } else { update.node(Path::ROOT, changed)? };
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

/// Builds the tree of `space` from its rows alone; returns the root.
pub fn rebuild<T: Tree>(tree: &mut T, placer: &Placer, space: &Space) -> Result<Hash, T::Error> {
    let mut update = Update { tree, placer, space };
    update.remove_below(Path::ROOT)?;
    let root = update.build(Path::ROOT)?;
    Ok(root.map(|node| node.hash).unwrap_or_default())
}

struct Update<'a, T> {
    tree: &'a mut T,
    placer: &'a Placer,
    space: &'a Space,
}

impl<T: Tree> Update<'_, T> {
    /// The node at `path` after the rows at `changed`, all in `path`, have changed.
    fn node(&mut self, path: Path, changed: &[u64]) -> Result<Option<Node>, T::Error> {
        let inner = self.tree.node(self.space, path)?.is_some_and(|node| !node.is_leaf(path));
        if !inner {
            return self.build(path);
        }
        let mut children = Vec::new();
        let mut rest = changed;
        for child in path.children() {
            let (here, later) = rest.split_at(rest.partition_point(|&place| place <= child.last()));
            rest = later;
            let node = if here.is_empty() { self.tree.node(self.space, child)? } else { self.node(child, here)? };
            children.push(node);
        }
        let count: u64 = children.iter().flatten().map(|node| node.count).sum();
        if count > LEAF_MAX {
            return self.set(path, Some(self.inner(count, &children)));
        }
        for child in path.children() {
            self.remove_below(child)?;
            self.set(child, None)?;
        }
        self.leaf(path)
    }

    /// The node at `path`, under which no nodes are stored, from its rows.
    fn build(&mut self, path: Path) -> Result<Option<Node>, T::Error> {
        if path.is_deepest() || !self.is_large(path)? {
            return self.leaf(path);
        }
        let children = path.children().map(|child| self.build(child)).collect::<Result<Vec<_>, _>>()?;
        let count = children.iter().flatten().map(|node| node.count).sum();
        self.set(path, Some(self.inner(count, &children)))
    }

    fn leaf(&mut self, path: Path) -> Result<Option<Node>, T::Error> {
        let elements = elements(self.tree, self.placer, self.space, path)?;
        let node = Node { count: elements.len() as u64, hash: leaf_hash(self.placer, &elements) };
        self.set(path, (node.count > 0).then_some(node))
    }

    fn inner(&self, count: u64, children: &[Option<Node>]) -> Node {
        let hashes = children.iter().map(|child| child.map(|node| node.hash).unwrap_or_default());
        Node { count, hash: inner_hash(self.placer, hashes) }
    }

    /// Whether more places are taken in `path` than a leaf may hold; counts no further than that.
    fn is_large(&self, path: Path) -> Result<bool, T::Error> {
        let (mut count, mut last) = (0, None);
        self.tree.rows(self.space, path, &mut |key, _| {
            let place = Some(key.place());
            if place != last {
                count += 1;
                last = place;
            }
            if count > LEAF_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(count > LEAF_MAX)
    }

    fn set(&mut self, path: Path, node: Option<Node>) -> Result<Option<Node>, T::Error> {
        self.tree.set_node(self.space, path, node)?;
        Ok(node)
    }

    fn remove_below(&mut self, path: Path) -> Result<(), T::Error> {
        let inner = self.tree.node(self.space, path)?.is_some_and(|node| !node.is_leaf(path));
        if inner {
            for child in path.children() {
                self.remove_below(child)?;
                self.set(child, None)?;
            }
        }
        Ok(())
    }
}
