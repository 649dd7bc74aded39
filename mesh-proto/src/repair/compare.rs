//! Comparing what the peer holds at a path with what is held here: what to show it next, what to send, what to want.

use super::{Pin, Sight};
use crate::id::Space;
use crate::rows::Placer;
use crate::summary::{CHILDREN, Element, Hash, Path, elements};

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths that differ, to be shown to the peer.
    pub(super) show: Vec<Path>,
    /// Paths that differ, whose elements on the peer's side are known: to be compared further here.
    pub(super) against: Vec<(Path, Vec<Element>)>,
    /// Places that differ and are taken on both sides.
    pub(super) both: Vec<u64>,
    /// Places that are taken here only.
    pub(super) mine: Vec<u64>,
    /// Places that are taken at the peer only.
    pub(super) theirs: Vec<u64>,
}

/// What this side holds at `path`.
pub(super) fn sight<P: Pin>(pin: &P, placer: &Placer, space: &Space, path: Path) -> Result<Sight, P::Error> {
    let inner = pin.node(space, path)?.is_some_and(|node| !node.is_leaf(path));
    if !inner {
        return Ok(Sight::Elements(elements(pin, placer, space, path)?));
    }
    let hash = |child| Ok(pin.node(space, child)?.map(|node| half(node.hash)).unwrap_or_default());
    Ok(Sight::Inner(path.children().map(hash).collect::<Result<_, P::Error>>()?))
}

/// Compares the hashes of the peer's children of `path` with what is held here.
pub(super) fn with_children<P: Pin>(
    pin: &P,
    space: &Space,
    path: Path,
    theirs: &[[u8; 16]],
) -> Result<Found, P::Error> {
    let mut found = Found::default();
    if theirs.len() != usize::from(CHILDREN) || path.is_deepest() {
        return Ok(found);
    }
    let inner = pin.node(space, path)?.is_some_and(|node| !node.is_leaf(path));
    if !inner {
        // The peer divides what is listed here: it is shown the list, and compares.
        found.show.push(path);
        return Ok(found);
    }
    for (child, theirs) in path.children().zip(theirs) {
        let mine = pin.node(space, child)?.map(|node| half(node.hash)).unwrap_or_default();
        if mine != *theirs {
            found.show.push(child);
        }
    }
    Ok(found)
}

/// Compares all that the peer holds in `path` with what is held here.
pub(super) fn with_elements<P: Pin>(
    pin: &P,
    placer: &Placer,
    space: &Space,
    (path, theirs): (Path, &[Element]),
) -> Result<Found, P::Error> {
    let mut found = Found::default();
    let inner = pin.node(space, path)?.is_some_and(|node| !node.is_leaf(path));
    if inner {
        for child in path.children() {
            let inside: Vec<Element> = theirs.iter().filter(|element| child.contains(element.place)).copied().collect();
            if !inside.is_empty() || pin.node(space, child)?.is_some() {
                found.against.push((child, inside));
            }
        }
        return Ok(found);
    }
    let mine = elements(pin, placer, space, path)?;
    let (mut mine, mut theirs) = (mine.iter().peekable(), theirs.iter().peekable());
    while let Some(place) = [mine.peek().map(|e| e.place), theirs.peek().map(|e| e.place)].into_iter().flatten().min() {
        let here = mine.next_if(|element| element.place == place);
        let there = theirs.next_if(|element| element.place == place);
        match (here, there) {
            (Some(here), Some(there)) if here != there => found.both.push(place),
            (Some(_), Some(_)) | (None, None) => {}
            (Some(_), None) => found.mine.push(place),
            (None, Some(_)) => found.theirs.push(place),
        }
    }
    Ok(found)
}

fn half(hash: Hash) -> [u8; 16] {
    *hash.0.first_chunk().expect("32 bytes begin with 16")
}
