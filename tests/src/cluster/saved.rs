//! Copies of state directories: disks that are put back.

use std::fs;
use std::path::Path;

/// Copies all that is in a directory into another one, which is made if need be.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a stopped agent's state can be copied");
    for entry in fs::read_dir(from).expect("a stopped agent's state can be copied") {
        let entry = entry.expect("a stopped agent's state can be copied");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a stopped agent's state can be copied").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a stopped agent's state can be copied");
        }
    }
}
