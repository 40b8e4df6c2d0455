//! How settings come together, and where each of them comes from.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, UncasedStr, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::problem::{Problem, Problems};
use super::{Config, Roles};

/// Variables with our prefix that are not settings of the server.
const OTHER_VARIABLES: [&str; 5] = ["address", "api_key", "api_key_file", "client_id", "log"];

const PREFIX: &str = "HERALD_";
const FLAGS: &str = "flags";

/// What settings are read from, beside the environment (`HERALD_LISTEN`, `HERALD_TIMING__LEASE_MS`, ...).
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The flag `--listen`, which wins over file and environment.
    pub listen: Option<SocketAddr>,
    /// The flag `--roles`, likewise.
    pub roles: Option<Roles>,
}

/// Settings that are good to use, and where they come from.
pub struct Settings {
    pub config: Config,
    figment: Figment,
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The variable's name.
    Environment(String),
    /// The flag as it is written.
    Flag(String),
}

impl Settings {
    /// Reads, understands and checks everything.
    pub fn read(sources: &Sources) -> Result<Self, Problems> {
        let figment = layers(sources)?;
        Ok(Self { config: understand(&figment)?, figment })
    }

    /// Where the value of a setting comes from.
    pub fn origin(&self, setting: &str) -> Origin {
        origin(&self.figment, setting)
    }
}

impl Config {
    /// Reads the file, if any, then the environment.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let sources = Sources { file: file.map(Path::to_owned), ..Sources::default() };
        Ok(Settings::read(&sources)?.config)
    }
}

/// The settings in `figment`, or everything that is wrong with them.
pub fn understand(figment: &Figment) -> Result<Config, Problems> {
    let (config, mut problems) = typed(figment)?;
    let misread: Vec<String> = problems.iter().map(|problem| problem.setting.clone()).collect();
    // In place of what could not be read stands the default, which is not to blame.
    let found = config.problems().into_iter().filter(|problem| !misread.contains(&problem.setting));
    problems.extend(found);
    if problems.is_empty() {
        return Ok(config);
    }
    for problem in &mut problems {
        problem.origin = Some(origin(figment, &problem.setting)).filter(|origin| *origin != Origin::Default);
    }
    Err(Problems(problems))
}

fn layers(sources: &Sources) -> Result<Figment, Problems> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(file) = &sources.file {
        if !file.is_file() {
            let fault = format!("there is no configuration file {}", file.display());
            return Err(Problems(vec![Problem::new("", fault)]));
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    let is_server_variable =
        |name: &UncasedStr| !OTHER_VARIABLES.iter().any(|other| name == other) && !name.starts_with("test_");
    figment = figment.merge(Env::prefixed(PREFIX).filter(is_server_variable).split("__"));
    let mut flags = Dict::new();
    if let Some(listen) = sources.listen {
        flags.insert("listen".into(), listen.to_string().into());
    }
    if let Some(roles) = sources.roles {
        flags.insert("roles".into(), roles.as_str().into());
    }
    Ok(figment.merge(Flags(flags)))
}

/// Every value that has its type, defaults in place of the others, and what is wrong with those.
fn typed(figment: &Figment) -> Result<(Config, Vec<Problem>), Problems> {
    let mut data = figment.data().map_err(|error| Problems(vec![unreadable(figment, error)]))?;
    let mut values = data.remove(&Profile::Default).unwrap_or_default();
    let mut problems = Vec::new();
    loop {
        // It stops at the first error: that value is taken out, and the others are read again.
        let error = match Value::from(values.clone()).deserialize::<Config>() {
            Ok(config) => return Ok((config, problems)),
            Err(error) => error,
        };
        problems.push(Problem::new(&error.path.join("."), fault(&error.kind)));
        if !remove(&mut values, &error.path) {
            return Err(Problems(problems));
        }
    }
}

/// What is wrong with a value. No text is repeated: it may be a secret under a wrong name.
fn fault(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(..) => "is not a setting".to_owned(),
        Kind::InvalidType(Actual::Str(_), expected) | Kind::InvalidValue(Actual::Str(_), expected) => {
            format!("is not valid: found a text, expected {expected}")
        }
        kind => format!("is not valid: {kind}"),
    }
}

/// What a parser of TOML says, without the line of the file that it shows: that may hold a password.
fn unreadable(figment: &Figment, error: figment::Error) -> Problem {
    // Only an error of `extract` knows of which file it is.
    let error = figment.extract::<Dict>().err().unwrap_or(error);
    let said = error.kind.to_string();
    let is_of_source = |line: &&str| {
        line.trim_start_matches(|character: char| character == ' ' || character.is_ascii_digit())
            .starts_with('|')
    };
    let fault = said.lines().filter(|line| !is_of_source(line)).collect::<Vec<_>>().join("; ");
    let file = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()?.file_path());
    Problem { origin: file.map(|file| Origin::File(file.to_owned())), ..Problem::new("", fault) }
}

/// Takes out the value at `path`, or the last one before it that is there. False: there is none.
fn remove(values: &mut Dict, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    if !rest.is_empty()
        && let Some(Value::Dict(_, inner)) = values.get_mut(name)
        && remove(inner, rest)
    {
        return true;
    }
    values.remove(name).is_some()
}

fn origin(figment: &Figment, setting: &str) -> Origin {
    let Some(metadata) = figment.find_metadata(setting) else {
        // A place in a list comes from where the list does.
        return setting.rsplit_once('.').map_or(Origin::Default, |(list, _)| origin(figment, list));
    };
    match &metadata.source {
        Some(Source::File(path)) => Origin::File(path.clone()),
        // The provider of the environment has no source, and the prefix in its name.
        None if metadata.name.contains(PREFIX) => Origin::Environment(variable(setting)),
        None if metadata.name == FLAGS => Origin::Flag(format!("--{setting}")),
        _ => Origin::Default,
    }
}

/// The environment variable of a setting.
fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "__").to_uppercase())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Settings from the command line.
struct Flags(Dict);

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named(FLAGS)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(file: &str) -> Vec<String> {
        let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(file));
        let Err(Problems(problems)) = understand(&figment) else { panic!("{file} is accepted") };
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_that_is_wrong_in_a_file_is_told() {
        let found = problems(
            "listen = 'localhost:1'\nlisten_on = 'x'\nkey_cost = 3\n[timing]\nlease_ms = 'long'\nnap_ms = 1\n[limits]\n\
             trusted_proxies = ['10.0.0.0/8', 'x']\n",
        );
        let names: Vec<&str> = found.iter().filter_map(|problem| problem.split(' ').next()).collect();
        assert_eq!(names.len(), 7, "{found:#?}");
        for name in [
            "key_cost",
            "limits.trusted_proxies.1",
            "listen",
            "listen_on",
            "store_url",
            "timing.lease_ms",
            "timing.nap_ms",
        ] {
            assert!(names.contains(&name), "{name}: {found:#?}");
        }
        assert!(found.contains(&"listen_on is not a setting".to_owned()), "{found:#?}");
    }

    #[test]
    fn a_table_in_place_of_a_value_and_a_value_in_place_of_a_table_are_told() {
        let found = problems("store_url = 'sqlite:x.db'\ntiming = 3\n[key_cost]\na = 1\n");
        assert_eq!(found.len(), 2, "{found:#?}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_without_what_is_in_it() {
        let found = problems("key_cost = 4\nstore_url = 'postgres://herald:s3cret@db\n");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("line 2") && found[0].lines().count() == 1, "{found:#?}");
        assert!(!found[0].contains("s3cret"), "{found:#?}");
    }

    #[test]
    fn a_secret_under_a_wrong_name_is_not_repeated() {
        let found = problems("store_connections = 'postgres://herald:s3cret@db'\nlisten = 's3cret'\n");
        assert!(!found.concat().contains("s3cret"), "{found:#?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let error = Config::read(Some(Path::new("no/such/file"))).expect_err("there is no file");
        assert_eq!(error.to_string(), "there is no configuration file no/such/file");
    }
}
