//! The base: MiniStack as a child process, and the few questions the twin itself has for it.
//!
//! Version 1.5.33. It runs with a clean environment, because its Lambda functions inherit it. Its state is written when
//! it ends gracefully; only the bytes of S3 objects are on disk at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::port;
use crate::proxy::Body;
use crate::xml::Element;
use crate::{ACCOUNT, REGION, ROOT_KEY};

/// It answers within 1.4 s on two idle cores.
const UP_WITHIN: Duration = Duration::from_secs(45);
/// It waits for open connections for some seconds and then writes its state.
const DOWN_WITHIN: Duration = Duration::from_secs(20);
/// Less than the 75 s after which it closes an idle connection, so that no request meets a closing one.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// The running base.
pub struct Base {
    child: Child,
    client: Client,
    log: PathBuf,
    unclean: PathBuf,
}

impl Base {
    /// Starts `program` with its state below `state` and waits until it answers. `endpoint` is what its Lambda
    /// functions get as `AWS_ENDPOINT_URL`; `wait_scale` multiplies the waits of its state machines.
    pub async fn start(program: &Path, state: &Path, endpoint: SocketAddr, wait_scale: f64) -> Result<Base> {
        let dir = state.join("base");
        let tmp = state.join("tmp");
        // Unpacked function code of the last run; it is unpacked again from the persisted state.
        let _ = std::fs::remove_dir_all(&tmp);
        for made in [&dir, &tmp] {
            std::fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        let unclean = dir.join("unclean");
        if unclean.exists() {
            tracing::warn!(
                "the base did not end gracefully last time: what changed in it since its last start is lost"
            );
        }
        std::fs::write(&unclean, "removed when the base has written its state\n")?;

        // Free now, and nobody else asks for it until the base takes it.
        let address = port::listen(0, &dir.join("port"))?.local_addr()?;
        let log = state.join("base.log");
        let output = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let corrections = dir.join("python");
        std::fs::create_dir_all(&corrections)?;
        std::fs::write(corrections.join("sitecustomize.py"), include_str!("sitecustomize.py"))?;
        let child = Command::new(program)
            .env_clear()
            .env("PYTHONPATH", &corrections)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &tmp)
            .env("TMPDIR", &tmp)
            .env("LANG", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("BIND_HOST", address.ip().to_string())
            .env("GATEWAY_PORT", address.port().to_string())
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("MINISTACK_REGION", REGION)
            .env("AWS_ENDPOINT_URL", format!("http://{endpoint}"))
            .env("AUTH", "true")
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", dir.join("state"))
            .env("S3_PERSIST", "1")
            .env("S3_DATA_DIR", dir.join("s3"))
            .env("SFN_WAIT_SCALE", wait_scale.to_string())
            // Listeners on fixed ports that nothing here uses.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run the base {}", program.display()))?;
        let mut base = Base {
            child,
            client: Client::new(address),
            log,
            unclean,
        };
        base.await_up().await?;
        Ok(base)
    }

    async fn await_up(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < UP_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                bail!("the base ended at once ({status}); see {}", self.log.display());
            }
            if self.client.healthy().await {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!(
            "the base did not answer within {} s; see {}",
            UP_WITHIN.as_secs(),
            self.log.display()
        )
    }

    /// For questions to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What it prints, functions included.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for it to end by itself, which it should not.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it gracefully, so that it writes its state.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        kill(Pid::from_raw(pid as i32), Signal::SIGTERM)?;
        match timeout(DOWN_WITHIN, self.child.wait()).await {
            Ok(status) => ensure!(status?.code().is_some(), "the base was killed while it wrote its state"),
            Err(_) => bail!(
                "the base did not end within {} s; its state may be old",
                DOWN_WITHIN.as_secs()
            ),
        }
        Ok(std::fs::remove_file(&self.unclean)?)
    }
}

/// A way to reach the base. A clone shares its connections.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    http: HttpClient<HttpConnector, Body>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(connector);
        Client { address, http }
    }

    /// Sends a request as it is; only its destination is changed, not its `Host`.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse()?;
        self.http.request(request).await.context("the base does not answer")
    }

    async fn healthy(&self) -> bool {
        let request = Request::get("/_ministack/health").body(empty());
        match self.send(request.expect("a fixed request")).await {
            Ok(response) => response.status() == StatusCode::OK,
            Err(_) => false,
        }
    }

    /// Asks a service of the Query protocol (ec2, iam, sts) as the account's root.
    pub async fn query(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Answer> {
        let version = match service {
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            _ => "2011-06-15",
        };
        let mut form = vec![("Action", action), ("Version", version)];
        form.extend_from_slice(parameters);
        let body = serde_urlencoded::to_string(form).map_err(anyhow::Error::from)?;
        let request = as_root(service, "application/x-www-form-urlencoded")
            .method(Method::POST)
            .body(full(body))
            .map_err(anyhow::Error::from)?;
        let (status, text) = self.answer(request).await?;
        let root = Element::parse(&text).with_context(|| format!("{service} {action}"))?;
        if status.is_success() {
            return Ok(root);
        }
        let error = root
            .find("Errors/Error")
            .or_else(|| root.find("Error"))
            .cloned()
            .unwrap_or_default();
        Err(Answer::Refused {
            code: error.text_at("Code").unwrap_or_else(|| status.to_string()),
            message: error.text_at("Message").unwrap_or(text),
        })
    }

    /// Asks a JSON service as the account's root; `target` is the `X-Amz-Target`.
    pub async fn json(&self, service: &str, target: &str, body: Value) -> Result<Value, Answer> {
        let request = as_root(service, "application/x-amz-json-1.1")
            .method(Method::POST)
            .header("x-amz-target", target)
            .body(full(body.to_string()))
            .map_err(anyhow::Error::from)?;
        let (status, text) = self.answer(request).await?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{target} answered {text}"))?;
        if status.is_success() {
            return Ok(value);
        }
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        Err(Answer::Refused {
            code: field("__type").unwrap_or_else(|| status.to_string()),
            message: field("message").unwrap_or(text),
        })
    }

    /// Asks a REST service with GET as the account's root.
    pub async fn get(&self, service: &str, path: &str) -> Result<Value> {
        let request = as_root(service, "application/json").uri(path).body(empty())?;
        let (status, text) = self.answer(request).await?;
        ensure!(status.is_success(), "the base answered {status} to GET {path}: {text}");
        serde_json::from_str(&text).with_context(|| format!("GET {path}"))
    }

    async fn answer(&self, request: Request<Body>) -> Result<(StatusCode, String)> {
        let response = self.send(request).await?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .context("the base broke off its answer")?
            .to_bytes();
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Why the base gave no result.
#[derive(Debug)]
pub enum Answer {
    /// An AWS error.
    Refused {
        /// AWS's error code.
        code: String,
        /// What it said.
        message: String,
    },
    /// It could not be asked.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Answer {
    fn from(error: anyhow::Error) -> Answer {
        Answer::Failed(error)
    }
}

fn as_root(service: &str, content_type: &'static str) -> http::request::Builder {
    Request::builder()
        .header(header::AUTHORIZATION, root(service))
        .header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
}

/// The authorization of the account's root. The base checks signatures of all keys but the root's, whose credential scope
/// is enough.
pub fn root(service: &str) -> String {
    let scope = format!("{ROOT_KEY}/20260101/{REGION}/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

fn full(body: String) -> Body {
    Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn empty() -> Body {
    full(String::new())
}
