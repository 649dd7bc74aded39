//! The rules of the house, each a function from the tree to the places that break it.
//!
//! They hold what the compiler and clippy cannot: which room may know which crate, how long a file may grow, which words
//! have no place. A rule is pure, so a test can also show it a tree that breaks it; a rule that cannot fail holds nothing.

mod edges;
mod manifest;
mod shape;
mod source;
mod words;

pub use edges::{crates_are_known_in_their_rooms, resp_is_known_at_the_socket};
pub use manifest::{
    Manifest, dependencies_are_used, dependencies_have_reasons, edges_between_crates, features_are_few,
};
pub use shape::{files_are_short, files_open_with_docs, functions_are_short, no_mod_rs, structs_are_small};
pub use source::{Source, Tree};
pub use words::{no_banned_words, only_waiting_sleeps};

use std::fmt;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// The file, relative to the workspace.
    pub path: String,
    /// Counted from one; zero where the whole file is meant.
    pub line: usize,
    /// What is wrong, in the words of the rule.
    pub what: String,
}

impl Breach {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}
