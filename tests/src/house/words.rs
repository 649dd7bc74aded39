//! Words that have no place in the code.

use super::{Breach, Tree};

/// A word, and what to do instead.
const BANNED: [(&str, &str); 11] = [
    ("Arc<Mutex", "one owner and a bounded channel"),
    ("Arc<RwLock", "one owner and a bounded channel"),
    ("unbounded_channel", "a bounded channel, named with its capacity"),
    ("unbounded(", "a bounded channel, named with its capacity"),
    ("mpsc::channel()", "a bounded channel, named with its capacity"),
    ("todo!", "do it, or leave it out"),
    ("unimplemented!", "do it, or leave it out"),
    ("dbg!", "an event"),
    ("static mut", "one owner"),
    ("lazy_static", "one owner"),
    ("process::exit", "return an exit code from main"),
];

/// Marks of unfinished work, looked for in comments as well.
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Ways to let real time pass; a simulation's own clock is none of them.
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "sleep_until("];

/// The file that describes the banned words must name them.
const THIS_FILE: &str = "tests/src/house/words.rs";

/// The only file of tests that may sleep, between two looks at a condition.
const WAITING_FILE: &str = "tests/src/cluster/wait.rs";

/// No banned word stands in the code, and no mark of unfinished work anywhere.
pub fn no_banned_words(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in tree.sources.iter().filter(|source| source.path != THIS_FILE) {
        for (number, line) in source.numbered() {
            for (word, instead) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                breaches.push(Breach::new(&source.path, number, format!("`{word}`; instead: {instead}")));
            }
        }
        for (index, line) in source.text.lines().enumerate() {
            for mark in MARKS.iter().filter(|mark| line.contains(**mark)) {
                breaches.push(Breach::new(&source.path, index + 1, format!("`{mark}`")));
            }
        }
    }
    breaches
}

/// Tests wait for conditions; they do not hope that a time is long enough.
pub fn only_waiting_sleeps(tree: &Tree) -> Vec<Breach> {
    let tests = tree.sources.iter().filter(|source| source.is_tests() && source.path != WAITING_FILE);
    let sleeps = tests.filter(|source| source.path != THIS_FILE).flat_map(|source| {
        let sleeping = source.numbered().filter(|(_, line)| SLEEPS.iter().any(|sleep| line.contains(sleep)));
        sleeping.map(|(line, _)| Breach::new(&source.path, line, "sleeps; wait for a condition instead"))
    });
    sleeps.collect()
}
