//! Names of the SSM parameters of an installation. `prefix` is `/vibes` unless the stack says otherwise.

use crate::job::Role;

/// Below this lie the profiles, one parameter each.
pub fn profiles(prefix: &str) -> String {
    format!("{prefix}/profiles/")
}

/// The name of the current release; absent before the first.
pub fn release(prefix: &str) -> String {
    format!("{prefix}/release")
}

/// The password for pulling (SecureString), set by the owner.
pub fn serve_password(prefix: &str) -> String {
    format!("{prefix}/serve/password")
}

/// Public SSH keys that may pull, as in `authorized_keys`, set by the owner.
pub fn serve_keys(prefix: &str) -> String {
    format!("{prefix}/serve/keys")
}

/// The image id of a role.
pub fn ami(prefix: &str, role: Role) -> String {
    format!("{prefix}/ami/{}", role.as_str())
}

/// What a role's image is made of ([`crate::image::Image`], JSON).
pub fn image(prefix: &str, role: Role) -> String {
    format!("{prefix}/image/{}", role.as_str())
}
