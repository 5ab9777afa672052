# The commands that people use. `just` lists them; https://just.systems

_default:
    @just --list

# Builds the program as it is released: target/release/nodetally.
build:
    cargo build --release --locked

# Runs the tests.
test *ARGS:
    cargo test --locked {{ARGS}}

# Runs the agent here, with its own receiver on 127.0.0.1:7643.
run *ARGS:
    cargo run --release --locked -- run {{ARGS}}

# Prints two samples of this host, one second apart, as a table.
dump *ARGS:
    cargo run --release --locked -- dump {{ARGS}}

# Builds what a release consists of: packages, archives, SHA256SUMS, into dist/.
release *ARGS:
    packaging/release {{ARGS}}

# Runs everything that a change must pass.
ci *ARGS:
    .ci/run {{ARGS}}

# Holds the crates against deny.toml, and asks whether one has an advisory. By hand and before a release, since a new
# advisory is no fault of the change that happens to be tried. Needs cargo-deny.
deny:
    cargo deny --locked check

# The code of figures: ledger, attribution, topology, and the join of sockets.
figures := "-f 'src/ledger/**/*.rs' -f 'src/attribution/**/*.rs' -f 'src/snapshot/topology/**/*.rs' -f src/snapshot/known_sockets.rs -f src/snapshot/listeners.rs"

# Changes the code of figures piece by piece, and lists the changes that no test notices. A day; a part of it: `just mutants --shard 0/100`.
mutants *ARGS:
    cargo mutants --jobs 1 --output target {{figures}} {{ARGS}}

# The same for one file: `just mutants-of src/ledger/io.rs`.
mutants-of FILE *ARGS:
    cargo mutants --jobs 1 --output target -f {{FILE}} {{ARGS}}
