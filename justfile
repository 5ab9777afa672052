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

# Runs everything that a change must pass.
ci *ARGS:
    .ci/run {{ARGS}}

# Changes the code of the ledger, of attribution and of sockets piece by piece, and lists the changes
# that no test notices. Hours; with a file, minutes: `just mutants -f src/ledger/sockets.rs`.
mutants *ARGS:
    cargo mutants --jobs 1 --output target {{ARGS}}
