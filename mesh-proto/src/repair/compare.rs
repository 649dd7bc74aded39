//! Comparing what the peer holds at a path with what is held here: what to show it next, what to send, what to want.
//!
//! The descent does not stop where the stored tree does: below a stored leaf the hashes of the children are computed from
//! its elements, and only what is down to a few elements is listed. A listed element costs as much as a hash, and most of
//! those in a leaf that differs are equal.

use super::{Half, Listed, Pin, Sight};
use crate::id::Space;
use crate::rows::Placer;
use crate::summary::{CHILDREN, Element, Hash, Path, elements, leaf_hash};

/// Up to so many elements are listed rather than hashed by child.
pub(super) const LIST_MAX: usize = 12;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths that differ, to be shown to the peer.
    pub(super) show: Vec<Path>,
    /// Paths that differ, whose elements on the peer's side are known: to be compared further here.
    pub(super) against: Vec<(Path, Vec<Listed>)>,
    /// Places that differ and are taken on both sides.
    pub(super) both: Vec<u64>,
    /// Places that are taken here only.
    pub(super) mine: Vec<u64>,
    /// Places that are taken at the peer only.
    pub(super) theirs: Vec<u64>,
}

/// One namespace of a pin, and the secret of its hashes.
pub(super) struct Side<'a, P> {
    pub(super) pin: &'a P,
    pub(super) placer: &'a Placer,
    pub(super) space: &'a Space,
}

impl<P: Pin> Side<'_, P> {
    /// What this side holds at `path`.
    pub(super) fn sight(&self, path: Path) -> Result<Sight, P::Error> {
        if let Some(children) = self.stored_children(path)? {
            return Ok(Sight::Inner(children));
        }
        let elements = elements(self.pin, self.placer, self.space, path)?;
        if elements.len() > LIST_MAX {
            return Ok(Sight::Inner(self.children_of(path, &elements)));
        }
        Ok(Sight::Elements(elements.iter().map(|element| listed(path, element)).collect()))
    }

    /// Compares the hashes of the peer's children of `path` with what is held here.
    pub(super) fn with_children(&self, path: Path, theirs: &[Half]) -> Result<Found, P::Error> {
        let mut found = Found::default();
        match self.sight(path)? {
            Sight::Inner(mine) => {
                let differ = path.children().zip(mine.iter().zip(theirs)).filter(|(_, (mine, theirs))| mine != theirs);
                found.show.extend(differ.map(|(child, _)| child));
            }
            // The peer divides what is listed here: it is shown the list, and compares.
            Sight::Elements(_) => found.show.push(path),
        }
        Ok(found)
    }

    /// Compares all that the peer holds in `path` with what is held here.
    pub(super) fn with_elements(&self, path: Path, theirs: &[Listed]) -> Result<Found, P::Error> {
        let mut found = Found::default();
        if self.is_inner(path)? {
            for child in path.children() {
                let shift = child.first() - path.first();
                let inside = theirs.iter().filter(|listed| child.contains(path.first() + listed.offset));
                let inside: Vec<Listed> =
                    inside.map(|listed| Listed { offset: listed.offset - shift, ..*listed }).collect();
                if !inside.is_empty() || self.pin.node(self.space, child)?.is_some() {
                    found.against.push((child, inside));
                }
            }
            return Ok(found);
        }
        let mine = elements(self.pin, self.placer, self.space, path)?;
        let mut mine = mine.iter().map(|element| listed(path, element)).peekable();
        let mut theirs = theirs.iter().copied().peekable();
        while let Some(offset) = [mine.peek(), theirs.peek()].into_iter().flatten().map(|listed| listed.offset).min() {
            let here = mine.next_if(|listed| listed.offset == offset);
            let there = theirs.next_if(|listed| listed.offset == offset);
            let place = path.first() + offset;
            match (here, there) {
                (Some(here), Some(there)) if here != there => found.both.push(place),
                (Some(_), Some(_)) | (None, None) => {}
                (Some(_), None) => found.mine.push(place),
                (None, Some(_)) => found.theirs.push(place),
            }
        }
        Ok(found)
    }

    fn is_inner(&self, path: Path) -> Result<bool, P::Error> {
        Ok(self.pin.node(self.space, path)?.is_some_and(|node| !node.is_leaf(path)))
    }

    fn stored_children(&self, path: Path) -> Result<Option<Vec<Half>>, P::Error> {
        if !self.is_inner(path)? {
            return Ok(None);
        }
        let hash = |child| Ok(half(self.pin.node(self.space, child)?.map(|node| node.hash).unwrap_or_default()));
        path.children().map(hash).collect::<Result<_, _>>().map(Some)
    }

    fn children_of(&self, path: Path, elements: &[Element]) -> Vec<Half> {
        let mut rest = elements;
        let hash = |child: Path| {
            let (here, later) = rest.split_at(rest.partition_point(|element| element.place <= child.last()));
            rest = later;
            half(leaf_hash(self.placer, here))
        };
        path.children().map(hash).collect()
    }
}

/// Whether an honest peer can hold this at `path`.
pub(super) fn is_sound(path: Path, sight: &Sight) -> bool {
    match sight {
        Sight::Inner(children) => children.len() == usize::from(CHILDREN) && !path.is_deepest(),
        Sight::Elements(listed) => {
            listed.len() <= LIST_MAX
                && listed.is_sorted_by(|a, b| a.offset < b.offset)
                && listed.iter().all(|listed| listed.offset <= path.last() - path.first())
        }
    }
}

fn listed(path: Path, element: &Element) -> Listed {
    Listed { offset: element.place - path.first(), digest: half(element.digest) }
}

fn half(hash: Hash) -> Half {
    *hash.0.first_chunk().expect("32 bytes begin with 16")
}
