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
