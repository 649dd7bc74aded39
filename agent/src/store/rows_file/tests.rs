//! The file keeps what it was told and refuses what it cannot be.

use std::os::unix::fs::PermissionsExt;

use everett_mesh_proto::id::Dot;
use tempfile::TempDir;

use super::*;
use crate::store::tree::Drawn;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::summary::{Content, Hash, Node, Path, Tree};

fn facts() -> Facts {
    Facts {
        store: StoreId([1; 16]),
        cluster: ClusterId([2; 16]),
        place_fingerprint: [3; 16],
        boot_epoch: 4,
        progress: Progress::settled(Commit(5)),
        mark_ms: 6,
        stopped_cleanly: true,
    }
}

fn placer() -> Placer {
    Placer::new(&[5; 32])
}

fn vector(seq: u64) -> Vector {
    [Dot { replica: ReplicaId([7; 16]), seq }].into_iter().collect()
}

#[test]
fn facts_and_vectors_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.redb");
    let file = RowsFile::open(&path, 1 << 20, placer()).unwrap();
    assert_eq!(file.facts().unwrap(), None);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    file.write_facts(&facts()).unwrap();
    let batch = file.begin().unwrap();
    batch.set_vector(&Space::numbered(0), &vector(9)).unwrap();
    batch.commit().unwrap();
    assert!(matches!(RowsFile::open(&path, 1 << 20, placer()), Err(StoreError::InUse)));
    assert_eq!(file.peers().unwrap(), None);
    file.remember_peers(b"two").unwrap();
    drop(file);
    let file = RowsFile::open(&path, 1 << 20, placer()).unwrap();
    assert_eq!(file.facts().unwrap(), Some(facts()));
    file.write_facts(&facts()).unwrap();
    assert_eq!(file.peers().unwrap().as_deref(), Some(&b"two"[..]), "the next start's facts leave it alone");
    let snapshot = file.snapshot().unwrap();
    assert_eq!(snapshot.vectors().get(&Space::numbered(0)), Some(&vector(9)));
}

#[test]
fn closed_lives_keep_their_bytes_and_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.redb");
    let (last, by) = (Dot { replica: ReplicaId([6; 16]), seq: 3 }, Dot { replica: ReplicaId([7; 16]), seq: 9 });
    let mut closed = vector(9);
    closed.raise(last);
    assert!(closed.close(last, by));
    let bytes = encode_closed(closed.closed());
    let frozen = [&[6; 16][..], &3_u64.to_le_bytes(), &[7; 16], &9_u64.to_le_bytes()].concat();
    assert_eq!(bytes, frozen, "a changed byte needs a new ROWS_FORMAT_VERSION");
    assert_eq!(decode_closed(&bytes[1..]), None);
    let file = RowsFile::open(&path, 1 << 20, placer()).unwrap();
    file.write_facts(&facts()).unwrap();
    let batch = file.begin().unwrap();
    batch.set_vector(&Space::numbered(0), &closed).unwrap();
    batch.set_closed(&Space::numbered(0), closed.closed()).unwrap();
    batch.commit().unwrap();
    drop(file);
    let file = RowsFile::open(&path, 1 << 20, placer()).unwrap();
    assert_eq!(file.snapshot().unwrap().vectors().get(&Space::numbered(0)), Some(&closed));
}

#[test]
fn a_file_of_the_first_format_has_no_closed_lives_and_still_opens() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.redb");
    let file = RowsFile::open(&path, 1 << 20, placer()).unwrap();
    file.write_facts(&facts()).unwrap();
    let batch = file.begin().unwrap();
    batch.set_vector(&Space::numbered(0), &vector(9)).unwrap();
    batch.transaction.delete_table(CLOSED).unwrap();
    batch.transaction.open_table(FACTS).unwrap().insert("format", [1, 0, 0, 0].as_slice()).unwrap();
    batch.commit().unwrap();
    assert_eq!(file.facts().unwrap(), Some(facts()));
    assert_eq!(file.snapshot().unwrap().vectors().get(&Space::numbered(0)), Some(&vector(9)));
    // The next start writes the present format.
    file.write_facts(&facts()).unwrap();
    assert_eq!(file.snapshot().unwrap().vectors().get(&Space::numbered(0)), Some(&vector(9)));
}

#[test]
fn a_snapshot_does_not_see_what_comes_later() {
    let dir = TempDir::new().unwrap();
    let file = RowsFile::open(&dir.path().join("rows.redb"), 1 << 20, placer()).unwrap();
    file.write_facts(&facts()).unwrap();
    let before = file.snapshot().unwrap();
    let (space, node) = (Space::numbered(0), Node { count: 1, hash: Hash([8; 32]) });
    let batch = file.begin().unwrap();
    let mut drawn = Drawn::default();
    drawn.set_node(&space, Path::ROOT, Some(node)).unwrap();
    drawn.write(&batch).unwrap();
    batch.set_progress(&Progress::settled(Commit(6))).unwrap();
    batch.commit().unwrap();
    let after = file.snapshot().unwrap();
    assert_eq!((before.watermark(), after.watermark()), (Commit(5), Commit(6)));
    assert_eq!(before.node(&space, Path::ROOT).unwrap(), None);
    assert_eq!(after.node(&space, Path::ROOT).unwrap(), Some(node));
}

#[test]
fn a_file_of_another_format_or_with_a_lost_fact_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = RowsFile::open(&dir.path().join("rows.redb"), 1 << 20, placer()).unwrap();
    file.write_facts(&facts()).unwrap();
    let change = |name: &'static str, value: &[u8]| {
        let batch = file.begin().unwrap();
        batch.transaction.open_table(FACTS).unwrap().insert(name, value).unwrap();
        batch.commit().unwrap();
        file.facts().unwrap_err()
    };
    assert!(matches!(change("clock_mark", b"short"), StoreError::Fact("clock_mark")));
    assert!(matches!(change("progress", b"bad"), StoreError::Fact("progress")));
    assert!(matches!(change("format", &[9, 0, 0, 0]), StoreError::Version { found: 9, .. }));
}

#[test]
fn a_damaged_row_is_named() {
    let dir = TempDir::new().unwrap();
    let file = RowsFile::open(&dir.path().join("rows.redb"), 1 << 20, placer()).unwrap();
    file.write_facts(&facts()).unwrap();
    let batch = file.begin().unwrap();
    batch.rows().unwrap().insert(b"nonsense".as_slice(), b"".as_slice()).unwrap();
    batch.commit().unwrap();
    let snapshot = file.snapshot().unwrap();
    let error = snapshot.rows_from(b"").unwrap().next().unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Row(key) if key == "nonsense"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.redb");
    std::fs::write(&path, vec![0x42; 8192]).unwrap();
    assert!(matches!(RowsFile::open(&path, 1 << 20, placer()), Err(StoreError::Rows(_))));
}
