//! Profiles that can be built here: the text makes sense, the encoder is installed, and it accepts its flags.

use anyhow::{Context, Result};
pub use contract::profile::Profile;
use nix::unistd::User;

use crate::encoder;

/// A profile with the version of its encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What its text says.
    pub profile: Profile,
    /// What its encoder says of itself.
    pub version: String,
}

/// Checks a profile before any track is encoded, by letting `user` run its encoder (none for the current one).
///
/// # Errors
/// [`contract::profile::ProfileError`] for the text and for flags that the encoder refuses; or the encoder is missing.
pub(crate) fn check(name: &str, text: &str, user: Option<&User>) -> Result<Checked> {
    let profile = Profile::parse(name, text)?;
    let program = program(&profile);
    let of_profile = || format!("profile {name:?}");
    let version = encoder::version(profile.encoder.name, &program, user).with_context(of_profile)?;
    if let Some(words) = encoder::try_flags(&profile, &program, user).with_context(of_profile)? {
        return Err(profile.flags_refused(&words).into());
    }
    Ok(Checked { profile, version })
}

/// The binary that a profile's encoder is.
pub(crate) fn program(profile: &Profile) -> String {
    profile
        .program
        .clone()
        .unwrap_or_else(|| profile.encoder.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_the_encoder_refuses_are_an_error_of_profile_and_line() {
        let text = "# car\nCONFIG_ENCODER=lame\nCONFIG_LAME_FLAGS=--no-such-flag\n";
        let message = check("car", text, None).unwrap_err().to_string();
        assert!(
            message.starts_with("profile \"car\", line 3: lame refuses \"--no-such-flag\": "),
            "{message}"
        );
        assert!(message.ends_with("; correct CONFIG_LAME_FLAGS"), "{message}");
    }

    #[test]
    fn a_value_out_of_range_is_refused_where_the_encoder_only_warns() {
        assert!(check("radio", "CONFIG_ENCODER=oggenc\nCONFIG_OGGENC_FLAGS=-q 99", None).is_err());
        assert!(check("radio", "CONFIG_ENCODER=oggenc\nCONFIG_OGGENC_FLAGS=-q 3", None).is_ok());
    }
}
