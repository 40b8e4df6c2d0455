//! `herald completions SHELL`: what a shell needs to complete this command line.

use clap_complete::Shell;

use super::exit::Failed;

/// Arguments of `herald completions`.
#[derive(clap::Args)]
pub struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args, mut command: clap::Command) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "herald", &mut script);
    super::output::line(String::from_utf8_lossy(&script).trim_end())
}
