//! What is built is pulled with the clients that people have, by whom the owner lets in, and whole.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::tree;
use tests::world::{World, eventually};

use crate::builds::Bench;

const BIG: &str = "Noise/Long/01-One minute.wav";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_pulled_by_every_protocol_and_by_nobody_else() -> Result<()> {
    let bench = Bench::new()?;
    noise(&bench.sources.join(BIG), 1)?;
    let world = World::start(&bench.profiles, 1).await?;
    let client = Client::new(&bench)?;
    set(&world, "keys", "String", &client.public_key()?)?;
    let said = bench.run(&world)?;
    let first = bench.pulled()?;

    // What `make run` and `vibes status` print works as it is printed.
    let (status, address) = status(&world)?;
    let printed = said
        .lines()
        .find(|line| line.contains("rsync -rt"))
        .context("a command")?;
    std::fs::remove_dir_all(bench.out.join("home"))?;
    client.shell(&world, printed)?;
    assert_eq!(tree::contents(&bench.pulled()?), tree::contents(&first), "{printed}");
    let way = |name: &str| -> Result<String> {
        let line = status.lines().find_map(|line| line.trim().strip_prefix(name));
        Ok(line
            .with_context(|| format!("no {name} in {status}"))?
            .trim()
            .to_owned())
    };
    let known = way("before the first time:")?;
    client.shell(&world, &known.replace("~/.ssh/known_hosts", "known_hosts"))?;
    for (name, folder) in [("rsync:", "by-rsync"), ("ssh:", "by-ssh")] {
        let command = way(name)?.replace(" home/", &format!(" {folder}/"));
        client.shell(&world, &command)?;
        assert_eq!(
            tree::contents(&tree::read(&client.path().join(folder))?),
            tree::contents(&tree::read(&bench.out.join("home"))?),
            "{command}"
        );
    }
    let file = "Noise/Long/01-One minute.flac";
    let flac = std::fs::read(bench.out.join("home").join(file))?;
    let sftp = way("sftp:")?.replacen("sftp", &format!("sftp {}", client.ssh_options()), 1);
    client.shell(&world, &format!("echo 'get \"/home/{file}\" by-sftp' | {sftp}"))?;
    assert!(
        std::fs::read(client.path().join("by-sftp"))? == flac,
        "SFTP brings the same"
    );
    let curl = way("http:")?;
    let curl = curl.split(" (").next().context("a command")?;
    let page = client.shell(&world, &format!("{curl} --silent --fail"))?;
    ensure!(
        String::from_utf8_lossy(&page).contains("Noise"),
        "a page that lists the profile"
    );
    let url = "Noise/Long/01-One%20minute.flac";
    let part = client.shell(&world, &format!("{curl}{url} --silent --fail --range 1000-1999"))?;
    assert!(part == flac[1000..2000], "a range is that part of the file");

    // Nobody writes, and nobody comes in without the password or the key.
    for refused in [
        format!("RSYNC_PASSWORD=only-on-this-machine rsync key rsync://vibes@{address}/home/"),
        format!("rsync key rsync@{address}:home/"),
        format!("echo 'put key /home/key' | {sftp} -b -"),
        format!("echo 'rm \"/home/{file}\"' | {}", sftp.replacen("sftp", "sftp -b -", 1)),
        format!("{curl}{url} --silent --fail --request DELETE"),
        format!("{curl}key --silent --fail --upload-file key"),
        format!("RSYNC_PASSWORD=another-password rsync rsync://vibes@{address}/home/"),
        format!("curl --silent --fail --user vibes:another-password http://{address}/home/"),
        format!("curl --silent --fail http://{address}/home/"),
        format!("ssh {} vibes@{address} id", client.ssh_options()),
        format!("ssh {} rsync@{address} id", client.ssh_options()),
        format!(
            "ssh -oPubkeyAuthentication=no {} vibes@{address} true",
            client.ssh_options()
        ),
    ] {
        let output = client.run(&world, &refused)?;
        ensure!(!output.status.success(), "this must be refused: {refused}: {output:?}");
    }

    // A transfer that began with the old release ends with it; the next one has the new one.
    let slow = client.path().join("slow");
    std::fs::create_dir(&slow)?;
    let mut transfer = client
        .command(&world, &format!("rsync -rt --bwlimit=200k rsync@{address}:home/ slow/"))
        .stdin(Stdio::null())
        .spawn()?;
    noise(&bench.sources.join(BIG), 2)?;
    bench.run(&world)?;
    let second = bench.pulled()?;
    assert_ne!(
        tree::contents(&first),
        tree::contents(&second),
        "the new release is another one"
    );
    ensure!(
        transfer.try_wait()?.is_none(),
        "the slow transfer was too fast for this test"
    );
    ensure!(
        transfer.wait()?.success(),
        "the old release stays until who reads it is done"
    );
    assert!(
        std::fs::read(slow.join(file))? == flac,
        "and it is the one that the transfer began with"
    );

    // A new password counts at once, and no password closes the door.
    set(&world, "password", "SecureString", "a-new-password")?;
    tell_server(&client, &world)?;
    let pull = |password: &str| format!("RSYNC_PASSWORD={password} rsync rsync://vibes@{address}/home/");
    until(&client, &world, &pull("a-new-password"), true).await?;
    until(&client, &world, &pull("only-on-this-machine"), false).await?;
    bench.run(&world).context("vibes knows where the password is")?;
    world.aws(&["ssm", "delete-parameter", "--name", "/vibes/serve/password"])?;
    tell_server(&client, &world)?;
    until(&client, &world, &pull("a-new-password"), false).await?;
    let closed = eventually(Duration::from_secs(30), "the status says so", async || {
        let status = status_text(&world)?;
        Ok(status.contains("rsync: closed").then_some(status))
    })
    .await?;
    ensure!(
        closed.contains("closed: no password is set: aws ssm put-parameter --name /vibes/serve/password"),
        "{closed}"
    );
    let pulled = world.vibes(&["pull", "nowhere"]).expect_err("nothing can be pulled");
    ensure!(
        format!("{pulled:#}").contains("aws ssm put-parameter"),
        "and it is said what to do: {pulled:#}"
    );
    world.done()
}

/// A person's machine: a directory with a key.
pub(crate) struct Client {
    path: std::path::PathBuf,
}

impl Client {
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        let path = bench.out.parent().context("a bench has a directory")?.join("client");
        std::fs::create_dir(&path)?;
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(path.join("key"))
            .status()?;
        ensure!(made.success(), "ssh-keygen");
        Ok(Self { path })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn public_key(&self) -> Result<String> {
        std::fs::read_to_string(self.path.join("key.pub")).context("the public key")
    }

    /// What a person has in `~/.ssh`.
    fn ssh_options(&self) -> String {
        "-F/dev/null -ikey -oUserKnownHostsFile=known_hosts -oStrictHostKeyChecking=yes -oBatchMode=yes".to_owned()
    }

    fn command(&self, world: &World, line: &str) -> Command {
        let mut command = world.command(Path::new("sh"));
        command
            .args(["-c", line])
            .env("RSYNC_RSH", format!("ssh {}", self.ssh_options()))
            .current_dir(&self.path);
        command
    }

    pub(crate) fn run(&self, world: &World, line: &str) -> Result<Output> {
        let output = self.command(world, line).stdin(Stdio::null()).output();
        output.with_context(|| line.to_owned())
    }

    /// Runs a command line that must succeed, and returns what it printed.
    pub(crate) fn shell(&self, world: &World, line: &str) -> Result<Vec<u8>> {
        let output = self.run(world, line)?;
        ensure!(output.status.success(), "{line}: {output:?}");
        Ok(output.stdout)
    }
}

/// Waits until a command line succeeds, or fails.
async fn until(client: &Client, world: &World, line: &str, succeeds: bool) -> Result<()> {
    let what = format!("{line} succeeds: {succeeds}");
    eventually(Duration::from_secs(60), &what, async || {
        let succeeded = client.run(world, line)?.status.success();
        Ok((succeeded == succeeds).then_some(()))
    })
    .await
}

pub(crate) fn set(world: &World, name: &str, kind: &str, value: &str) -> Result<()> {
    let name = format!("/vibes/serve/{name}");
    let put = [
        "ssm",
        "put-parameter",
        "--overwrite",
        "--name",
        &name,
        "--type",
        kind,
        "--value",
        value,
    ];
    world.aws(&put).map(drop)
}

/// The stack's own command.
pub(crate) fn tell_server(client: &Client, world: &World) -> Result<()> {
    let query = "Stacks[0].Outputs[?OutputKey=='TellServerCommand'].OutputValue";
    let arguments = [
        "cloudformation",
        "describe-stacks",
        "--stack-name",
        "vibes",
        "--output",
        "text",
        "--query",
        query,
    ];
    let command = world.aws(&arguments)?;
    let said = client.shell(world, command.trim())?;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.contains("the server has been told who may pull"), "{said}");
    Ok(())
}

fn status_text(world: &World) -> Result<String> {
    world.vibes(&["status"])
}

/// What `vibes status` prints, and the server's address in it.
pub(crate) fn status(world: &World) -> Result<(String, String)> {
    let status = status_text(world)?;
    let line = status.lines().find_map(|line| line.strip_prefix("served:"));
    let address = line.and_then(|line| line.split(" at ").nth(1)?.split(':').next().map(str::to_owned));
    let address = address.with_context(|| format!("no address in {status}"))?;
    Ok((status, address))
}

/// A minute of noise, which no encoder makes smaller: another for each seed.
fn noise(to: &Path, seed: u32) -> Result<()> {
    const BYTES: u32 = 60 * 44_100 * 4;
    let mut wav = Vec::with_capacity(BYTES as usize + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + BYTES).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend_from_slice(&44_100_u32.to_le_bytes());
    wav.extend_from_slice(&(44_100_u32 * 4).to_le_bytes());
    wav.extend_from_slice(b"\x04\0\x10\0data");
    wav.extend_from_slice(&BYTES.to_le_bytes());
    let mut state = seed;
    for _ in 0..BYTES / 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        wav.extend_from_slice(&state.to_be_bytes()[..2]);
    }
    std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
    std::fs::write(to, wav).context("write noise")
}
