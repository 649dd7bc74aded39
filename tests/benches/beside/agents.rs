//! Agents as they come: the clusters of the tests with the configuration of the example file.

use everett_tests::cluster::Cluster;

/// What the tests set for themselves; everything else there is by default, or a path.
const TESTS_STORE: &str = "[store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n";

/// The log level of the tests, which costs more than what is measured.
const TESTS_FILTER: &str = "filter = \"everett_agent=debug,info\"";

/// Some agents with the configuration they have by default, none of them started.
pub(crate) fn laid_out(count: usize) -> Cluster {
    laid_out_with(count, "")
}

/// The same with this table for the store.
pub(crate) fn laid_out_with(count: usize, store: &str) -> Cluster {
    let mut cluster = Cluster::laid_out(count);
    for index in 0..count {
        cluster.agent(index).reconfigure(TESTS_STORE, store);
        cluster.agent(index).reconfigure(TESTS_FILTER, "filter = \"info\"");
    }
    cluster
}

/// One agent without peers that serves.
pub(crate) fn alone() -> Cluster {
    alone_with("")
}

/// The same with this table for the store.
pub(crate) fn alone_with(store: &str) -> Cluster {
    let mut cluster = laid_out_with(1, store);
    cluster.agent(0).start_and_serve();
    cluster
}

/// A whole mesh of three.
pub(crate) fn mesh() -> Cluster {
    let mut cluster = laid_out(3);
    (0..3).for_each(|index| cluster.agent(index).start());
    cluster.wait_until_whole();
    cluster
}

/// The store's table for memory that holds this percentage of so many rows before they are flushed.
pub(crate) fn store_for(rows: u64, percent: u64, row_bytes: u64) -> String {
    let bytes = rows * percent / 100 * row_bytes;
    // No less than an agent takes.
    format!("[store]\nmemtable_bytes = {}\n", bytes.max(MEMTABLE_BYTES_MIN))
}

/// The least that the configuration takes.
const MEMTABLE_BYTES_MIN: u64 = 16 << 20;
