//! A CloudFormation template as JSON: `!Ref X` is `{"Ref": "X"}`, `!Sub X` is `{"Fn::Sub": "X"}`.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::project::read;

/// The template `cfn/NAME.yaml`.
pub fn load(name: &str) -> Value {
    let file = format!("cfn/{name}.yaml");
    let documents = Yaml::load_from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    json(&documents[0])
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::Boolean(truth)) => json!(truth),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(fields) => {
            let fields = fields.iter().map(|(key, value)| (text(key), json(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Yaml::Tagged(tag, value) => {
            let function = match tag.suffix.as_str() {
                "Ref" | "Condition" => tag.suffix.clone(),
                function => format!("Fn::{function}"),
            };
            json!({ function: json(value) })
        }
        _ => Value::Null,
    }
}

fn text(key: &Yaml) -> String {
    match json(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The fields of an object.
pub fn fields(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flatten()
}

/// Every string in it, also the keys.
pub fn strings(of: &Value) -> Vec<&str> {
    match of {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| [key.as_str()].into_iter().chain(strings(value)))
            .collect(),
        _ => vec![],
    }
}
