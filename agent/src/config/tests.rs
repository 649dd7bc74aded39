use std::error::Error;

use super::units::NotASeed;
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/everett/everett.toml"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err("this configuration must be refused").to_string()
}

#[test]
fn the_example_states_the_defaults() {
    let parsed = parse(EXAMPLE).expect("the example must parse");
    let defaults = Config::with_defaults("/etc/everett/certificates".into(), Vec::new());
    assert_eq!(parsed, defaults);
}

#[test]
fn the_example_names_every_knob() {
    let commented = ["advertise", "group", "metrics", "pid_file"];
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if commented.iter().any(|k| rest.starts_with(&format!("{k} = "))) => rest,
            Some(_) | None => line,
        })
        .fold(String::new(), |all, line| all + line + "\n");
    let parsed = parse(&uncommented).expect("the example must parse with its comments lifted");
    assert!(
        parsed.advertise.is_some()
            && parsed.pid_file.is_some()
            && parsed.socket.group.is_some()
            && parsed.telemetry.metrics.is_some()
    );
    let fields = format!("{parsed:?}")
        .split([' ', '{', ','])
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|field| !["host", "port", "keeps_tree"].contains(field))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(fields.len() > 20, "the debug form lists the fields: {fields:?}");
    for field in fields {
        let knob = format!("{field} = ");
        let table = format!("[{field}]");
        assert!(
            uncommented.lines().any(|line| line.starts_with(&knob) || line == table),
            "{field} is missing from the example"
        );
    }
}

#[test]
fn certificates_and_seeds_are_enough() {
    let config = parse("certificates = \"/c\"\nseeds = [\"a.example:7117\", \"[::1]:9\"]\n").unwrap();
    assert_eq!(config.seeds[0], Seed { host: "a.example".into(), port: 7117 });
    assert_eq!(config.seeds[1], Seed { host: "::1".into(), port: 9 });
    assert_eq!(config.seeds[1].to_string(), "[::1]:9");
    assert_eq!(config.listen.port(), 7117);
    assert_eq!(config.store, StoreConfig::default());
}

#[test]
fn a_missing_key_is_named() {
    let text = refused("certificates = \"/c\"\n");
    assert_eq!(text, "/etc/everett/everett.toml: missing field `seeds`");
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let text = refused("certificates = \"/c\"\nseeds = []\n\n[store]\nmemtable = 5\n");
    assert!(text.starts_with("/etc/everett/everett.toml:5: store.memtable: unknown field `memtable`"), "{text}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_key() {
    let text = refused("certificates = \"/c\"\nseeds = []\n[store]\ncache_bytes = \"much\"\n");
    assert!(text.starts_with("/etc/everett/everett.toml:4: store.cache_bytes: invalid value"), "{text}");
    let text = refused("certificates = \"/c\"\nseeds = [\"nowhere\"]\n");
    assert!(text.starts_with("/etc/everett/everett.toml:2: seeds[0]: invalid value"), "{text}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let text = refused("certificates = \"/c\"\nseeds = [\n");
    assert!(text.starts_with("/etc/everett/everett.toml:"), "{text}");
    assert!(text.contains("not valid TOML"), "{text}");
}

#[test]
fn every_relation_can_be_broken_and_is_named_with_its_line() {
    let cases = [
        (Relation::ValueIsPositive, "[limits]\nvalue_max = 0\n"),
        (Relation::FrameHoldsValue, "[limits]\nvalue_max = \"5MiB\"\n"),
        (Relation::SegmentHoldsFrame, "[store]\nsegment_bytes = \"1MiB\"\n"),
        (Relation::LogHoldsSegments, "[store]\nlog_bytes = \"65MiB\"\n"),
        (Relation::MemtableIsUseful, "[store]\nmemtable_bytes = 4096\n"),
        (Relation::IntervalIsShort, "[store]\ndurability_interval = \"2s\"\n"),
        (Relation::VerifyingRests, "[store]\nverify_period = \"59s\"\n"),
        (Relation::OutputHoldsValue, "[limits]\noutput_buffer_bytes = 10\n"),
        (Relation::ClientsAreServed, "[limits]\nclients_max = 0\n"),
    ];
    assert_eq!(cases.len(), Relation::ALL.len());
    for (expected, text) in cases {
        let text = format!("certificates = \"/c\"\nseeds = []\n{text}");
        let error = parse(&text).expect_err("the relation is broken");
        let ConfigError::Relation { place, relation } = &error else { panic!("expected {expected:?}, got {error}") };
        assert_eq!((*relation, place.line), (expected, Some(4)));
    }
}

#[test]
fn sizes_take_a_number_or_a_unit() {
    let config =
        parse("certificates = \"/c\"\nseeds = []\n[store]\nmemtable_bytes = \"64 MiB\"\ncache_bytes = 4096\n").unwrap();
    assert_eq!(config.store.memtable_bytes, Share::Bytes(64 << 20));
    assert_eq!(config.store.memtable_bytes.resolve(), 64 << 20);
    assert_eq!(config.store.cache_bytes, Share::Bytes(4096));
}

#[test]
fn nonsense_sizes_modes_and_seeds_are_refused() {
    for line in [
        "[store]\ncache_bytes = -1\n",
        "[store]\nlog_bytes = \"auto\"\n",
        "[store]\ncache_bytes = \"99999999999TiB\"\n",
        "[socket]\nmode = \"0999\"\n",
        "[socket]\nmode = \"7777\"\n",
        "[socket]\nmode = \"+660\"\n",
        "[clock]\nmax_skew = \"500\"\n",
        "[telemetry]\nformat = \"xml\"\n",
    ] {
        parse(&format!("certificates = \"/c\"\nseeds = []\n{line}")).expect_err(line);
    }
    for seed in ["", ":", "a:", ":1", "a:0", "a:65536", "::1:9", "a b:1", "[::1]"] {
        assert_eq!(seed.parse::<Seed>(), Err(NotASeed), "{seed}");
    }
}

#[test]
fn durability_is_chosen_by_namespace() {
    let text =
        "certificates = \"/c\"\nseeds = []\n[store]\ndurability_namespaces = { 3 = \"interval\", 15 = \"commit\" }\n";
    let config = parse(text).unwrap();
    let of = |text: &str, space| parse(text).unwrap().store.levels().of(space);
    assert_eq!((of(text, 0), of(text, 3)), (Durability::Commit, Durability::Interval));
    let other =
        text.replace("durability_n", "durability = \"interval\"\ndurability_interval = \"100ms\"\ndurability_n");
    assert_eq!((of(&other, 0), of(&other, 15)), (Durability::Interval, Durability::Commit));
    assert_eq!(config.store.sync_after(), Duration::from_millis(500));
    for line in ["_namespaces = { 16 = \"interval\" }", "_namespaces = { a = \"commit\" }", " = \"always\""] {
        let text = refused(&format!("certificates = \"/c\"\nseeds = []\n[store]\ndurability{line}\n"));
        assert!(text.starts_with("/etc/everett/everett.toml:4: store.durability"), "{text}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let config =
        parse("certificates = \"certs\"\nseeds = []\nstate = \"state\"\n[socket]\npath = \"../1.sock\"\n").unwrap();
    assert_eq!(config.certificates, Path::new("/etc/everett/certs"));
    assert_eq!(config.state, Path::new("/etc/everett/state"));
    assert_eq!(config.socket.path, Path::new("/etc/everett/../1.sock"));
}

#[test]
fn leading_dots_are_followed_from_the_directory_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("real/inner")).unwrap();
    std::os::unix::fs::symlink(root.join("real/inner"), root.join("link")).unwrap();
    let text = "certificates = \"c\"\nseeds = []\nstate = \"../../s\"\n[socket]\npath = \"../1.sock\"\n";
    let config = Config::parse(text, &root.join("link/everett.toml")).unwrap();
    assert_eq!(config.socket.path, root.join("real/1.sock"));
    assert_eq!(config.state, root.join("s"));
}

#[test]
fn an_absent_file_says_which_and_why() {
    let error = Config::load(Path::new("/nowhere/everett.toml")).expect_err("there is no such file");
    assert_eq!(error.to_string(), "cannot read the configuration /nowhere/everett.toml");
    assert!(error.source().is_some_and(|source| source.to_string().contains("No such file")));
    assert!(error.hint().contains("--config"));
}
