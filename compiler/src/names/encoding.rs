//! File names in commands: any bytes that a file system can hold, written with characters that mean nothing to tup or a shell.
//!
//! Letters, digits and `_ . - / + , @` stay (`.` and `-` not at the beginning of a name); every other byte becomes `=`
//! and two hexadecimal digits: `x<3 & "q" 100%.wav` travels as `x=3C3=20=26=20=22q=22=20100=25.wav`.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Context, Result, bail};

/// Writes a name or a path so that it can stand anywhere in a tup rule.
pub(crate) fn encode(name: impl AsRef<OsStr>) -> String {
    let bytes = name.as_ref().as_bytes();
    let mut encoded = String::with_capacity(bytes.len());
    let mut beginning = true;
    for &byte in bytes {
        let plain = match byte {
            b'.' | b'-' => !beginning,
            b'_' | b'/' | b'+' | b',' | b'@' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if plain {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "={byte:02X}").expect("writing to a string cannot fail");
        }
        beginning = byte == b'/';
    }
    encoded
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// A `=` that is not followed by two hexadecimal digits.
pub(crate) fn decode(encoded: &str) -> Result<OsString> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'=' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let Some((digits, after)) = after.split_at_checked(2) else {
            bail!("{encoded:?} ends within an encoded byte");
        };
        let digits = std::str::from_utf8(digits).ok();
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.with_context(|| format!("{encoded:?} holds a broken encoded byte"))?);
        rest = after;
    }
    Ok(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        let all: Vec<u8> = (1..=255).collect();
        let name = OsStr::from_bytes(&all);
        let encoded = encode(name);
        assert!(
            encoded
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"=_/+,@.-".contains(&b))
        );
        assert_eq!(decode(&encoded).unwrap(), name);
    }

    #[test]
    fn the_spelling_is_fixed_because_commands_are_compared() {
        assert_eq!(encode("x<3 & \"q\" 100%.wav"), "x=3C3=20=26=20=22q=22=20100=25.wav");
        assert_eq!(encode("-dash/.dot/ü.wav "), "=2Ddash/=2Edot/=C3=BC.wav=20");
    }

    #[test]
    fn broken_encodings_are_errors() {
        for broken in ["=", "a=2", "=ZZ"] {
            assert!(decode(broken).is_err(), "{broken}");
        }
    }
}
