//! XSPF: XML with relative addresses. Source: <https://xspf.org/spec>.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// The playlist.
pub(super) fn bytes(title: &str, entries: &[PathBuf]) -> Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    write(&mut writer, title, entries).context("writing a playlist")?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(writer: &mut Writer<Vec<u8>>, title: &str, entries: &[PathBuf]) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let playlist = writer.create_element("playlist");
    let playlist = playlist.with_attributes([("version", "1"), ("xmlns", "http://xspf.org/ns/0/")]);
    playlist.write_inner_content(|writer| {
        writer
            .create_element("title")
            .write_text_content(BytesText::new(title))?;
        writer.create_element("trackList").write_inner_content(|writer| {
            for entry in entries {
                writer.create_element("track").write_inner_content(|writer| {
                    let location = location(entry);
                    writer
                        .create_element("location")
                        .write_text_content(BytesText::new(&location))?;
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

/// The relative address of a path: what stands for itself in any part of one, and `/`; all other bytes as `%XX`.
///
/// Source: RFC 3986, 2.3.
fn location(path: &Path) -> String {
    let mut location = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            location.push(char::from(byte));
        } else {
            write!(location, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_name_has_an_address() {
        assert_eq!(
            location(Path::new("../a b/x:y%&<3é.mp3")),
            "../a%20b/x%3Ay%25%26%3C3%C3%A9.mp3"
        );
    }

    #[test]
    fn titles_are_escaped() {
        let bytes = bytes("A & <B>", &["x.mp3".into()]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("<title>A &amp; &lt;B&gt;</title>"), "{text}");
        assert!(text.contains("<location>x.mp3</location>"), "{text}");
    }
}
