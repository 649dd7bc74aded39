//! The root that a tree would have without some of its elements.
//!
//! Two sides that believe to know all cells in which they differ compare this: equal hashes of the rest prove it, as
//! strongly as equal roots. Computed from the stored nodes where nothing is left out, and from rows next to where something
//! is; of the same shape as a tree over the rest alone, so that it is a function of the rest.

use super::{Content, Element, Hash, LEAF_MAX, Path, cell_of, elements, inner_hash, leaf_hash};
use crate::id::Space;
use crate::rows::Placer;

/// The root of `space` without the elements in `cells`, which are sorted.
pub(crate) fn hash_without<C: Content>(
    content: &C,
    placer: &Placer,
    space: &Space,
    cells: &[u32],
) -> Result<Hash, C::Error> {
    Ok(Rest { content, placer, space }.part(Path::ROOT, cells)?.hash)
}

struct Rest<'a, C> {
    content: &'a C,
    placer: &'a Placer,
    space: &'a Space,
}

/// What is left of a path.
struct Part {
    count: u64,
    hash: Hash,
    /// Its elements, if they were looked at.
    elements: Option<Vec<Element>>,
}

impl<C: Content> Rest<'_, C> {
    fn part(&self, path: Path, cells: &[u32]) -> Result<Part, C::Error> {
        let stored = self.content.node(self.space, path)?;
        match stored {
            Some(node) if cells.is_empty() => return Ok(Part { count: node.count, hash: node.hash, elements: None }),
            Some(node) if !node.is_leaf(path) && path.depth() < Path::of_cell(0).depth() => {}
            Some(_) | None => {
                let mut elements = elements(self.content, self.placer, self.space, path)?;
                elements.retain(|element| cells.binary_search(&element.cell()).is_err());
                return Ok(self.leaf(elements));
            }
        }
        let mut parts = Vec::new();
        let mut rest = cells;
        for child in path.children() {
            let (here, later) = rest.split_at(rest.partition_point(|&cell| cell <= cell_of(child.last())));
            rest = later;
            parts.push((child, self.part(child, here)?));
        }
        let count = parts.iter().map(|(_, part)| part.count).sum();
        if count > LEAF_MAX {
            let hash = inner_hash(self.placer, parts.iter().map(|(_, part)| part.hash));
            return Ok(Part { count, hash, elements: None });
        }
        let mut all = Vec::new();
        for (child, part) in parts {
            all.extend(match part.elements {
                Some(elements) => elements,
                None => elements(self.content, self.placer, self.space, child)?,
            });
        }
        Ok(self.leaf(all))
    }

    fn leaf(&self, elements: Vec<Element>) -> Part {
        Part { count: elements.len() as u64, hash: leaf_hash(self.placer, &elements), elements: Some(elements) }
    }
}
