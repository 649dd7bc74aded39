use std::os::unix::fs::symlink;

use super::*;

const SECRET: &[u8] = b"secret";

fn contents() -> [Content<'static>; 2] {
    [
        Content { name: NODE_KEY, secrecy: Secrecy::Secret, bytes: SECRET },
        Content { name: NODE_CERTIFICATE, secrecy: Secrecy::Public, bytes: b"public" },
    ]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & MODE_BITS
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn secrets_are_for_their_owner_alone_and_nothing_else_is_left_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("deep/bundle");
    write_set(&dir, &contents(), false).unwrap();
    assert_eq!(mode(&dir.join(NODE_KEY)), 0o600);
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(names(&dir), [NODE_KEY, NODE_CERTIFICATE]);
}

#[test]
fn without_force_one_existing_file_keeps_the_whole_set_from_being_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(NODE_CERTIFICATE), "old").unwrap();
    let error = write_set(dir.path(), &contents(), false).unwrap_err();
    assert!(matches!(&error, Error::Exists { path } if path.ends_with(NODE_CERTIFICATE)), "{error}");
    assert!(error.hint().unwrap().contains("--force"));
    assert_eq!(names(dir.path()), [NODE_CERTIFICATE]);
    assert_eq!(fs::read(dir.path().join(NODE_CERTIFICATE)).unwrap(), b"old");
}

#[test]
fn a_file_that_appears_after_the_check_is_not_overwritten_either() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(NODE_KEY), "old").unwrap();
    let error = write_one(dir.path(), &contents()[0], false).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(fs::read(dir.path().join(NODE_KEY)).unwrap(), b"old");
    assert_eq!(names(dir.path()), [NODE_KEY]);
}

#[test]
fn a_dangling_link_counts_as_an_existing_file() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/nowhere/at/all", dir.path().join(NODE_KEY)).unwrap();
    let error = write_set(dir.path(), &contents(), false).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
}

#[test]
fn force_puts_a_new_file_in_place_instead_of_writing_into_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NODE_KEY);
    fs::write(&path, "old and longer than the new one").unwrap();
    set_mode(&path, 0o644);
    let mut reader = File::open(&path).unwrap();
    write_set(dir.path(), &contents(), true).unwrap();
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "old and longer than the new one", "who had the old file open still has it whole");
    assert_eq!(fs::read(&path).unwrap(), SECRET);
    assert_eq!(mode(&path), 0o600, "the old file's loose mode is not inherited");
    assert_eq!(names(dir.path()), [NODE_KEY, NODE_CERTIFICATE]);
}

#[test]
fn a_write_that_cannot_be_placed_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(NODE_KEY)).unwrap();
    let error = write_set(dir.path(), &contents(), true).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!(names(dir.path()), [NODE_KEY]);
}

#[test]
fn a_secret_open_to_others_is_refused_with_its_mode_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &contents(), false).unwrap();
    let path = dir.path().join(NODE_KEY);
    for open in [0o604, 0o644, 0o660, 0o620, 0o601, 0o777] {
        set_mode(&path, open);
        let error = read(&path, Secrecy::Secret).unwrap_err();
        assert!(matches!(error, Error::Exposed { mode, .. } if mode == open), "{open:o}: {error}");
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
    for closed in [0o600, 0o400, 0o640, 0o440] {
        set_mode(&path, closed);
        assert_eq!(read(&path, Secrecy::Secret).unwrap(), SECRET, "{closed:o}");
    }
}

#[test]
fn an_endless_file_is_read_up_to_the_bound_only() {
    let error = read(Path::new("/dev/zero"), Secrecy::Public).unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes_max: FILE_BYTES_MAX, .. }), "{error}");
}

#[test]
fn a_place_key_of_another_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PLACE_KEY);
    for length in [0, 31, 33, 64] {
        fs::write(&path, vec![7; length]).unwrap();
        set_mode(&path, 0o600);
        let error = read_place_key(dir.path()).unwrap_err();
        assert!(matches!(error, Error::PlaceKeyLength { bytes, .. } if bytes == length), "{error}");
    }
}

#[test]
fn a_missing_file_is_named_and_says_how_to_make_one() {
    let error = read_place_key(Path::new("/nowhere")).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/place.key: cannot be read");
    assert!(error.hint().unwrap().contains("certs init"));
}
