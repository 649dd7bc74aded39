# Everyday recipes; `.ci/run` is what decides.

# list the recipes
default:
    @just --list

# three agents on loopback, a workload, a partition and its end
demo:
    cargo run --release -p everett -- demo

# all tests
test:
    cargo test --workspace

# what CI holds of the code's form
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# the machines build where there is no operating system
wasm:
    cargo check --target wasm32-unknown-unknown -p everett-mesh-proto

# licences, sources, banned crates
deny:
    cargo deny check bans licenses sources

# the unit files, in a staged root
systemd:
    systemd/verify

# the machine's package index through three real agents
real-input:
    tests/real-input

# an agent beside redis-server in one run: ratios, and target/bench.json
bench *options:
    tests/bench {{options}}

# everything, as CI does it
ci:
    .ci/run

# membership in figures, beside foca on the same simulated network; the everyday tests hold a smaller version
bench-membership *args:
    cargo bench -p everett-tests --bench membership -- {{args}}

# what range repair costs, beside the crates that find differences between sets
bench-repair *args:
    cargo bench -p everett-tests --bench repair -- {{args}}
