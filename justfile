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

# what users would take instead, installed where it is absent
bench-peers:
    for program in redis-server redis-benchmark etcd; do command -v $program || missing=1; done; \
    test -z "$missing" || apt-get install -q -y --no-install-recommends redis-server redis-tools etcd-server

# agents beside redis-server, etcd and a bare QUIC stream in one run: ratios, and target/bench.json; `just bench --only idle,start`
bench *options: bench-peers
    cargo bench -p everett-tests --bench beside -- {{options}}

# ten million keys beside ten thousand
bench-keys *options: bench-peers
    cargo bench -p everett-tests --bench beside -- --only scale --keys 10000000 --json target/bench-keys.json {{options}}

# instructions of the hot paths beside the recorded ones; after a change that was meant: just count --record
count *options:
    cargo bench -p everett-tests --bench counts -- {{options}}

# what an agent costs that has nothing to do: bytes and computing of each of five in a minute
idle:
    cargo test --release -p everett-tests --test detection -- --ignored --nocapture an_idle_minute

# everything, as CI does it
ci:
    .ci/run

# membership in figures, beside foca on the same simulated network; the everyday tests hold a smaller version
bench-membership *args:
    cargo bench -p everett-tests --bench membership -- {{args}}

# what range repair costs, beside the crates that find differences between sets
bench-repair *args:
    cargo bench -p everett-tests --bench repair -- {{args}}
