//! YAML as text: maps, lists and scalars as they are written, with their lines; nothing becomes a number or a date.
//!
//! Whoever uploads a collection may upload any YAML. Depth and size are limited; an alias counts with all that it stands
//! for, and shares it.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser};

use crate::refused::Refused;

/// How deep maps and lists may be nested: four times what a sidecar needs.
const DEEPEST: usize = 32;
/// The weight of a document: the bytes of its scalars, and [`NODE`] for each node, aliases counted with all they stand for.
const HEAVIEST: usize = 4 << 20;
/// The weight of a node without its text.
const NODE: usize = 16;

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its line, from 1.
    pub(crate) line: usize,
    content: Content,
    weight: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key of a map and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key as it is written.
    pub(crate) key: String,
    /// The key's line, from 1.
    pub(crate) line: usize,
    /// What it leads to.
    pub(crate) value: Rc<Node>,
}

impl Node {
    /// The scalar as it is written.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The entries of a map, in their order; nothing at all is an empty map.
    pub(crate) fn map(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            Content::Text(text) if text.is_empty() => Some(&[]),
            Content::Text(_) | Content::List(_) => None,
        }
    }

    /// The items of a list; nothing at all is an empty list.
    pub(crate) fn list(&self) -> Option<&[Rc<Node>]> {
        match &self.content {
            Content::List(items) => Some(items),
            Content::Text(text) if text.is_empty() => Some(&[]),
            Content::Text(_) | Content::Map(_) => None,
        }
    }

    /// A refusal that names the line.
    pub(crate) fn refused(&self, reason: &str, remedy: &str) -> Refused {
        at(self.line, reason, remedy)
    }
}

/// A refusal that names a line.
pub(crate) fn at(line: usize, reason: impl std::fmt::Display, remedy: impl Into<String>) -> Refused {
    Refused::new(format!("line {line}: {reason}"), remedy)
}

/// Reads a text that holds one document; an empty one is an empty map.
///
/// # Errors
/// It is no YAML, or beyond the limits; the reason names the line.
pub(crate) fn read(text: &str) -> Result<Rc<Node>, Refused> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| at(error.marker().line(), error.info(), "correct the YAML"))?;
        reader.take(event, span.start.line())?;
    }
    Ok(reader.document.unwrap_or_else(|| Rc::new(text_node(1, String::new()))))
}

/// The document while it is read.
#[derive(Default)]
struct Reader {
    document: Option<Rc<Node>>,
    /// Maps and lists that have not ended.
    open: Vec<Open>,
    /// What aliases may stand for.
    anchors: BTreeMap<usize, Rc<Node>>,
    weight: usize,
}

/// A map or a list that has not ended.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
    /// The key whose value comes next, with its line.
    key: Option<(String, usize)>,
    /// The lines of the keys so far.
    lines: BTreeMap<String, usize>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Refused> {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let node = text_node(line, text.into_owned());
                self.weight += node.weight;
                self.place(Rc::new(node), anchor, line)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| at(line, "an alias stands for what it is part of", "write it out"))?;
                self.weight = self.weight.saturating_add(node.weight);
                self.place(node, 0, line)
            }
            Event::SequenceStart(anchor, _) => self.open(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(line, anchor, Content::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let weight = match &open.content {
                    Content::Text(text) => text.len(),
                    Content::List(items) => items.iter().map(|item| item.weight).sum(),
                    Content::Map(entries) => entries.iter().map(|e| NODE + e.key.len() + e.value.weight).sum(),
                };
                self.weight += NODE;
                let node = Node {
                    line: open.line,
                    content: open.content,
                    weight: NODE + weight,
                };
                self.place(Rc::new(node), open.anchor, line)
            }
            Event::DocumentStart(_) if self.document.is_some() => Err(at(
                line,
                "a second document begins",
                "keep one, without a line --- between",
            )),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn open(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Refused> {
        if self.open.len() == DEEPEST {
            let reason = format!("it is nested more than {DEEPEST} deep");
            return Err(at(line, reason, "write it flatter"));
        }
        self.open.push(Open {
            line,
            anchor,
            content,
            key: None,
            lines: BTreeMap::new(),
        });
        Ok(())
    }

    /// Puts a node where it belongs: it is the document, an item, a key or a value.
    fn place(&mut self, node: Rc<Node>, anchor: usize, line: usize) -> Result<(), Refused> {
        if self.weight > HEAVIEST {
            let reason = format!("it stands for more than {} MiB", HEAVIEST >> 20);
            return Err(at(line, reason, "shorten it, or use fewer aliases"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(open) = self.open.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        match (&mut open.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((key, line))) => entries.push(Entry { key, line, value: node }),
            (Content::Map(_), None) => {
                let key = node
                    .text()
                    .ok_or_else(|| at(line, "a map or a list cannot be a key", "write a text"))?;
                if let Some(first) = open.lines.insert(key.to_owned(), line) {
                    let reason = format!("{key:?} already stands in line {first}");
                    return Err(at(line, reason, "keep one of the two"));
                }
                open.key = Some((key.to_owned(), line));
            }
            (Content::Text(_), _) => {}
        }
        Ok(())
    }
}

fn text_node(line: usize, text: String) -> Node {
    Node {
        line,
        weight: NODE + text.len(),
        content: Content::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let node = read(text).unwrap();
        node.map().unwrap()[0].value.text().unwrap().to_owned()
    }

    fn reason(text: &str) -> String {
        read(text).unwrap_err().reason
    }

    #[test]
    fn scalars_mean_what_is_written() {
        for plain in [
            "1969",
            "1.10",
            "yes",
            "0x1F",
            "2024-01-01",
            "007",
            "1e3",
            "null",
            "~",
            "<3",
            "12:30",
        ] {
            assert_eq!(value(&format!("DATE: {plain}\n")), plain);
        }
        assert_eq!(value("a: !!int 010"), "010");
        assert_eq!(value("a: 'it''s # \"x\"'  # note"), "it's # \"x\"");
        assert_eq!(value("a: \"久\\n\""), "久\n");
        assert_eq!(value("a: |\n  x\n  y\n"), "x\ny\n");
        assert_eq!(value("a:"), "");
    }

    #[test]
    fn nothing_is_an_empty_map() {
        for text in ["", "---\n", "# a note\n", "--- # a note\n...\n"] {
            assert!(read(text).unwrap().map().unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn an_alias_stands_for_its_anchor() {
        let node = read("a: &x {t: 1}\nb: *x\n").unwrap();
        let entries = node.map().unwrap();
        assert_eq!(entries[0].value, entries[1].value);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(
            reason("a: 1\nb: [1\n").starts_with("line "),
            "{}",
            reason("a: 1\nb: [1\n")
        );
        assert!(
            reason("a: 1\n b: 2\n").starts_with("line 2: "),
            "{}",
            reason("a: 1\n b: 2\n")
        );
        assert_eq!(reason("a: 1\nb: 2\na: 3\n"), "line 3: \"a\" already stands in line 1");
        assert_eq!(reason("a: 1\n---\nb: 2\n"), "line 2: a second document begins");
        assert_eq!(reason("? [a]\n: 1\n"), "line 1: a map or a list cannot be a key");
        assert_eq!(reason("a: &x [*x]\n"), "line 1: an alias stands for what it is part of");
    }

    #[test]
    fn depth_is_limited() {
        assert!(read(&"[".repeat(1 << 20)).is_err());
        assert_eq!(reason(&"- ".repeat(1000)), "line 1: it is nested more than 32 deep");
        let deep = format!("{}{}", "[".repeat(32), "]".repeat(32));
        assert!(read(&deep).is_ok());
    }

    #[test]
    fn aliases_cannot_make_a_small_file_large() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..30 {
            let before = level - 1;
            let aliases = vec![format!("*a{before}"); 8].join(", ");
            laughs += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert!(
            reason(&laughs).ends_with("it stands for more than 4 MiB"),
            "{}",
            reason(&laughs)
        );
        let long = format!("a: &x {}\nb: [{}]\n", "x".repeat(1 << 16), "*x,".repeat(1 << 16));
        assert!(reason(&long).ends_with("it stands for more than 4 MiB"));
    }
}
