//! How large things may grow, and how a file begins.

use super::{Breach, Source, Tree};

/// The roof of a file's length in lines.
const FILE_LINES_MAX: usize = 400;

/// The same for a file of tests.
const TESTS_LINES_MAX: usize = 600;

/// Lines of code in one function.
const FUNCTION_LINES_MAX: usize = 70;

/// Fields in one struct.
const FIELDS_MAX: usize = 12;

/// No file grows past its roof.
pub fn files_are_short(tree: &Tree) -> Vec<Breach> {
    let long = tree.sources.iter().filter_map(|source| {
        let roof = if source.is_tests() { TESTS_LINES_MAX } else { FILE_LINES_MAX };
        let lines = source.code.len();
        (lines > roof).then(|| Breach::new(&source.path, 0, format!("{lines} lines, the roof is {roof}")))
    });
    long.collect()
}

/// Every file says first what it is; a file of unit tests is said by its parent.
pub fn files_open_with_docs(tree: &Tree) -> Vec<Breach> {
    let bare =
        tree.sources.iter().filter(|source| !source.path.ends_with("/tests.rs") && !source.text.starts_with("//! "));
    bare.map(|source| Breach::new(&source.path, 1, "does not open with `//!`")).collect()
}

/// Modules are `foo.rs` beside `foo/`.
pub fn no_mod_rs(tree: &Tree) -> Vec<Breach> {
    let mods = tree.sources.iter().filter(|source| source.path.ends_with("/mod.rs"));
    mods.map(|source| Breach::new(&source.path, 0, "is a mod.rs; its name is `foo.rs` beside `foo/`")).collect()
}

/// No function is longer than a page.
pub fn functions_are_short(tree: &Tree) -> Vec<Breach> {
    let long = |source: &Source, block: &Block| {
        let lines = source.code[block.first..=block.last].iter();
        let lines = lines.filter(|line| !line.trim().is_empty()).count();
        (lines > FUNCTION_LINES_MAX).then(|| {
            let what = format!("a function of {lines} lines, the roof is {FUNCTION_LINES_MAX}");
            Breach::new(&source.path, block.first + 1, what)
        })
    };
    each_block(tree, "fn ", long)
}

/// No struct holds more than a person holds in mind.
pub fn structs_are_small(tree: &Tree) -> Vec<Breach> {
    let large = |source: &Source, block: &Block| {
        let inside = source.code.get(block.first + 1..block.last).unwrap_or_default();
        let indent = inside.iter().filter(|l| !l.trim().is_empty()).map(|l| indent(l)).min()?;
        let is_field = |line: &&String| {
            let word = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = word.split_once(':').map_or("", |(name, _)| name);
            let name = name.rsplit(' ').next().unwrap_or_default();
            indent == self::indent(line)
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let fields = inside.iter().filter(is_field).count();
        (fields > FIELDS_MAX).then(|| {
            let what = format!("a struct of {fields} fields, the roof is {FIELDS_MAX}");
            Breach::new(&source.path, block.first + 1, what)
        })
    };
    each_block(tree, "struct ", large)
}

/// An item with a body in braces, by the indices of its first and last line.
struct Block {
    first: usize,
    last: usize,
}

fn each_block(tree: &Tree, keyword: &str, judge: impl Fn(&Source, &Block) -> Option<Breach>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in &tree.sources {
        let begins =
            |line: &str| line.match_indices(keyword).any(|(at, _)| at == 0 || line[..at].ends_with([' ', '(']));
        for (number, _) in source.numbered().filter(|(_, line)| begins(line)) {
            let block = block_from(&source.code, number - 1);
            breaches.extend(block.and_then(|block| judge(source, &block)));
        }
    }
    breaches
}

/// The block that begins on line `first`, unless a semicolon ends the item before a brace opens.
fn block_from(code: &[String], first: usize) -> Option<Block> {
    let (mut depth, mut brackets) = (0_usize, 0_usize);
    for (offset, line) in code[first..].iter().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets = brackets.saturating_sub(1),
                b'{' => depth += 1,
                b'}' if depth <= 1 => {
                    return (depth == 1).then_some(Block { first, last: first + offset });
                }
                b'}' => depth -= 1,
                b';' if depth == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
