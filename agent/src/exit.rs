//! The process's exit codes: one enum, so that a supervisor can tell a full disk from a typing error.

use std::process::ExitCode;

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something that has no code of its own went wrong.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The configuration or a certificate was refused; nothing was started.
    Config = 3,
    /// The store or its disk is bad; nothing more was acknowledged.
    Store = 4,
    /// The agent's socket did not answer.
    Unreachable = 5,
    /// Another live process speaks with this node's name.
    Duplicate = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
