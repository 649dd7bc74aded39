//! The tree as the rules see it: every Rust file, with its comments and literals told apart from its code.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that hold no sources of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "fuzz"];

/// One Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the workspace, with forward slashes.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The file line by line, comments and the insides of literals replaced by blanks.
    pub code: Vec<String>,
}

impl Source {
    /// The file `path` with this text.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blank(&text).lines().map(str::to_owned).collect();
        Self { path: path.into(), text, code }
    }

    /// Whether the file holds tests only.
    pub fn is_tests(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Whether the file is `room.rs`, or lies in `room/`.
    pub fn is_in(&self, room: &str) -> bool {
        let rest = self.path.strip_prefix(room);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/') || rest.is_empty())
    }

    /// The lines of code, counted from one.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// All Rust files of a workspace.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The files, by path.
    pub sources: Vec<Source>,
}

impl Tree {
    /// Reads the workspace at `root`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        collect(root, &mut paths)?;
        paths.sort();
        let sources = paths.into_iter().map(|path| {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let name = relative.to_string_lossy().replace('\\', "/");
            Ok(Source::new(name, fs::read_to_string(&path)?))
        });
        Ok(Self { sources: sources.collect::<io::Result<_>>()? })
    }

    /// A tree of one file, for showing a rule what breaks it.
    pub fn of(path: &str, text: &str) -> Self {
        Self { sources: vec![Source::new(path, text)] }
    }
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                collect(&path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// The same text with comments and the insides of literals blanked, line ends kept.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(char::from(bytes[at]));
            at += 1;
        }
    }
    out
}

/// The end of the comment or literal that begins at `at`, or `at` if none does.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let within_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + string(rest),
        [b'r', b'"' | b'#', ..] if !within_word => at + raw_string(rest),
        [b'b', b'r', b'"' | b'#', ..] if !within_word => match raw_string(&rest[1..]) {
            0 => at,
            length => at + 1 + length,
        },
        [b'\'', ..] => at + character(rest),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Zero where `r#` begins a raw identifier instead.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    let end = rest[body..].windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| body + end + close.len())
}

/// Zero where the quote begins a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, after @ ..] => 3 + after.iter().position(|b| *b == b'\'').map_or(0, |end| end + 1),
        [_, first, after @ ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if after.get(width - 1) == Some(&b'\'') { 2 + width } else { 0 }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        blank(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a(); // redb\nb(); /* redb /* x */ redb */ c();"), "a(); b(); c();");
        assert_eq!(code(r#"f("redb \" redb", 'r', '\'', b"redb");"#), "f( , , , b );");
        assert_eq!(code("f(r#\"redb \" redb\"#, r\"redb\");"), "f( , );");
        assert_eq!(code("impl<'a> X<'a> { r#type: &'a str }"), "impl<'a> X<'a> { r#type: &'a str }");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = Source::new("x.rs", "\"a\nb\"\n/* c\n*/ redb");
        assert_eq!(source.code.len(), 4);
        assert!(source.code[3].ends_with("redb"));
    }

    #[test]
    fn a_room_is_its_file_and_its_folder() {
        for (path, inside) in [("a/net.rs", true), ("a/net/tls.rs", true), ("a/network.rs", false)] {
            assert_eq!(Source::new(path, "").is_in("a/net"), inside, "{path}");
        }
    }
}
