//! Arguments in, exit code out.

use streamkeeper::cli::{self, Exit};

fn main() -> Exit {
    cli::run(std::env::args_os())
}
