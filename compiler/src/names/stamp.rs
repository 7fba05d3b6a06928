//! Names of stamps, which tup makes in a folder of its own that shows the sources, too.

use std::ffi::OsStr;

use sha2::{Digest, Sha256};

use super::encode;

/// What the name of a stamp ends with. No source may have such a name: tup gives up the whole tree when a rule makes
/// what is there already.
pub(crate) const SUFFIX: &str = ".vibes-stamp";

/// The name of a source's stamp: its encoded name, shortened with a digest where the file system could not hold it.
pub(crate) fn stamp(source: &OsStr) -> String {
    const LONGEST: usize = 200;
    let encoded = encode(source);
    if encoded.len() <= LONGEST {
        return encoded + SUFFIX;
    }
    let digest = hex::encode(Sha256::digest(encoded.as_bytes()));
    format!("{}-{}{SUFFIX}", &encoded[..LONGEST / 2], &digest[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_have_short_stamps_that_differ() {
        let long = "長".repeat(80);
        let (one, two) = (
            stamp(OsStr::new(&format!("{long}1.wav"))),
            stamp(OsStr::new(&format!("{long}2.wav"))),
        );
        assert!(one.len() <= 255 && one != two, "{one} {two}");
        assert_eq!(stamp(OsStr::new("01 a.wav")), "01=20a.wav.vibes-stamp");
    }
}
