//! The voice: data to stdout, talk to stderr.
//!
//! A reader that went away (`everett report | head`) is no failure of ours, and no panic.

use std::io::{self, ErrorKind, Write};

use super::failure::Failure;

/// Prints `text` as the verb's result.
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Prints `text` for the person who waits; without one, there is nobody to tell that nobody listens.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints why a verb failed.
pub(crate) fn failure(failure: &Failure) {
    talk(&failure.words());
}
