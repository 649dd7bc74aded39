//! The binary with real files, ports, sockets and processes around it.

mod check;
mod exporter;
mod place;
mod start;
