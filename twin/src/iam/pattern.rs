//! Patterns of policies: `*`, `?` and policy variables, matched whole or ARN part by ARN part.

use super::Need;

/// One place of a pattern. What a variable stands for is never a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Any,
    One,
    Only(char),
}

/// A pattern whose variables are filled in.
pub(super) struct Pattern(Vec<Symbol>);

impl Pattern {
    /// Fills in the variables; none if one of them has no value, in which case nothing matches.
    pub(super) fn new(text: &str, need: &Need) -> Option<Pattern> {
        let mut symbols = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((variable, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
                symbols.extend(value(variable, need)?.chars().map(Symbol::Only));
                rest = after;
                continue;
            }
            symbols.push(match first {
                '*' => Symbol::Any,
                '?' => Symbol::One,
                other => Symbol::Only(other),
            });
            rest = &rest[first.len_utf8()..];
        }
        Some(Pattern(symbols))
    }

    /// The text that a pattern stands for where wildcards mean themselves (`StringEquals`).
    pub(super) fn literal(&self) -> String {
        let letter = |symbol: &Symbol| match symbol {
            Symbol::Any => '*',
            Symbol::One => '?',
            Symbol::Only(letter) => *letter,
        };
        self.0.iter().map(letter).collect()
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, &text.chars().collect::<Vec<_>>())
    }

    /// Whether the ARN matches: each of its six parts by itself, so that a wildcard in one does not reach into the
    /// next. Parts that a pattern leaves out are wild.
    pub(super) fn matches_arn(&self, arn: &str) -> bool {
        if self.0 == [Symbol::Any] {
            return true;
        }
        let mut patterns = self.0.splitn(6, |symbol| *symbol == Symbol::Only(':'));
        let mut parts = arn.splitn(6, ':');
        parts.by_ref().all(|part| {
            let part: Vec<char> = part.chars().collect();
            patterns.next().is_none_or(|pattern| matches(pattern, &part))
        }) && patterns.next().is_none()
    }
}

/// `*` tries again from where it last stood, one character further.
fn matches(pattern: &[Symbol], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(Symbol::Any) => {
                star = Some((at, read));
                at += 1;
                continue;
            }
            Some(Symbol::One) => {}
            Some(Symbol::Only(letter)) if *letter == text[read] => {}
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, read) = (place + 1, taken + 1);
                    continue;
                }
                None => return false,
            },
        }
        at += 1;
        read += 1;
    }
    pattern[at..].iter().all(|symbol| *symbol == Symbol::Any)
}

/// `${key}`, `${key, 'default'}`, and the escapes `${*}`, `${?}`, `${$}`.
fn value(variable: &str, need: &Need) -> Option<String> {
    if ["*", "?", "$"].contains(&variable) {
        return Some(variable.to_owned());
    }
    let (key, default) = match variable.split_once(',') {
        Some((key, default)) => (key, Some(default.trim().trim_matches('\'').to_owned())),
        None => (variable, None),
    };
    // A key with several values is none: AWS fills in single-valued keys only.
    match need.values(key.trim()) {
        Some([value]) => Some(value.clone()),
        _ => default,
    }
}
