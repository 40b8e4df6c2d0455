//! The command line as a program: the real binary against a real server. One mode is enough: nothing here depends on it.

mod file;
mod page;
mod printed;
mod rows;
mod secrets;
mod table;

use serde_json::Value;

use crate::support::{Ended, Herald, Process, herald};

/// Nobody has it.
const ABSENT: &str = "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55";

/// The command line with one key.
struct Cli<'a> {
    herald: &'a Herald,
    key: &'a str,
}

impl<'a> Cli<'a> {
    fn new(herald: &'a Herald, key: &'a str) -> Self {
        Self { herald, key }
    }

    /// Runs a verb to its end.
    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[]).await
    }

    /// The same with variables of the environment.
    async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = herald();
        command
            .env("HERALD_ADDRESS", self.herald.address().to_string())
            .env("HERALD_API_KEY", self.key)
            .envs(variables.iter().copied())
            .current_dir(self.herald.folder())
            .args(arguments);
        Process::start("cli", self.herald.folder(), command).ended().await
    }

    /// Runs a verb that must end well, and reads its JSON.
    async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let ended = self.run(&arguments).await;
        assert!(ended.status.success(), "herald {arguments:?}: {ended:?}");
        serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("herald {arguments:?}: {error}: {ended:?}"))
    }
}

/// Runs a verb that needs no server.
async fn offline(arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = herald();
    command.current_dir(folder.path()).args(arguments);
    Process::start("cli", folder.path(), command).ended().await
}

/// Every verb that `herald --help` names, with the verbs of groups spelled out.
async fn verbs() -> Vec<String> {
    let mut verbs = Vec::new();
    for verb in commands(&[]).await {
        let within = commands(&[&verb]).await;
        if within.is_empty() {
            verbs.push(verb);
        } else {
            verbs.extend(within.iter().map(|inner| format!("{verb} {inner}")));
        }
    }
    verbs.sort_unstable();
    verbs
}

/// The commands that a help page lists.
async fn commands(verb: &[&str]) -> Vec<String> {
    let help = offline(&[verb, &["--help"]].concat()).await;
    assert!(help.status.success(), "{help:?}");
    let listed = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
