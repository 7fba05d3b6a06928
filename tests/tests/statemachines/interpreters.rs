//! The interpreters of state machines that the project has: moto, which is the stricter one, and MiniStack.

use std::io::{Cursor, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::project::path;
use tests::world::venv;
use tokio::process::{Child, Command};
use zip::write::SimpleFileOptions;

use crate::functions::Functions;
use crate::http::call;

const ACCOUNT: &str = "123456789012";
const MACHINES: [&str; 4] = ["pipeline", "cleanup", "serve", "teardown"];

/// An interpreter with the project's state machines in it. It ends when dropped; what it says is in its directory.
pub(crate) struct Interpreter {
    port: u16,
    process: Child,
    dir: TempDir,
}

impl Interpreter {
    /// moto: its calls of functions go to another port, where ours listen.
    pub(crate) async fn moto(functions: Arc<Functions>) -> Result<Self> {
        let port = free_port()?;
        let mut command = program("moto_server");
        command
            .args(["-p", &port.to_string()])
            .env("MOTO_PORT", functions.port.to_string());
        let mut moto = Self::run(port, command)?;
        let config = json!({"stepfunctions": {"execute_state_machine": true}});
        moto.until_it_answers("/moto-api/config", &config).await?;
        // It waits in whole seconds of real time.
        moto.create_machines(shorten).await?;
        Ok(moto)
    }

    /// MiniStack: its functions are processes, and ours hand on to where the pretended ones listen.
    pub(crate) async fn ministack(functions: Arc<Functions>) -> Result<Self> {
        let port = free_port()?;
        let mut command = program("ministack");
        command
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("SFN_WAIT_SCALE", "0.01")
            .env("SFTP_ENABLED", "0")
            .env("IOT_MTLS_ENABLED", "0");
        let mut ministack = Self::run(port, command)?;
        ministack.until_it_answers("/_ministack/reset", &json!({})).await?;
        for function in ministack.create_machines(|_| ()).await? {
            ministack.create_function(&function, functions.port).await?;
        }
        Ok(ministack)
    }

    fn run(port: u16, mut command: Command) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("vibes-interpreter-").tempdir()?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        command
            .current_dir(dir.path())
            .env("TMPDIR", dir.path())
            .env("HOME", dir.path())
            .env("S3_DATA_DIR", dir.path().join("s3"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let process = command
            .spawn()
            .context("starting the interpreter: is .venv there? make setup")?;
        Ok(Interpreter { port, process, dir })
    }

    async fn until_it_answers(&mut self, path: &str, body: &Value) -> Result<()> {
        let begin = Instant::now();
        while let Err(error) = call(self.port, "states", path, "", body).await {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            if let Some(status) = self.process.try_wait()? {
                bail!("the interpreter ended with {status}:\n{}", log());
            }
            if begin.elapsed() > Duration::from_secs(90) {
                bail!("the interpreter does not answer: {error:#}\n{}", log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Creates the state machines and returns the names of the functions that they call.
    async fn create_machines(&self, adapt: impl Fn(&mut Value)) -> Result<Vec<String>> {
        let mut functions = vec![];
        for machine in MACHINES {
            let mut definition = definition(machine)?;
            adapt(&mut definition);
            let mut text = definition.to_string();
            while let Some((placeholder, name)) = placeholder(&text) {
                text = text.replace(
                    &placeholder,
                    &format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"),
                );
                functions.push(name);
            }
            let role = format!("arn:aws:iam::{ACCOUNT}:role/any");
            let body = json!({"name": machine, "definition": text, "roleArn": role});
            call(self.port, "states", "/", "AWSStepFunctions.CreateStateMachine", &body).await?;
        }
        functions.sort();
        functions.dedup();
        Ok(functions)
    }

    async fn create_function(&self, name: &str, port: u16) -> Result<()> {
        let python = venv().join("python");
        let bootstrap = include_str!("bootstrap.py").replace("PYTHON", &python.display().to_string());
        let bootstrap = bootstrap.replace("PORT", &port.to_string());
        let mut zip = zip::ZipWriter::new(Cursor::new(vec![]));
        zip.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755))?;
        zip.write_all(bootstrap.as_bytes())?;
        let body = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/any"),
            "Timeout": 60,
            "Code": {"ZipFile": BASE64_STANDARD.encode(zip.finish()?.into_inner())},
        });
        call(self.port, "lambda", "/2015-03-31/functions", "", &body)
            .await
            .map(drop)
    }

    /// Starts an execution and returns its ARN.
    pub(crate) async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<String> {
        let arn = format!("arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{machine}");
        let body = json!({"stateMachineArn": arn, "name": name, "input": input.to_string()});
        let started = call(self.port, "states", "/", "AWSStepFunctions.StartExecution", &body).await?;
        Ok(started["executionArn"]
            .as_str()
            .context("an execution has an ARN")?
            .to_owned())
    }

    /// How an execution is doing, as DescribeExecution says it.
    pub(crate) async fn describe(&self, execution: &str) -> Result<Value> {
        let body = json!({"executionArn": execution});
        call(self.port, "states", "/", "AWSStepFunctions.DescribeExecution", &body).await
    }

    /// Names of the states that an execution has entered, without those inside a Map: one interpreter leaves them out.
    pub(crate) async fn path(&self, machine: &str, execution: &str) -> Result<String> {
        let states = definition(machine)?["States"].clone();
        let mut names: Vec<String> = vec![];
        let mut body = json!({"executionArn": execution, "maxResults": 1000});
        loop {
            let page = call(self.port, "states", "/", "AWSStepFunctions.GetExecutionHistory", &body).await?;
            let events = page["events"].as_array().context("a history has events")?;
            let entered = events
                .iter()
                .filter_map(|event| event["stateEnteredEventDetails"]["name"].as_str());
            names.extend(entered.filter(|name| !states[*name].is_null()).map(str::to_owned));
            match &page["nextToken"] {
                Value::String(token) => body["nextToken"] = json!(token),
                _ => return Ok(names.join(" ")),
            }
        }
    }

    /// Ends the interpreter and, with it, its functions' processes.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.process.id() {
            Command::new("kill").arg(pid.to_string()).status().await?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), self.process.wait()).await;
        if ended.is_err() {
            self.process.kill().await?;
        }
        Ok(())
    }
}

/// A Python program of the project, with nothing of our environment but the way to programs.
fn program(name: &str) -> Command {
    let mut command = Command::new(venv().join(name));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A state machine's definition, its placeholders not replaced.
pub(crate) fn definition(machine: &str) -> Result<Value> {
    let path = path(&format!("statemachines/{machine}.asl.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// The first placeholder and the function that it stands for: `${LaunchWorkerArn}`, `launch-worker`.
fn placeholder(text: &str) -> Option<(String, String)> {
    let (_, rest) = text.split_once("${")?;
    let (name, _) = rest.split_once("Arn}")?;
    let placeholder = format!("${{{name}Arn}}");
    function_of(&placeholder).map(|function| (placeholder, function))
}

/// The function that a placeholder stands for.
pub(crate) fn function_of(placeholder: &str) -> Option<String> {
    let name = placeholder.strip_prefix("${")?.strip_suffix("Arn}")?;
    let mut function = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !function.is_empty() {
            function.push('-');
        }
        function.push(char.to_ascii_lowercase());
    }
    Some(function)
}

/// Every retry after one second.
fn shorten(definition: &mut Value) {
    match definition {
        Value::Object(fields) => {
            if fields.contains_key("IntervalSeconds") {
                fields["IntervalSeconds"] = json!(1);
                fields["BackoffRate"] = json!(1);
            }
            fields.values_mut().for_each(shorten);
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}
