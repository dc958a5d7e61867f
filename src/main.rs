//! Arguments in, exit code out.

use mimalloc::MiMalloc;
use streamkeeper::cli::{self, Exit};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Exit {
    cli::run(std::env::args_os())
}
