//! The `psr-forensics` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    psr_forensics::cli::main()
}
