//! The house rules, held on the tree as it stands; and for each rule a tree that breaks it.

use std::path::{Path, PathBuf};

use everett_tests::house::{self, Breach, Manifest, Tree};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn held(rule: impl Fn(&Tree) -> Vec<Breach>) {
    let tree = Tree::read(&root()).expect("the workspace can be read");
    assert!(tree.sources.len() > 20, "the tree was not found: {} files", tree.sources.len());
    none(&rule(&tree));
}

fn none(breaches: &[Breach]) {
    let list = breaches.iter().map(Breach::to_string).collect::<Vec<_>>();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

fn broken_by(rule: impl Fn(&Tree) -> Vec<Breach>, path: &str, text: &str) {
    assert_eq!(rule(&Tree::of(path, text)).len(), 1, "{path} must break the rule once");
}

fn manifests() -> Vec<Manifest> {
    Manifest::read_all(&root()).expect("the manifests can be read")
}

#[test]
fn crates_are_known_in_their_rooms() {
    held(house::crates_are_known_in_their_rooms);
    for (path, text) in [
        ("agent/src/ledger.rs", "use redb::Table;"),
        ("agent/src/ledger.rs", "fn f(c: quinn::Connection) {}"),
        ("agent/src/net.rs", "use rustls::ServerConfig;"),
        ("mesh-proto/src/rows.rs", "    postcard::to_stdvec(x)"),
        ("agent/src/net/peer.rs", "use mio::Poll;"),
    ] {
        broken_by(house::crates_are_known_in_their_rooms, path, text);
    }
    none(&house::crates_are_known_in_their_rooms(&Tree::of("agent/src/store/rows.rs", "use redb::Table;")));
    none(&house::crates_are_known_in_their_rooms(&Tree::of("agent/src/net/tls.rs", "use rustls::X;")));
}

#[test]
fn resp_is_known_at_the_socket() {
    held(house::resp_is_known_at_the_socket);
    broken_by(house::resp_is_known_at_the_socket, "agent/src/ledger.rs", r#"f(b"+OK\r\n");"#);
}

#[test]
fn crates_depend_in_one_direction() {
    none(&house::edges_between_crates(&manifests()));
    for (folder, dependency) in [
        ("mesh-proto", "tokio"),
        ("mesh-proto", "everett-certs"),
        ("certs", "everett-mesh-proto"),
        ("agent", "everett"),
    ] {
        let manifest = Manifest::parse(folder, &format!("[dependencies]\n{dependency}.workspace = true\n"));
        assert_eq!(house::edges_between_crates(&[manifest]).len(), 1, "{folder} -> {dependency}");
    }
}

#[test]
fn dependencies_have_reasons() {
    let manifests = manifests();
    none(&house::dependencies_have_reasons(&manifests[0]));
    let bare = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n\nc = \"1\"\n";
    assert_eq!(house::dependencies_have_reasons(&Manifest::parse("", bare)).len(), 1);
}

#[test]
fn dependencies_are_used() {
    let whole = Tree::read(&root()).expect("the workspace can be read");
    none(&house::dependencies_are_used(&manifests(), &whole));
    let manifest = Manifest::parse("agent", "[dependencies]\nredb.workspace = true\nmio.workspace = true\n");
    let tree = Tree::of("agent/src/a.rs", "use mio::Poll; // redb::Table\n");
    assert_eq!(house::dependencies_are_used(&[manifest], &tree).len(), 1);
}

#[test]
fn one_feature_flag_is_enough() {
    none(&house::features_are_few(&manifests()));
    let manifest = Manifest::parse("agent", "[features]\ntesting = []\nfast = []\n");
    assert_eq!(house::features_are_few(&[manifest]).len(), 1);
}

#[test]
fn files_are_short() {
    held(house::files_are_short);
    broken_by(house::files_are_short, "agent/src/a.rs", &"x\n".repeat(401));
    broken_by(house::files_are_short, "agent/src/a/tests.rs", &"x\n".repeat(601));
    none(&house::files_are_short(&Tree::of("agent/src/a.rs", &"x\n".repeat(400))));
}

#[test]
fn files_open_with_docs() {
    held(house::files_open_with_docs);
    broken_by(house::files_open_with_docs, "agent/src/a.rs", "use x;\n//! too late\n");
}

#[test]
fn modules_have_their_own_names() {
    held(house::no_mod_rs);
    broken_by(house::no_mod_rs, "agent/src/a/mod.rs", "//! x\n");
}

#[test]
fn functions_are_short() {
    held(house::functions_are_short);
    let lines = "    x();\n".repeat(70);
    broken_by(house::functions_are_short, "a.rs", &format!("pub(crate) fn f(\n    a: [u8; 4],\n) {{\n{lines}}}\n"));
    let comments = "    // why\n\n".repeat(70);
    none(&house::functions_are_short(&Tree::of("a.rs", &format!("fn f() {{\n{comments}}}\nfn g() {{}}\n"))));
}

#[test]
fn structs_are_small() {
    held(house::structs_are_small);
    let fields = |count: usize| "    /// doc\n    pub field: u8,\n".repeat(count);
    broken_by(house::structs_are_small, "a.rs", &format!("pub struct S {{\n{}}}\n", fields(13)));
    none(&house::structs_are_small(&Tree::of("a.rs", &format!("struct S {{\n{}}}\n", fields(12)))));
}

#[test]
fn no_banned_words() {
    held(house::no_banned_words);
    for text in [
        "let x: Arc<Mutex<u8>> = y;",
        "let (a, b) = crossbeam_channel::unbounded();",
        "todo!()",
        concat!("// TO", "DO later"),
        "std::process::exit(1)",
    ] {
        broken_by(house::no_banned_words, "agent/src/a.rs", text);
    }
    none(&house::no_banned_words(&Tree::of("agent/src/a.rs", "// no Arc<Mutex here\nf(\"dbg!\");")));
}

#[test]
fn tests_wait_for_conditions() {
    held(house::only_waiting_sleeps);
    broken_by(house::only_waiting_sleeps, "tests/tests/a.rs", "    thread::sleep(second);");
}
