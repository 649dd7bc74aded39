//! Loaded before the C library by a test: `fdatasync` fails with EIO while the file named by `WORN_DISK` exists, and waits
//! while the pipe named by `HELD_DISK` does, until somebody who opened it for writing lets go of it.
//!
//! It is compiled on its own, as a dynamic library, because nothing in the agent may know that its disk can be made to fail.

#![crate_type = "cdylib"]

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

const EIO: c_int = 5;
/// The next definition of a symbol, after this library's.
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// Stands in for the C library's.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(file: c_int) -> c_int {
    if std::env::var_os("WORN_DISK").is_some_and(|name| Path::new(&name).exists()) {
        // SAFETY: the C library gives each thread its own errno, valid for the thread's life.
        unsafe { *__errno_location() = EIO };
        return -1;
    }
    if let Some(pipe) = std::env::var_os("HELD_DISK").filter(|name| Path::new(name).exists()) {
        // Whatever comes of it, the wait is over.
        let _ = std::fs::read(pipe);
    }
    // SAFETY: the C library defines fdatasync with this signature.
    unsafe {
        let next: extern "C" fn(c_int) -> c_int = std::mem::transmute(dlsym(RTLD_NEXT, c"fdatasync".as_ptr()));
        next(file)
    }
}
