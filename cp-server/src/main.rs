//! The binary: everything is in the library, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cp_server::cli::main()
}
