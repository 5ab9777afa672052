//! The binary: arguments in, exit code out. Everything else is in the library.

fn main() -> std::process::ExitCode {
    nodetally::cli::main(std::env::args_os().collect())
}
