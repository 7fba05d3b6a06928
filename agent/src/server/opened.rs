//! What the owner's password and keys open, and what an owner does who has set none.

use contract::parameters;
use contract::serve::Access;

/// How long a password may be: what is shorter can be guessed, what is longer bcrypt does not look at.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=72;

/// The password, or why nothing is offered that asks for it.
pub(super) fn password(access: &Access) -> Result<&str, String> {
    let name = parameters::serve_password(&access.prefix);
    let Some(password) = &access.password else {
        return Err(format!(
            "no password is set: aws ssm put-parameter --name {name} --type SecureString --value \"$(openssl rand -hex 16)\""
        ));
    };
    if !LENGTH.contains(&password.len()) || !password.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the password in {name} cannot be used: {} to {} letters, digits or signs, no blanks",
            LENGTH.start(),
            LENGTH.end()
        ));
    }
    Ok(password)
}

/// The lines that hold a key, or why nothing is offered over SSH.
pub(super) fn keys(access: &Access) -> Result<Vec<&str>, String> {
    let lines = access.keys.as_deref().unwrap_or_default().lines().map(str::trim);
    let keys: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if keys.is_empty() {
        return Err(format!(
            "no keys are set: aws ssm put-parameter --name {} --type String --value \"$(cat ~/.ssh/id_ed25519.pub)\"",
            parameters::serve_keys(&access.prefix)
        ));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(password: Option<&str>, keys: Option<&str>) -> Access {
        Access {
            prefix: "/vibes".to_owned(),
            password: password.map(str::to_owned),
            keys: keys.map(str::to_owned),
            domain: None,
        }
    }

    #[test]
    fn without_a_password_it_is_said_how_to_set_one() {
        let why = password(&access(None, None)).unwrap_err();
        assert!(
            why.contains("aws ssm put-parameter --name /vibes/serve/password"),
            "{why}"
        );
    }

    #[test]
    fn a_password_that_a_daemon_would_misread_opens_nothing() {
        for unusable in [
            "",
            "short",
            "twelve chars and blanks",
            "line\nbreak-line",
            "pässwörter-xx",
            &"x".repeat(73),
        ] {
            assert!(password(&access(Some(unusable), None)).is_err(), "{unusable:?}");
        }
        assert_eq!(
            password(&access(Some("a-long:pa$$word#"), None)),
            Ok("a-long:pa$$word#")
        );
    }

    #[test]
    fn comments_are_no_keys() {
        assert!(keys(&access(None, Some("# nobody yet\n\n"))).is_err());
        assert_eq!(
            keys(&access(None, Some("# me\n ssh-ed25519 AAAA me\n"))),
            Ok(vec!["ssh-ed25519 AAAA me"])
        );
    }
}
