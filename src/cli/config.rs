//! `herald config`: the settings of a server, as it would read them here and now.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

use super::connect::{Global, Output};
use super::exit::{CONFIGURATION, Failed};
use super::output;
use crate::config::{self, Roles, Settings, Sources};

/// What to do with the settings.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Check the file and the environment. Exit code 64: the server would not start.
    Check(SettingsArgs),
    /// Show every setting in force, without passwords.
    Show(ShowArgs),
    /// Print the JSON Schema of the configuration file, for editors and other tools.
    Schema,
}

/// Where the settings come from.
#[derive(clap::Args)]
pub struct SettingsArgs {
    /// The configuration file (TOML). The environment (`HERALD_...`) and flags win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the API listens.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// What this node runs.
    #[arg(long, value_parser = parse_roles)]
    roles: Option<Roles>,
}

/// Arguments of `herald config show`.
#[derive(clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Tell where each comes from: default, file, environment variable or flag.
    #[arg(long)]
    origin: bool,
}

fn parse_roles(text: &str) -> Result<Roles, String> {
    let names = || Roles::ALL.map(Roles::as_str).join(" or ");
    Roles::ALL.into_iter().find(|roles| roles.as_str() == text).ok_or_else(|| format!("must be {}", names()))
}

impl SettingsArgs {
    pub fn read(self) -> Result<Settings, Failed> {
        let sources = Sources { file: self.config, listen: self.listen, roles: self.roles };
        Settings::read(&sources).map_err(|problems| Failed::new(CONFIGURATION, problems.into()))
    }
}

pub fn run(global: &Global, command: Command) -> Result<(), Failed> {
    match command {
        Command::Check(args) => check(global.output, args),
        Command::Show(args) => show(global.output, args),
        Command::Schema => output::value(global.output, config::schema()),
    }
}

fn check(mode: Output, args: SettingsArgs) -> Result<(), Failed> {
    args.read()?;
    match mode {
        Output::Table => output::line("the configuration is valid"),
        mode => output::value(mode, &json!({"valid": true})),
    }
}

fn show(mode: Output, args: ShowArgs) -> Result<(), Failed> {
    let settings = args.settings.read()?;
    let values = serde_json::to_value(settings.config.effective()).context("the settings cannot be shown")?;
    let origin = |name: &str| args.origin.then(|| settings.origin(name).to_string());
    let all = config::setting_names().into_iter().map(|name| {
        let value = values.pointer(&format!("/{}", name.replace('.', "/"))).unwrap_or(&Value::Null);
        (origin(&name), name, value)
    });
    match mode {
        Output::Table => {
            let lines: Vec<String> = all.map(|(origin, name, value)| line(&name, value, origin)).collect();
            output::line(&lines.join("\n"))
        }
        mode if args.origin => {
            let all =
                all.map(|(origin, name, value)| json!({"setting": name, "value": value, "origin": origin}));
            output::value(mode, &all.collect::<Vec<_>>())
        }
        mode => output::value(mode, &values),
    }
}

/// A setting as a TOML file has it; one that is not set is a comment.
fn line(name: &str, value: &Value, origin: Option<String>) -> String {
    let origin = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
    match value {
        Value::Null => format!("# {name} is not set"),
        value => format!("{name} = {value}{origin}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_as_a_file_has_them() {
        let shown = |value: Value, origin: Option<&str>| line("a.b", &value, origin.map(str::to_owned));
        assert_eq!(shown(json!("127.0.0.1:7670"), None), "a.b = \"127.0.0.1:7670\"");
        assert_eq!(
            shown(json!(["10.0.0.0/8"]), Some("HERALD_A__B")),
            "a.b = [\"10.0.0.0/8\"]  # HERALD_A__B"
        );
        assert_eq!(shown(Value::Null, Some("default")), "# a.b is not set");
    }
}
