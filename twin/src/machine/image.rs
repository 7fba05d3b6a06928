//! Images that `make image` made: directory trees, of which an instance gets a copy on write, and whose unit says what runs.
//!
//! Nothing of the host is in such an instance but its kernel, so what is missing on the image is missing here.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};

/// Images with this prefix are trees, under the name that follows.
const PREFIX: &str = "ami-tree-";

/// systemd starts a unit only if it is enabled, which is a link in here.
const UNIT: &str = "/etc/systemd/system/multi-user.target.wants/vibes-agent.service";

/// What systemd gives a service as PATH (Debian 12).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// Settings of a service that mean nothing when it is started here. Any other is refused, not passed over.
const WITHOUT_MEANING: [&str; 5] = [
    "KillMode",
    "OOMPolicy",
    "StandardError",
    "StandardOutput",
    "TimeoutStopSec",
];

/// The tree of an image; none if the image stands for the host's own directories.
pub(super) fn tree(images: Option<&Path>, image: &str) -> Result<Option<PathBuf>> {
    let Some(name) = image.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let tree = images.context("this twin was started without --images")?.join(name);
    ensure!(
        !name.contains('/') && tree.join("etc").is_dir(),
        "{image} would be {}, which is no tree: `make image` makes them",
        tree.display()
    );
    Ok(Some(tree))
}

/// Shows the tree below `place`, an empty tmpfs that takes what the instance writes. Returns the instance's root.
pub(super) fn show(tree: &Path, place: &Path) -> Result<PathBuf> {
    let [root, written, work] = ["root", "written", "work"].map(|name| place.join(name));
    for directory in [&root, &written, &work] {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        tree.display(),
        written.display(),
        work.display()
    );
    mount(
        Some("image"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("cannot show the image {}", tree.display()))?;
    let run = Some("mode=0755");
    mount(Some("run"), &root.join("run"), Some("tmpfs"), MsFlags::empty(), run).context("cannot mount /run")?;
    Ok(root)
}

/// The agent, as its unit starts it; called in the instance.
pub(super) fn agent() -> Result<Command> {
    let text = fs::read_to_string(UNIT)
        .with_context(|| format!("the image does not start the agent: {UNIT} cannot be read"))?;
    let service = Service::parse(&text).with_context(|| format!("{UNIT} is not what the twin imitates"))?;
    let mut command = Command::new(&service.program);
    command.args(&service.arguments).env_clear();
    command.env("PATH", PATH).envs(&service.environment);
    Ok(command)
}

/// What a unit says of the process that it starts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Service {
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Service {
    fn parse(unit: &str) -> Result<Self> {
        let mut service = Self::default();
        let mut section = "";
        for line in unit.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with('[') {
                section = line;
            } else if section == "[Service]" {
                service.set(line)?;
            }
        }
        ensure!(service.program.starts_with('/'), "ExecStart= names no program in full");
        Ok(service)
    }

    fn set(&mut self, line: &str) -> Result<()> {
        let (key, value) = line.split_once('=').with_context(|| format!("{line:?} sets nothing"))?;
        ensure!(
            !value.contains(['"', '\'', '\\', '%', '$']),
            "{line:?} needs systemd to be read"
        );
        let mut words = value.split_whitespace().map(str::to_owned);
        match key {
            "ExecStart" => {
                self.program = words.next().unwrap_or_default();
                self.arguments = words.collect();
            }
            "Environment" => {
                for word in words {
                    let (name, value) = word.split_once('=').with_context(|| format!("{line:?} sets nothing"))?;
                    self.environment.insert(name.to_owned(), value.to_owned());
                }
            }
            _ if WITHOUT_MEANING.contains(&key) => {}
            _ => bail!("{key}= has no meaning here"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_says_what_runs_and_with_which_environment() {
        let unit = "# a unit\n[Unit]\nUser=no service\n\n[Service]\nExecStart=/bin/agent --once\nEnvironment=A=1 B=x=y\n\
                    KillMode=mixed\n[Install]\nWantedBy=multi-user.target\n";
        let service = Service {
            program: "/bin/agent".into(),
            arguments: vec!["--once".into()],
            environment: [("A", "1"), ("B", "x=y")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        };
        assert_eq!(Service::parse(unit).unwrap(), service);
    }

    #[test]
    fn what_a_twin_cannot_imitate_is_refused() {
        for wrong in [
            "[Service]\nExecStart=agent",
            "[Service]\nExecStart=/bin/agent\nUser=vibes",
            "[Service]\nExecStart=/bin/agent \"two words\"",
            "[Unit]\nExecStart=/bin/agent",
        ] {
            assert!(Service::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tree_that_is_not_there_is_no_image() {
        let images = tempfile::tempdir().unwrap();
        fs::create_dir_all(images.path().join("worker-1/etc")).unwrap();
        let tree = |image| tree(Some(images.path()), image);
        assert_eq!(tree("ami-twin-1").unwrap(), None);
        assert_eq!(tree("ami-tree-worker-1").unwrap(), Some(images.path().join("worker-1")));
        assert!(tree("ami-tree-worker-2").is_err());
        assert!(tree("ami-tree-../worker-1").is_err());
    }
}
