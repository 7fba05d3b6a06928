//! Every way to pull, as a command that works as it is printed.

use std::path::Path;

use contract::serve::{Protocol, RSYNC_USER, USER};

use crate::pull::Served;

/// A command for each way that is open, and the reason for each that is not. They fetch the first profile into a folder
/// of its name in `out`.
pub(crate) fn list(served: &Served, out: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for (protocol, closed) in &served.status.protocols {
        match (protocol, closed) {
            (Protocol::Rsync, Some(why)) => lines.push(format!("rsync: closed: {why}")),
            (Protocol::Ssh, Some(why)) => lines.push(format!("ssh:   closed: {why}")),
            (Protocol::Http, Some(why)) => lines.push(format!("http:  closed: {why}")),
            (Protocol::Rsync, None) => lines.push(format!("rsync: {}", rsync(served, out))),
            (Protocol::Ssh, None) => lines.extend(ssh(served, out)),
            (Protocol::Http, None) => lines.push(format!("http:  {}", http(served))),
        }
    }
    lines
}

/// Where the rsync daemon has a profile.
pub(crate) fn url(served: &Served, profile: &str) -> String {
    format!("rsync://{USER}@{}/{profile}/", served.address)
}

/// The command that `vibes pull` runs.
pub(crate) fn rsync(served: &Served, out: &Path) -> String {
    let profile = profile(served);
    format!(
        "RSYNC_PASSWORD={} rsync -rt --delete {} {}/",
        served.password_word(),
        url(served, profile),
        quoted(&out.join(profile))
    )
}

fn ssh(served: &Served, out: &Path) -> Vec<String> {
    let (profile, address) = (profile(served), &served.address);
    let key = served.status.host_key.as_deref().unwrap_or_default();
    vec![
        format!(
            "ssh:   rsync -rt --delete {RSYNC_USER}@{address}:{profile}/ {}/",
            quoted(&out.join(profile))
        ),
        format!("sftp:  sftp {USER}@{address}"),
        format!("       before the first time: echo '{address} {key}' >> ~/.ssh/known_hosts"),
    ]
}

fn http(served: &Served) -> String {
    let (site, note) = match &served.status.domain {
        Some(domain) => (
            format!("https://{domain}"),
            format!("{domain} must lead to {}", served.address),
        ),
        None => (
            format!("http://{}", served.address),
            "not encrypted: only from PlainHttpCidr".to_owned(),
        ),
    };
    format!(
        "curl --user {USER}:{} {site}/{}/ ({note})",
        served.password_word(),
        profile(served)
    )
}

fn profile(served: &Served) -> &str {
    served.profiles.first().map_or("PROFILE", String::as_str)
}

/// A path as one word for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("out/home")), "out/home");
        assert_eq!(quoted(Path::new("Mick's music")), r"'Mick'\''s music'");
    }
}
