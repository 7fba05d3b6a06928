//! Who is behind an access key: `root`, `ROLE/FUNCTION`, `ROLE/INSTANCE`, or the key itself.

use std::collections::HashMap;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::ROOT_KEY;
use crate::base::Client;

/// Names of access keys.
pub struct Callers {
    base: Client,
    names: Mutex<HashMap<String, String>>,
}

impl Callers {
    /// Knows nobody yet but the root.
    pub fn new(base: Client) -> Callers {
        Callers {
            base,
            names: Mutex::new(HashMap::from([(ROOT_KEY.to_owned(), "root".to_owned())])),
        }
    }

    /// Remembers whom a session was made for.
    pub fn add(&self, access_key: &str, role: &str, session: &str) {
        self.names
            .lock()
            .expect("no panic inside")
            .insert(access_key.to_owned(), format!("{role}/{session}"));
    }

    /// The name behind a key. An unknown session key may be a function that was deployed since: the base is asked.
    pub async fn name(&self, access_key: &str) -> String {
        if access_key.is_empty() {
            return "anonymous".to_owned();
        }
        if let Some(name) = self.known(access_key) {
            return name;
        }
        if access_key.starts_with("ASIA")
            && let Err(error) = self.learn_functions().await
        {
            tracing::warn!("the functions' callers are not known: {error:#}");
        }
        self.known(access_key).unwrap_or_else(|| access_key.to_owned())
    }

    fn known(&self, access_key: &str) -> Option<String> {
        self.names.lock().expect("no panic inside").get(access_key).cloned()
    }

    async fn learn_functions(&self) -> anyhow::Result<()> {
        let mut path = "/2015-03-31/functions/".to_owned();
        loop {
            let page = self.base.get("lambda", &path).await?;
            for function in page["Functions"].as_array().into_iter().flatten() {
                let field = |name: &str| function[name].as_str().unwrap_or_default();
                let role = field("Role");
                let key = session_key(field("FunctionArn"), role);
                self.add(&key, role.rsplit('/').next().unwrap_or_default(), field("FunctionName"));
            }
            match page["NextMarker"].as_str().filter(|marker| !marker.is_empty()) {
                Some(marker) => path = format!("/2015-03-31/functions/?Marker={marker}"),
                None => return Ok(()),
            }
        }
    }
}

/// The access key under which MiniStack 1.5.33 runs a function (`core/lambda_runtime.py`, `execution_credentials`).
fn session_key(function_arn: &str, role_arn: &str) -> String {
    let digest = hex::encode_upper(Sha256::digest(format!("{function_arn}:{role_arn}")));
    format!("ASIA{}", &digest[..16])
}
