//! Condition operators: `StringEquals` and its kin, `...IfExists`, `ForAllValues:`, `ForAnyValue:`, `Null`.

use anyhow::{Result, bail, ensure};

use super::Need;
use super::pattern::Pattern;

/// One operator applied to one key.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    test: Test,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
    key: String,
    values: Vec<String>,
}

/// How a value of the request is compared with one of the policy.
#[derive(Debug, Clone, Copy)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Bool,
    Numeric(fn(f64, f64) -> bool),
    Null,
}

/// How many of the request's values must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Single,
    All,
    Any,
}

impl Condition {
    /// Reads `"OPERATOR": {"KEY": [VALUES]}`.
    pub(super) fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Condition> {
        let (quantifier, name) = match operator.split_once(':') {
            None => (Quantifier::Single, operator),
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => bail!("the condition operator {operator} is not known"),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (test, negated) = match name {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            // AWS: the two behave alike.
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "NumericEquals" => (Test::Numeric(|a, b| a == b), false),
            "NumericNotEquals" => (Test::Numeric(|a, b| a == b), true),
            "NumericLessThan" => (Test::Numeric(|a, b| a < b), false),
            "NumericLessThanEquals" => (Test::Numeric(|a, b| a <= b), false),
            "NumericGreaterThan" => (Test::Numeric(|a, b| a > b), false),
            "NumericGreaterThanEquals" => (Test::Numeric(|a, b| a >= b), false),
            "Null" if quantifier == Quantifier::Single && !if_exists => (Test::Null, false),
            _ => bail!("the condition operator {operator} is not known here"),
        };
        ensure!(!values.is_empty(), "{operator} of {key} compares with nothing");
        Ok(Condition {
            test,
            negated,
            if_exists,
            quantifier,
            key: key.to_owned(),
            values,
        })
    }

    /// Whether the request fulfils it.
    pub(super) fn holds(&self, need: &Need) -> bool {
        let values = need.values(&self.key).filter(|values| !values.is_empty());
        if matches!(self.test, Test::Null) {
            let absent = values.is_none().to_string();
            return self.values.iter().any(|value| value.eq_ignore_ascii_case(&absent));
        }
        let Some(values) = values else {
            return match self.quantifier {
                Quantifier::Single => self.negated || self.if_exists,
                // An empty set has no value that fails, and none that passes.
                Quantifier::All => true,
                Quantifier::Any => self.if_exists,
            };
        };
        // A statement with a variable that has no value matches nothing, negated or not.
        let given: Option<Vec<Pattern>> = self.values.iter().map(|value| Pattern::new(value, need)).collect();
        let Some(given) = given else { return false };
        // Several values of the policy are alternatives; of a negated operator none may match.
        let passes = |value: &String| given.iter().any(|given| self.compare(value, given)) != self.negated;
        match self.quantifier {
            // AWS has no rule for several values without a quantifier: then nothing is proven.
            Quantifier::Single => values.len() == 1 && passes(&values[0]),
            Quantifier::All => values.iter().all(passes),
            Quantifier::Any => values.iter().any(passes),
        }
    }

    fn compare(&self, value: &str, given: &Pattern) -> bool {
        match self.test {
            Test::Equals => given.literal() == value,
            Test::EqualsIgnoreCase | Test::Bool => given.literal().to_lowercase() == value.to_lowercase(),
            Test::Like => given.matches(value),
            Test::Arn => given.matches_arn(value),
            Test::Numeric(test) => match (value.parse(), given.literal().parse()) {
                (Ok(value), Ok(given)) => test(value, given),
                _ => false,
            },
            Test::Null => unreachable!("answered before values are compared"),
        }
    }
}
