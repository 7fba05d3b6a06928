//! The commands that the docs and the stacks' outputs tell people to run are run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::world::{World, program};
use tests::{project, sample};

use crate::builds::Bench;
use crate::deploying::package;
use crate::layers::image;

/// What makes a command one that has its turn only when the others had theirs: it changes who may pull, or deletes.
const LATER: [&[&str]; 2] = [
    &["put-parameter"],
    &[" rb ", " rm ", "delete-", "deregister-", "vibes destroy", "vibes erase"],
];

/// A command, and where it is written.
#[derive(Debug, Clone)]
struct Documented {
    place: String,
    command: String,
}

/// The commands of a text's blocks of code. A line that ends in `\` or `|` goes on in the next.
fn commands(place: &str, text: &str) -> Vec<Documented> {
    let mut found: Vec<Documented> = vec![];
    let (mut block, mut open) = (false, false);
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            (block, open) = (!block, false);
            continue;
        }
        let goes_on = line.ends_with('\\') || line.ends_with('|');
        if open {
            let command = &mut found.last_mut().expect("an open command").command;
            command.push('\n');
            command.push_str(line);
        } else if block && (line.starts_with("aws ") || line.starts_with("vibes ")) {
            let (place, command) = (place.to_owned(), line.to_owned());
            found.push(Documented { place, command });
        } else {
            continue;
        }
        open = goes_on;
    }
    found
}

/// The words in capitals of a command that stand for something: not variables, and not in its comment.
fn placeholders(command: &str) -> Vec<&str> {
    let command = command.split(" # ").next().unwrap_or_default();
    let word = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
    let mut found = vec![];
    let mut rest = command;
    let mut before = ' ';
    while let Some(at) = rest.find(word) {
        before = rest[..at].chars().next_back().unwrap_or(before);
        let end = rest[at..].find(|char| !word(char)).map_or(rest.len(), |end| at + end);
        let (name, after) = (&rest[at..end], rest[end..].chars().next());
        let capitals = name.len() > 2 && name.chars().all(|char| char.is_ascii_uppercase() || char == '-');
        if capitals && !"${".contains(before) && after != Some('=') {
            found.push(name);
        }
        before = rest[..end].chars().next_back().unwrap_or(before);
        rest = &rest[end..];
    }
    found
}

/// The first column of the tables of `docs/commands.md`: placeholders, and commands that are run by hand only.
fn tables() -> Result<[Vec<String>; 2]> {
    let text = fs::read_to_string(project::path("docs/commands.md"))?;
    let (placeholders, by_hand) = text.split_once("by hand").context("docs/commands.md has two tables")?;
    Ok([placeholders, by_hand].map(|part| {
        let rows = part
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        rows.map(str::to_owned).collect()
    }))
}

/// Where the commands are run: a home with what they name, and the project's files.
fn home(world: &World) -> Result<PathBuf> {
    let home = world.dir().join("home");
    fs::create_dir_all(home.join(".ssh"))?;
    fs::create_dir(home.join("target"))?;
    package(&home.join("target/lambda"))?;
    for name in ["cfn", "statemachines", "functions", "scripts", "docs"] {
        symlink(project::path(name).canonicalize()?, home.join(name))?;
    }
    fs::write(home.join("new track.wav"), "no audio, but a file")?;
    fs::write(home.join(".ssh/id_ed25519.pub"), "ssh-ed25519 AAAA somebody\n")?;
    Ok(home)
}

struct Reader {
    world: World,
    home: PathBuf,
    values: BTreeMap<&'static str, String>,
    by_hand: Vec<String>,
}

impl Reader {
    /// Runs a command with its placeholders filled in; what it must not hold is a placeholder that nobody knows.
    async fn run(&self, documented: &Documented) -> Result<String> {
        let Documented { place, command } = documented;
        if self.by_hand.iter().any(|by_hand| command.contains(by_hand.as_str())) {
            return Ok(String::new());
        }
        let mut filled = command.clone();
        let mut names = placeholders(command);
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            // Commands start builds, after which an earlier release may not be kept any more.
            let value = match name {
                "RELEASE" => Some(self.world.release().await?.release),
                _ => self.values.get(name).cloned(),
            };
            let value = value.with_context(|| format!("{place}: {command}: no row for {name} in docs/commands.md"))?;
            filled = filled.replace(name, &value);
        }
        let path = format!(
            "{}:{}:{}",
            tests::world::venv().display(),
            program("vibes")
                .parent()
                .context("a program has a directory")?
                .display(),
            std::env::var("PATH")?
        );
        // What asks for a confirmation asks for a name: that of the installation, or of a bucket.
        let asked = filled
            .split_whitespace()
            .last()
            .filter(|_| command.contains("vibes erase"));
        let answer = self.home.join("answer");
        fs::write(&answer, format!("{}\n", asked.unwrap_or("vibes")))?;
        let out = self
            .world
            .command(Path::new("bash"))
            .stdin(File::open(answer)?)
            .args(["-euo", "pipefail", "-c", &filled])
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("PATH", path)
            .output()?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        ensure!(out.status.success(), "{place}: {filled}: {}: {said}", out.status);
        Ok(said)
    }

    /// Runs them all, and says of each that does not work why.
    async fn run_all(&self, documented: &[Documented]) -> Result<()> {
        let mut failed = Vec::new();
        for documented in documented {
            if let Err(error) = self.run(documented).await {
                failed.push(format!("{error:#}"));
            }
        }
        ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
        Ok(())
    }

    /// The outputs named `...Command` of every stack.
    fn outputs(&self) -> Result<Vec<Documented>> {
        let stacks: Value =
            serde_json::from_str(
                &self
                    .world
                    .aws(&["cloudformation", "describe-stacks", "--output", "json"])?,
            )?;
        let mut found = vec![];
        for stack in stacks["Stacks"].as_array().into_iter().flatten() {
            for output in stack["Outputs"].as_array().into_iter().flatten() {
                let key = output["OutputKey"].as_str().unwrap_or_default();
                if key.ends_with("Command") {
                    let place = format!("output {key} of the stack {}", stack["StackName"]);
                    let command = output["OutputValue"]
                        .as_str()
                        .context("an output without a value")?
                        .to_owned();
                    found.push(Documented { place, command });
                }
            }
        }
        Ok(found)
    }
}

/// A world in which everything that a command may name is there: a release that is served, every stack.
async fn reader() -> Result<Reader> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 1)?;
    let world = World::start(&bench.profiles, 1).await?;
    bench.run(&world)?;
    let build = world.release().await?.release;
    let home = home(&world)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
    sample::tiny(&home.join("collection"), 1)?;
    let server = world.aws(&[
        "ec2",
        "describe-instances",
        "--filters",
        "Name=tag:vibes:role,Values=server",
        "--query",
        "Reservations[].Instances[].[InstanceId, PublicIpAddress]",
        "--output",
        "text",
    ])?;
    let mut server = server.split_whitespace().map(str::to_owned);
    let values = BTreeMap::from([
        ("SOURCES-BUCKET", world.sources_bucket.clone()),
        ("STATE-BUCKET", world.state_bucket.clone()),
        ("PIPELINE-ARN", world.pipeline.clone()),
        ("SERVE-ARN", world.pipeline.replace("-pipeline", "-serve")),
        ("BUILD", build),
        ("DIRECTORY", text(&home.join("collection"))?),
        ("OUT", text(&home.join("out"))?),
        ("PROFILE", "home".to_owned()),
        ("INSTANCE", server.next().context("there is a server")?),
        ("ADDRESS", server.next().context("it has an address")?),
    ]);
    let [rows, by_hand] = tables()?;
    let rows: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = values.keys().copied().chain(["RELEASE"]).collect();
    assert_eq!(rows, known, "left: docs/commands.md; right: what this test fills in");
    Ok(Reader {
        world,
        home,
        values,
        by_hand,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_docs_works() -> Result<()> {
    let reader = reader().await?;
    let meta = project::path("cfn/meta.yaml").display().to_string();
    reader.world.aws(&[
        "cloudformation",
        "deploy",
        "--stack-name",
        "vibes-meta",
        "--template-file",
        &meta,
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "--parameter-overrides",
        "RepositoryUrl=https://example.com/somebody/vibes",
        "ArtifactBucket=somewhere",
    ])?;

    let mut all = reader.outputs()?;
    ensure!(all.len() > 3, "the stacks have commands: {all:?}");
    let mut files = vec![project::path("README.md")];
    files.extend(
        fs::read_dir(project::path("docs"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?,
    );
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    for path in files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("a file's name")?
            .to_owned();
        all.extend(commands(&name, &fs::read_to_string(&path)?));
    }
    ensure!(
        all.iter().any(|documented| documented.place == "README.md"),
        "the README has commands"
    );

    let turn = |documented: &Documented| {
        let late = |words: &&[&str]| words.iter().any(|word| documented.command.contains(word));
        LATER.iter().rposition(late).map_or(0, |turn| turn + 1)
    };
    let in_turn = |number| -> Vec<Documented> {
        all.iter()
            .filter(|documented| turn(documented) == number)
            .cloned()
            .collect()
    };
    reader.run_all(&in_turn(0)).await?;
    reader.run_all(&in_turn(1)).await?;
    reader.world.idle().await?;
    image(&reader.world)?;
    reader.world.vibes(&["destroy", "--yes", "vibes"])?;
    reader.run_all(&in_turn(2)).await?;

    // What is said at last deletes the rest, and is nothing afterwards.
    let said = reader.world.vibes(&["destroy", "--yes", "vibes"])?;
    let (_, commands) = said
        .split_once("for good:\n")
        .with_context(|| format!("something stays: {said}"))?;
    for command in commands.lines() {
        let mut command = command.trim().to_owned();
        if let Some((_, bucket)) = command.clone().split_once(" erase --stack vibes ") {
            command.push_str(&format!(" --yes {bucket}"));
        }
        let place = "what vibes destroy says".to_owned();
        reader.run(&Documented { place, command }).await?;
    }
    let said = reader.world.vibes(&["destroy", "--yes", "vibes"])?;
    if !said.contains("Nothing of vibes is left") {
        bail!("nothing stays after that: {said}");
    }
    reader.world.done()
}

#[test]
fn commands_are_found_with_their_continuation() {
    let text = "aws no\n```\nmake x\naws a |\n  xargs b\nvibes c  # DO\n```\naws no";
    let found: Vec<String> = commands("t", text)
        .into_iter()
        .map(|documented| documented.command)
        .collect();
    assert_eq!(found, ["aws a |\nxargs b", "vibes c  # DO"]);
}

#[test]
fn placeholders_are_capitals_that_are_no_variables() {
    let command = "RSYNC_PASSWORD=x aws s3 cp a s3://SOURCES-BUCKET/B/ --id $HOME ${PATH} --name=OUT  # ALL OF IT";
    assert_eq!(placeholders(command), ["SOURCES-BUCKET", "OUT"]);
}
