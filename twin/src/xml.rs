//! XML as AWS speaks it: a writer for answers and a small tree for reading the base's.

use std::fmt::Display;

use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;

/// `<name>value</name>`, the value escaped.
pub fn leaf(name: &str, value: impl Display) -> String {
    node(name, &escape(value.to_string()))
}

/// [`leaf`], or nothing for an absent value.
pub fn maybe(name: &str, value: Option<impl Display>) -> String {
    value.map(|value| leaf(name, value)).unwrap_or_default()
}

/// `<name>inner</name>`; `inner` is XML already.
pub fn node(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// A list as the EC2 Query protocol spells it: `<name><item>..</item>..</name>`.
pub fn set(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().map(|item| node("item", &item)).collect();
    node(name, &items)
}

/// An element with its children; attributes and namespaces are of no interest in AWS answers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Text directly inside, trimmed.
    pub text: String,
    /// Child elements in order.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document; the result is its root element.
    pub fn parse(text: &str) -> Result<Element> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().context("not XML")? {
                Event::Start(tag) => open.push(Element {
                    name: tag.local_name().as_ref().to_owned(),
                    ..Element::default()
                }),
                Event::Empty(tag) => {
                    let name = tag.local_name().as_ref().to_owned();
                    last(&mut open)?.children.push(Element {
                        name,
                        ..Element::default()
                    });
                }
                Event::Text(text) => last(&mut open)?.text.push_str(&text.xml10_content()),
                Event::CData(text) => last(&mut open)?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(entity) => {
                    let resolved = match entity.resolve_char_ref()? {
                        Some(character) => character.to_string(),
                        None => unescape(&format!("&{};", entity.into_inner()))?.into_owned(),
                    };
                    last(&mut open)?.text.push_str(&resolved);
                }
                Event::End(_) => {
                    let mut done = open.pop().context("an end tag without a start")?;
                    done.text = done.text.trim().to_owned();
                    last(&mut open)?.children.push(done);
                }
                Event::Eof => break,
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        match open.as_mut_slice() {
            [document] if document.children.len() == 1 => Ok(document.children.remove(0)),
            _ => bail!("not one XML document: {text}"),
        }
    }

    /// The first element found by walking `path` (names separated by `/`) down from here.
    pub fn find(&self, path: &str) -> Option<&Element> {
        path.split('/').try_fold(self, |element, name| {
            element.children.iter().find(|child| child.name == name)
        })
    }

    /// The text at `path`; none if absent or empty.
    pub fn text_at(&self, path: &str) -> Option<String> {
        self.find(path)
            .map(|element| element.text.clone())
            .filter(|text| !text.is_empty())
    }

    /// The children of the element at `path`, such as the `item`s of a set.
    pub fn items(&self, path: &str) -> &[Element] {
        self.find(path)
            .map(|element| element.children.as_slice())
            .unwrap_or_default()
    }
}

fn last(open: &mut [Element]) -> Result<&mut Element> {
    open.last_mut().context("an end tag too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let text = node(
            "root",
            &(leaf("name", "a <b> & \"ü\"") + &set("list", [leaf("id", 1), leaf("id", 2)])),
        );
        let root = Element::parse(&text).unwrap();
        assert_eq!(root.text_at("name").unwrap(), "a <b> & \"ü\"");
        let ids: Vec<_> = root
            .items("list")
            .iter()
            .filter_map(|item| item.text_at("id"))
            .collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(root.text_at("list/nothing"), None);
    }

    #[test]
    fn declarations_namespaces_and_empty_tags_are_read_over() {
        let text = "<?xml version=\"1.0\"?>\n<R xmlns=\"urn:x\"><a/><b>&#65;&lt;</b></R>";
        let root = Element::parse(text).unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("R", 2));
        assert_eq!(root.text_at("b").unwrap(), "A<");
    }
}
