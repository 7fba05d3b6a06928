//! What can be set from outside: every path, period and limit of the agent.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the agent. In AWS the defaults hold; the twin and the tests shorten times and move paths.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where a worker mounts its volumes; also holds the configuration of the server's daemons.
    #[arg(long, env = "VIBES_ROOT", default_value = "/var/lib/vibes")]
    pub root: PathBuf,
    /// Where a server mounts releases.
    #[arg(long, env = "VIBES_SERVE_ROOT", default_value = "/srv/vibes")]
    pub serve_root: PathBuf,
    /// Where volumes appear under their ids.
    #[arg(long, env = "VIBES_DEVICES", default_value = "/dev/disk/by-id")]
    pub devices: PathBuf,
    /// The unprivileged user that compiles and serves.
    #[arg(long, env = "VIBES_USER", default_value = "vibes")]
    pub user: String,
    /// Program (and arguments, separated by blanks) that powers the machine off when the agent is done.
    #[arg(long, env = "VIBES_POWER_OFF", default_value = "systemctl poweroff")]
    pub power_off: String,
    /// Seconds between two writes of the status object.
    #[arg(long, env = "VIBES_STATUS_SECONDS", default_value = "15", value_parser = seconds)]
    pub status_every: Duration,
    /// Seconds between two looks at the control object.
    #[arg(long, env = "VIBES_CONTROL_SECONDS", default_value = "60", value_parser = seconds)]
    pub control_every: Duration,
    /// Seconds between two looks for a spot notice, which comes two minutes before the end.
    #[arg(long, env = "VIBES_SPOT_SECONDS", default_value = "5", value_parser = seconds)]
    pub spot_every: Duration,
    /// Seconds to wait for the plan and for the device of a volume that has been named.
    #[arg(long, env = "VIBES_ATTACH_SECONDS", default_value = "900", value_parser = seconds)]
    pub attach_within: Duration,
    /// Seconds between two looks of a server at what it shall serve.
    #[arg(long, env = "VIBES_SERVE_SECONDS", default_value = "15", value_parser = seconds)]
    pub serve_every: Duration,
    /// Seconds that connections to a release that is no longer wanted may go on.
    #[arg(long, env = "VIBES_DRAIN_SECONDS", default_value = "300", value_parser = seconds)]
    pub drain_within: Duration,
    /// Port of the rsync daemon.
    #[arg(long, env = "VIBES_RSYNC_PORT", default_value = "873")]
    pub rsync_port: u16,
    /// Port of SFTP and of rsync over SSH.
    #[arg(long, env = "VIBES_SSH_PORT", default_value = "22")]
    pub ssh_port: u16,
    /// Port of plain HTTP.
    #[arg(long, env = "VIBES_HTTP_PORT", default_value = "80")]
    pub http_port: u16,
    /// Port of encrypted HTTP.
    #[arg(long, env = "VIBES_HTTPS_PORT", default_value = "443")]
    pub https_port: u16,
    /// Directory (a URL, RFC 8555) of the certificate authority, instead of those that Caddy knows.
    #[arg(long, env = "VIBES_ACME_DIRECTORY")]
    pub acme_directory: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(error) => Err(format!("not a whole number of seconds: {error}")),
    }
}
