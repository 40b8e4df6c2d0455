//! The settings of a server: what is told of them, and what is refused.

use std::path::Path;
use std::process::Output;

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value as Read;
use serde_json::Value;

use crate::docs::markdown::{self, table, text};
use crate::support::herald;

/// `docs/configuration.md`: every setting of the schema.
pub(crate) fn page() -> String {
    let schema = schema();
    let mut page = markdown::origin("src/config and src/listener/limits.rs");
    page += INTRODUCTION;
    page += "\n## Top level\n\n";
    page += &settings_table("", &schema, |field| field.get("properties").is_none());
    for (name, section) in fields(&schema).filter(|(_, field)| field.get("properties").is_some()) {
        page += &format!("## {name}\n\n{}\n\n", text(&described(section)));
        page += &settings_table(name, section, |_| true);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

const INTRODUCTION: &str = "\
# Configuration

What `herald serve` reads. Each setting has a default; `store_url` alone must be set. The file (`--config herald.toml`) wins
over the defaults, the environment over the file, flags (`--listen`) over the environment. An unknown name, in the
file or in a variable that begins with `HERALD_`, is an error; `HERALD_LOG`, `HERALD_ADDRESS`, `HERALD_API_KEY`,
`HERALD_API_KEY_FILE` and `HERALD_CLIENT_ID` belong to the command line.

```sh
herald config check --config herald.toml            # exit code 0, or 64 with each problem on a line
herald config show --config herald.toml --origin    # every value in force, and where it comes from
herald config schema                                # all of this page as a JSON Schema, for editors
```

Setting up a server is told in [running.md](running.md), what a caller sees who meets a limit in [limits.md](limits.md).
";

/// The settings of one table that `is_meant`, a row each.
fn settings_table(section: &str, schema: &Value, is_meant: impl Fn(&Value) -> bool) -> String {
    let rows = fields(schema).filter(|(_, field)| is_meant(field)).map(|(name, field)| {
        let name = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        let default = match field.get("default") {
            None => "must be set".to_owned(),
            Some(Value::Null) => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let meaning = format!("{} {}", text(&described(field)), allowed(field));
        vec![format!("`{name}`"), format!("`{}`", variable(&name)), default, meaning.trim_end().to_owned()]
    });
    table(&["setting", "environment", "default", "meaning and limits"], rows)
}

fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().expect("it is a table").iter()
}

fn described(schema: &Value) -> String {
    schema["description"].as_str().expect("everything is described").replace('\n', " ")
}

/// The values that a setting may have, if not all of its type.
fn allowed(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return format!("{}.", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "));
    }
    match (&field["minimum"], &field["maximum"]) {
        (Value::Number(least), Value::Number(most)) => format!("{least} to {most}."),
        _ => String::new(),
    }
}

fn variable(setting: &str) -> String {
    format!("HERALD_{}", setting.replace('.', "__").to_uppercase())
}

#[test]
fn the_reference_names_every_setting_and_its_variable() {
    let written = read("docs/configuration.md");
    let shown = stdout(run(&["show"], &[STORE]));
    let names: Vec<&str> =
        shown.lines().filter_map(|line| line.trim_start_matches("# ").split(' ').next()).collect();
    assert!(names.len() > 40, "{shown}");
    for name in names {
        let row = format!("| `{name}` | `{}` |", variable(name));
        assert!(written.contains(&row), "docs/configuration.md lacks {row}");
    }
}

#[test]
fn the_example_of_the_documentation_is_valid() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&file, example()).expect("a file");
    let checked = run(&["check", "--config", &file.path().display().to_string()], &[]);
    assert_eq!(stdout(checked), "the configuration is valid\n");
    let found = violations(&example());
    assert_eq!(found, None);
}

#[test]
fn the_schema_refuses_what_the_server_refuses() {
    for wrong in [
        "",
        "store_url = 4",
        "store_url = 'sqlite:x.db'\nlisten_on = 'x'",
        "store_url = 'sqlite:x.db'\nkey_cost = 3",
        "store_url = 'sqlite:x.db'\nreference_bits = 12",
        "store_url = 'sqlite:x.db'\ntiming.lease_ms = 86400001",
        "store_url = 'sqlite:x.db'\nlistener.max_connections = 0",
        "store_url = 'sqlite:x.db'\ntls.cert_file = ''",
    ] {
        assert!(violations(wrong).is_some(), "{wrong}");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(&file, wrong).expect("a file");
        let checked = run(&["check", "--config", &file.path().display().to_string()], &[]);
        assert_eq!(checked.status.code(), Some(64), "{wrong}");
    }
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&file, "store_url = 'sqlite:x.db'\nkey_cost = 5\nlisten = '127.0.0.1:1'\n[tls]\n")
        .expect("a file");
    let path = file.path().display().to_string();
    let environment = [("HERALD_TIMING__LEASE_MS", "30000"), ("HERALD_LISTEN", "127.0.0.1:2")];
    let shown =
        stdout(run(&["show", "--origin", "--config", &path, "--listen", "127.0.0.1:3"], &environment));
    let lines: Vec<&str> = shown.lines().collect();
    for line in [
        "heartbeat_ms = 15000  # default".to_owned(),
        "timing.watch_poll_ms = 5000  # default".to_owned(),
        format!("key_cost = 5  # file {path}"),
        "timing.lease_ms = 30000  # HERALD_TIMING__LEASE_MS".to_owned(),
        "listen = \"127.0.0.1:3\"  # flag --listen".to_owned(),
        "# archive_dir is not set".to_owned(),
    ] {
        assert!(lines.contains(&line.as_str()), "{line} is not in\n{shown}");
    }
    let json = stdout(run(&["show", "--origin", "--config", &path, "--json"], &environment));
    let all: Vec<Value> = serde_json::from_str(&json).expect("JSON");
    let listen = all.iter().find(|one| one["setting"] == "listen").expect("it is a setting");
    assert_eq!(
        *listen,
        serde_json::json!({"setting": "listen", "value": "127.0.0.1:2", "origin": "HERALD_LISTEN"})
    );
}

#[test]
fn what_is_shown_is_a_file_with_the_same_settings() {
    let environment = [
        STORE,
        ("HERALD_LIMITS__TRUSTED_PROXIES", r#"["10.0.0.0/8"]"#),
        ("HERALD_SIMULATOR__TIME_SCALE", "2.5"),
        ("HERALD_TIME_SCALE", "100"),
        ("HERALD_SIMULATOR__ANSWER_TIMEOUT_MS", "2000"),
    ];
    let shown = stdout(run(&["show"], &environment));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&file, &shown).expect("a file");
    assert_eq!(violations(&shown), None);
    let again = stdout(run(&["show", "--config", &file.path().display().to_string()], &[]));
    assert_eq!(again, shown);
}

#[test]
fn no_password_is_shown() {
    let url = ("HERALD_STORE_URL", "postgres://herald:s3cret@db:5432/herald");
    for arguments in
        [&["show"][..], &["show", "--origin"], &["show", "--json"], &["show", "--origin", "--json"]]
    {
        let shown = stdout(run(arguments, &[url]));
        assert!(
            !shown.contains("s3cret") && shown.contains("postgres://herald:***@db:5432/herald"),
            "{shown}"
        );
    }
}

#[test]
fn a_file_that_is_no_toml_is_named_without_what_is_in_it() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&file, "store_url = 'postgres://herald:s3cret@db").expect("a file");
    let path = file.path().display().to_string();
    let ended = run(&["check", "--config", &path], &[]);
    assert_eq!(ended.status.code(), Some(64), "{ended:?}");
    let told = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(told.contains("line 1") && told.contains(&path) && !told.contains("s3cret"), "{told}");
}

#[test]
fn every_wrong_setting_is_named_with_exit_code_64() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let wrong = "listen_on = 'x'\n[tls]\ncert_file = 'cert.pem'\n[listener]\nmax_connections = 0\n[timing]\nlease_ms = 'x'\n";
    std::fs::write(&file, wrong).expect("a file");
    let path = file.path().display().to_string();
    let environment = [
        ("HERALD_TIME_SCALE", "20000"),
        ("HERALD_NAP", "1"),
        ("HERALD_TIMING__RETENTION_INTERVAL_MS", "604800001"),
    ];
    let in_file = |fault: &str| format!("{fault} [file {path}]");
    let expected = [
        in_file("listen_on is not a setting"),
        in_file("listener.max_connections must be from 1 to 1000000"),
        "nap is not a setting [HERALD_NAP]".to_owned(),
        "store_url must be sqlite:PATH or postgres://... (in the file, or as HERALD_STORE_URL)".to_owned(),
        "time_scale must be from 0.01 to 10000 [HERALD_TIME_SCALE]".to_owned(),
        in_file("timing.lease_ms is not valid: found a text, expected u64"),
        "timing.retention_interval_ms must be from 1 to 604800000 [HERALD_TIMING__RETENTION_INTERVAL_MS]"
            .to_owned(),
        "tls.key_file must be set, because tls.cert_file is".to_owned(),
    ];
    for arguments in [&["config", "check", "--config", &path][..], &["serve", "--config", &path]] {
        let ended = output(arguments, &environment);
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        let told = String::from_utf8(ended.stderr).expect("UTF-8");
        let mut lines: Vec<&str> = told.lines().map(|line| line.trim_start_matches("error: ")).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

/// The one setting without which nothing is valid.
const STORE: (&str, &str) = ("HERALD_STORE_URL", "sqlite:x.db");

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    output(&[&["config"], arguments].concat(), environment)
}

fn output(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = herald();
    command.args(arguments).envs(environment.iter().copied());
    command.as_std_mut().output().expect("herald runs")
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn schema() -> Value {
    serde_json::from_str(&stdout(run(&["schema"], &[]))).expect("the schema is JSON")
}

/// How a file breaks the schema.
fn violations(file: &str) -> Option<String> {
    let read: Read = Figment::from(Toml::string(file)).extract().expect("the file is TOML");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", schema()).expect("the schema has a name");
    let compiled = compiler.compile("schema.json", &mut schemas).expect("it is a JSON Schema");
    let value = serde_json::to_value(read).expect("TOML is JSON, but for dates");
    schemas.validate(&value, compiled).err().map(|error| error.to_string())
}

/// The file that docs/running.md begins with.
fn example() -> String {
    let page = read("docs/running.md");
    let (_, rest) = page.split_once("cat > herald.toml <<'END'\n").expect("it has a file");
    rest.split_once("\nEND\n").expect("the file ends").0.to_owned()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the page is there")
}
