//! The settings as a JSON Schema, and each value against what the schema says of it.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Config;
use super::problem::Problem;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // Without references a reader, or a generator of pages, sees a section where it is.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
});

/// The JSON Schema of the configuration file.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// The names of all settings, as in `timing.lease_ms`.
pub fn setting_names() -> Vec<String> {
    settings().into_iter().map(|(name, _)| name).collect()
}

/// The values that the schema does not allow. Their types are right, since they were read.
pub(super) fn out_of_range(config: &Config) -> Vec<Problem> {
    let values = match serde_json::to_value(config) {
        Ok(values) => values,
        // A path in the configuration of `herald dev`.
        Err(error) => return vec![Problem::new("", error.to_string())],
    };
    let faults = settings().into_iter().filter_map(|(name, schema)| {
        let value = values.pointer(&format!("/{}", name.replace('.', "/")))?;
        Some(Problem::new(&name, fault(schema, value)?))
    });
    faults.collect()
}

/// A configuration without a store is no good, though each setting has a default by itself.
pub(super) fn ask_for_the_store(schema: &mut Schema) {
    schema.insert("required".into(), json!(["store_url"]));
    if let Some(Value::Object(store_url)) = schema.pointer_mut("/properties/store_url") {
        store_url.remove("default");
    }
}

/// Every setting by its name: the leaves of the schema.
fn settings() -> Vec<(String, &'static Value)> {
    let mut found = Vec::new();
    collect("", &SCHEMA, &mut found);
    found
}

fn collect(name: &str, schema: &'static Value, found: &mut Vec<(String, &'static Value)>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.push((name.to_owned(), schema));
        return;
    };
    for (field, schema) in properties {
        let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
        collect(&name, schema, found);
    }
}

fn fault(schema: &Value, value: &Value) -> Option<String> {
    let (least, most) = (&schema["minimum"], &schema["maximum"]);
    if let Some(allowed) = schema["enum"].as_array() {
        let words: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        return (!allowed.contains(value)).then(|| format!("must be {}", words.join(" or ")));
    }
    if value.as_str().is_some_and(str::is_empty) && schema["minLength"] == 1 {
        return Some("must not be empty".to_owned());
    }
    // Whatever a range excludes is far below the numbers that a float cannot tell apart.
    let is_within = match value.as_f64() {
        Some(number) => {
            least.as_f64().is_none_or(|least| number >= least)
                && most.as_f64().is_none_or(|most| number <= most)
        }
        // JSON has no infinities and no NaN.
        None => !(value.is_null() && schema["type"] == "number"),
    };
    (!is_within).then(|| format!("must be from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described() {
        for (name, schema) in settings() {
            assert!(
                schema["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{name}: {schema}"
            );
        }
    }

    #[test]
    fn every_number_but_the_seed_is_limited() {
        for (name, schema) in settings() {
            let types = schema["type"].to_string();
            let is_number = types.contains("integer") || types.contains("number");
            let has_range = schema["minimum"].is_number() && schema["maximum"].is_number();
            let is_limited = has_range || schema["enum"].is_array();
            assert!(!is_number || is_limited || name == "simulator.seed", "{name}: {schema}");
        }
    }

    #[test]
    fn every_setting_but_the_store_has_a_default() {
        for (name, schema) in settings() {
            assert_eq!(schema.get("default").is_some(), name != "store_url", "{name}: {schema}");
        }
        assert_eq!(schema()["required"], json!(["store_url"]));
    }
}
