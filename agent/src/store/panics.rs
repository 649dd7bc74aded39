//! Panics of the library under `rows.redb`, which takes the pages it wrote on trust: a damaged file makes it panic in
//! places where it could not be asked.
//!
//! Such a panic is an error of the store, and is made one here, at the boundary: a hook, set once by the process, notes on
//! the panicking thread that the library's code is to blame and keeps its words from being printed; [`guarded`] turns what
//! unwinds into [`StoreError::Panicked`]. Any other panic is ours and goes on as one. Nothing that was being done to the
//! file survives: a transaction that unwinds is never committed, and the process ends.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use super::error::StoreError;

thread_local! {
    /// Whether the panic that unwinds on this thread began in the library.
    static BLAMED: Cell<bool> = const { Cell::new(false) };
}

/// Sets the hook; called once, before anything opens a store.
pub fn blame_library() {
    let ours = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let blamed = info.location().is_some_and(|location| is_of_library(location.file()));
        BLAMED.set(blamed);
        if !blamed {
            ours(info);
        }
    }));
}

/// Does `work`; a panic of the library is an error of the store.
pub fn guarded<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(payload) if BLAMED.take() => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            let words = text.lines().next().unwrap_or_default().to_owned();
            Err(StoreError::Panicked(words).into())
        }
        Err(payload) => panic::resume_unwind(payload),
    }
}

fn is_of_library(file: &str) -> bool {
    file.split(['/', '\\']).any(|part| part == "redb" || part.starts_with("redb-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_code_is_told_from_ours() {
        assert!(is_of_library("/home/x/.cargo/registry/src/y/redb-4.6.0/src/db.rs"));
        assert!(!is_of_library("agent/src/store/rows_file.rs"));
        assert!(!is_of_library("/credbank/src/lib.rs"));
    }

    #[test]
    fn a_panic_of_ours_stays_one() {
        let caught = panic::catch_unwind(|| guarded(|| -> Result<(), StoreError> { panic!("ours") }));
        assert!(caught.is_err());
        assert!(matches!(guarded(|| Err::<(), _>(StoreError::InUse)), Err(StoreError::InUse)));
    }
}
