//! The parameters of an EC2 call: `Name`, `Name.N`, `Filter.N.Value.M`, `TagSpecification.N.Tag.M.Key`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::refusal::{Outcome, Refusal};
use crate::faults::glob;

/// A call's parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(pub(super) &'a BTreeMap<String, String>);

/// Tags of one thing.
pub(super) type Tags = BTreeMap<String, String>;

/// `Filter.N`: one of the values must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// What is compared, such as `tag:NAME` or `status`.
    pub(super) name: String,
    /// Patterns with `*` and `?`.
    pub(super) values: Vec<String>,
}

impl<'a> Query<'a> {
    /// The parameter, if it is there and not empty.
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(super) fn need(self, name: &str) -> Outcome<&'a str> {
        let missing = || {
            Refusal::new(
                "MissingParameter",
                format!("The request must contain the parameter {name}"),
            )
        };
        self.get(name).ok_or_else(missing)
    }

    /// The parameter read as a number or truth value.
    pub(super) fn parsed<T: FromStr<Err: Display>>(self, name: &str) -> Outcome<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let refused = |error| Refusal::invalid(format!("Invalid value '{text}' for {name}: {error}"));
        text.parse().map(Some).map_err(refused)
    }

    /// A truth value; absent is false.
    pub(super) fn flag(self, name: &str) -> Outcome<bool> {
        Ok(self.parsed(name)?.unwrap_or(false))
    }

    /// `Name.1`, `Name.2` ... in order.
    pub(super) fn list(self, name: &str) -> Vec<&'a str> {
        self.numbers(name)
            .into_iter()
            .filter_map(|number| self.get(&format!("{name}.{number}")))
            .collect()
    }

    /// The filters.
    pub(super) fn filters(self) -> Vec<Filter> {
        let filter = |number| {
            let name = self.get(&format!("Filter.{number}.Name"))?.to_owned();
            let values = self
                .list(&format!("Filter.{number}.Value"))
                .into_iter()
                .map(str::to_owned)
                .collect();
            Some(Filter { name, values })
        };
        self.numbers("Filter").into_iter().filter_map(filter).collect()
    }

    /// The tags that the call gives to what it makes of this type (`instance`, `volume`, `snapshot`).
    pub(super) fn tag_specification(self, resource_type: &str) -> Tags {
        self.tag_specifications().remove(resource_type).unwrap_or_default()
    }

    /// The tags that the call gives to what it makes, by type.
    pub(super) fn tag_specifications(self) -> BTreeMap<String, Tags> {
        let mut all: BTreeMap<String, Tags> = BTreeMap::new();
        for number in self.numbers("TagSpecification") {
            let prefix = format!("TagSpecification.{number}");
            let resource_type = self.get(&format!("{prefix}.ResourceType")).unwrap_or_default();
            let tags = self.tags(&format!("{prefix}.Tag"));
            all.entry(resource_type.to_owned()).or_default().extend(tags);
        }
        all
    }

    /// `Tag.N.Key` and `Tag.N.Value` below a prefix that ends in `Tag`.
    pub(super) fn tags(self, prefix: &str) -> Tags {
        let tag = |number| {
            let key = self.get(&format!("{prefix}.{number}.Key"))?;
            let value = self.get(&format!("{prefix}.{number}.Value")).unwrap_or_default();
            Some((key.to_owned(), value.to_owned()))
        };
        self.numbers(prefix).into_iter().filter_map(tag).collect()
    }

    /// The numbers N for which there is `prefix.N` or `prefix.N.anything`.
    pub(super) fn numbers(self, prefix: &str) -> Vec<u32> {
        let prefix = format!("{prefix}.");
        let names = self.0.keys().filter_map(|name| name.strip_prefix(&prefix));
        let mut numbers: Vec<u32> = names.filter_map(|rest| rest.split('.').next()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// What two calls with the same client token must have in common: everything else.
    pub(super) fn digest(self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "ClientToken") {
            hash.update(format!("{}:{name}{}:{value}", name.len(), value.len()));
        }
        hex::encode(hash.finalize())
    }

    /// The page of `things` (sorted by id) that `NextToken` and `MaxResults` ask for, and the token of the next.
    pub(super) fn page<T>(self, things: Vec<T>, id: impl Fn(&T) -> String) -> Outcome<(Vec<T>, Option<String>)> {
        let after = match self.get("NextToken") {
            Some(token) => {
                let bytes = BASE64_STANDARD
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                Some(bytes.ok_or_else(|| Refusal::invalid("Invalid value for nextToken"))?)
            }
            None => None,
        };
        let most: usize = self.parsed("MaxResults")?.unwrap_or(1000);
        if !(5..=1000).contains(&most) {
            return Err(Refusal::invalid(format!(
                "Value ( {most} ) for parameter maxResults is invalid. Expecting a value from 5 to 1000."
            )));
        }
        let mut rest: Vec<T> = things
            .into_iter()
            .filter(|thing| after.as_ref().is_none_or(|after| id(thing) > *after))
            .collect();
        let more = rest.len() > most;
        rest.truncate(most);
        let token = rest
            .last()
            .filter(|_| more)
            .map(|last| BASE64_STANDARD.encode(id(last)));
        Ok((rest, token))
    }
}

/// Something that filters can look at.
pub(super) trait Filtered {
    /// The values under a filter's name; none if the type of thing has no such filter. `tag:` and `tag-key` are
    /// handled by [`passes`].
    fn field(&self, name: &str) -> Option<Vec<String>>;
    /// Its tags.
    fn tags(&self) -> &Tags;
}

/// Whether the thing passes all filters.
pub(super) fn passes(thing: &impl Filtered, filters: &[Filter]) -> Outcome<bool> {
    for filter in filters {
        let values = match filter.name.split_once(':') {
            Some(("tag", key)) => thing.tags().get(key).cloned().into_iter().collect(),
            _ if filter.name == "tag-key" => thing.tags().keys().cloned().collect(),
            _ => thing
                .field(&filter.name)
                .ok_or_else(|| Refusal::invalid(format!("The filter '{}' is invalid", filter.name)))?,
        };
        if !values
            .iter()
            .any(|value| filter.values.iter().any(|pattern| glob(pattern, value)))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> BTreeMap<String, String> {
        serde_urlencoded::from_str(text).unwrap()
    }

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        let text: String = (1..=11).map(|n| format!("VolumeId.{n}=vol-{n}&")).collect();
        let parameters = parameters(&text);
        let list = Query(&parameters).list("VolumeId");
        assert_eq!((list.len(), list[1], list[10]), (11, "vol-2", "vol-11"));
    }

    #[test]
    fn filters_and_tag_specifications_are_read() {
        let parameters = parameters(
            "Filter.1.Name=tag:vibes:stack&Filter.1.Value.1=a&Filter.1.Value.2=b&TagSpecification.1.ResourceType=volume\
             &TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v&TagSpecification.2.ResourceType=instance\
             &TagSpecification.2.Tag.1.Key=other",
        );
        let query = Query(&parameters);
        let filter = Filter {
            name: "tag:vibes:stack".into(),
            values: vec!["a".into(), "b".into()],
        };
        assert_eq!(query.filters(), [filter]);
        assert_eq!(
            query.tag_specification("volume"),
            Tags::from([("k".to_owned(), "v".to_owned())])
        );
    }

    #[test]
    fn pages_cover_everything_once() {
        let things: Vec<u32> = (10..30).collect();
        let mut seen = Vec::new();
        let mut text = "MaxResults=7".to_owned();
        loop {
            let parameters = parameters(&text);
            let (page, token) = Query(&parameters).page(things.clone(), u32::to_string).unwrap();
            seen.extend(page);
            match token {
                Some(token) => {
                    text = serde_urlencoded::to_string([("MaxResults", "7"), ("NextToken", &token)]).unwrap()
                }
                None => break,
            }
        }
        assert_eq!(seen, things);
    }

    #[test]
    fn the_client_token_is_not_part_of_what_must_be_the_same() {
        let (a, b, c) = (
            parameters("A=1&ClientToken=x"),
            parameters("A=1&ClientToken=y"),
            parameters("A=2&ClientToken=x"),
        );
        assert_eq!(Query(&a).digest(), Query(&b).digest());
        assert_ne!(Query(&a).digest(), Query(&c).digest());
    }
}
