//! Deletes an installation, and says what of it stays because it is data.

use std::io::{self, Write};

use anyhow::{Context, Result, bail, ensure};
use futures::future::join_all;

use crate::account::Account;
use crate::bucket;
use crate::cloud::Cloud;
use crate::deploy::profile_stacks;
use crate::retained::Retained;
use crate::stacks::{self, Stack};

/// Deletes the stacks that a deployment makes, and the code bucket. A second time it finishes what is left.
pub(crate) async fn destroy(cloud: &Cloud, account: &Account, yes: Option<&str>) -> Result<()> {
    account.print(cloud);
    let stacks = stacks::list(cloud).await?;
    let (main, network) = (&cloud.stack, format!("{}-vpc", cloud.stack));
    // Profiles and what is in the network go first, the network last.
    let order = [
        stacks
            .values()
            .filter(|stack| goes_first(cloud, stack))
            .collect::<Vec<_>>(),
        stacks.get(main).into_iter().collect(),
        stacks
            .get(&network)
            .filter(|stack| is_ours(cloud, stack))
            .into_iter()
            .collect(),
    ];
    let code = bucket::of_code(cloud, account);
    // The stack of the CodeBuild projects has a say, if there is one.
    let used = |stack: &&Stack| stack.outputs.values().any(|output| output.value == code);
    let user = stacks.values().find(used).map(|stack| &stack.name);
    let code = (user.is_none() && bucket::exists(cloud, &code).await?).then_some(code);
    let names: Vec<_> = order.iter().flatten().map(|stack| stack.name.as_str()).collect();
    if names.is_empty() && code.is_none() {
        println!("there is no installation {main} here: nothing to delete");
        return Retained::find(cloud).await?.print(cloud);
    }
    if let Some(busy) = order.iter().flatten().find(|stack| stack.is_busy()) {
        bail!(
            "the stack {} is being changed ({}): wait until that is over",
            busy.name,
            busy.status
        );
    }

    println!("This deletes the stacks {}", names.join(", "));
    if let Some(code) = &code {
        println!("and the bucket {code}, which holds the functions' code.");
    }
    if let Some(user) = user {
        println!("The stack {user} stays, and with it the bucket that holds the functions' code.");
    }
    println!("What you uploaded stays, and so do the releases: their buckets and snapshots are named at the end.");
    confirm(main, yes)?;

    for stacks in &order {
        let deleted = stacks.iter().map(|stack| async {
            println!("destroy: {}", stack.name);
            stacks::delete(cloud, "destroy", stack).await
        });
        join_all(deleted).await.into_iter().collect::<Result<()>>()?;
    }
    if let Some(code) = &code {
        println!("destroy: s3://{code}");
        bucket::delete(cloud, code).await?;
    }
    Retained::find(cloud).await?.print(cloud)
}

/// A profile, or what gives access to the network.
fn goes_first(cloud: &Cloud, stack: &Stack) -> bool {
    let access = format!("{}-access", cloud.stack);
    is_ours(cloud, stack) && (stack.name == access || stack.name.starts_with(&profile_stacks(cloud)))
}

/// We made it, or somebody by hand for this installation.
fn is_ours(cloud: &Cloud, stack: &Stack) -> bool {
    stack.installation.as_ref() == Some(&cloud.stack) || stack.parameters.get("Prefix") == Some(&cloud.prefix)
}

/// Goes on only if the name is given beforehand or typed now.
pub(crate) fn confirm(name: &str, yes: Option<&str>) -> Result<()> {
    if let Some(yes) = yes {
        ensure!(yes == name, "--yes {yes} does not name {name}: nothing is deleted");
        return Ok(());
    }
    print!("Type {name} to go on: ");
    io::stdout().flush()?;
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).context("reading the confirmation")?;
    ensure!(typed.trim() == name, "not confirmed: nothing is deleted");
    Ok(())
}
