//! Text of strangers, made fit for a terminal: names and reasons quote what somebody has uploaded.

use std::fmt::Write;

/// The text in one line that a terminal shows as it is: characters that would move the cursor, colour what follows or turn
/// the direction of writing are spelled out.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || directs(character) {
            write!(shown, "{}", character.escape_default()).expect("writing to a string cannot fail");
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Line separators, and what overrides the direction of writing. Source: Unicode Standard Annex 9.
fn directs(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_spelled_out_and_all_else_stays() {
        let hostile = "a\u{1b}]0;owned\u{7}\r\n\u{9b}2J\u{202e}gpj.exe\u{2066}";
        let shown = r"a\u{1b}]0;owned\u{7}\r\n\u{9b}2J\u{202e}gpj.exe\u{2066}";
        assert_eq!(printable(hostile), shown);
        let plain = "\u{5b89}\u{5168} \u{fc} \u{1f3b5} \u{5d0} 'x' \\ \"";
        assert_eq!(printable(plain), plain);
    }
}
