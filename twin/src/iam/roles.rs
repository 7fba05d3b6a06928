//! What a role may do: its inline and attached policies, as the base's IAM keeps them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};

use super::{Need, Statement, Verdict, judge, statements};
use crate::base::{Answer, Client};

/// Statements of the roles that have called, until something may have changed them.
pub struct Roles {
    base: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How often something may have changed.
    changes: u64,
    /// What was read since, by role.
    roles: HashMap<String, Arc<Vec<Statement>>>,
}

impl Roles {
    /// Has read nothing yet.
    pub fn new(base: Client) -> Roles {
        Roles {
            base,
            known: Mutex::default(),
        }
    }

    /// Something may have changed: called after every call of IAM and CloudFormation. A deployment goes on after the
    /// call that starts it, but whoever deploys asks until it is over, and those are calls too.
    pub fn forget(&self) {
        let mut known = self.known.lock().expect("no panic inside");
        known.changes += 1;
        known.roles.clear();
    }

    /// Judges what a role needs. Nothing is refused by what was read before: then its policies are read again.
    pub async fn judge(&self, role: &str, needs: &[Need]) -> Result<Vec<Verdict>> {
        let judged =
            |statements: &[Statement]| -> Vec<Verdict> { needs.iter().map(|need| judge(statements, need)).collect() };
        let refused = |verdicts: &[Verdict]| verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Allowed(_)));
        let known = self.known.lock().expect("no panic inside").roles.get(role).cloned();
        if let Some(verdicts) = known.map(|statements| judged(&statements))
            && !refused(&verdicts)
        {
            return Ok(verdicts);
        }
        Ok(judged(&self.read(role).await?))
    }

    async fn read(&self, role: &str) -> Result<Arc<Vec<Statement>>> {
        let before = self.known.lock().expect("no panic inside").changes;
        let found = self.ask(role).await.map_err(|answer| match answer {
            Answer::Refused { code, message } => anyhow::anyhow!("{code}: {message}"),
            Answer::Failed(error) => error,
        });
        let found = Arc::new(found.with_context(|| format!("what {role} may do is not known"))?);
        let mut known = self.known.lock().expect("no panic inside");
        if known.changes == before {
            known.roles.insert(role.to_owned(), Arc::clone(&found));
        }
        Ok(found)
    }

    async fn ask(&self, role: &str) -> Result<Vec<Statement>, Answer> {
        let mut found = Vec::new();
        let inline = match self.iam("ListRolePolicies", &[("RoleName", role)]).await {
            // Deleted while somebody still has a session of it.
            Err(Answer::Refused { code, .. }) if code == "NoSuchEntity" => return Ok(found),
            answer => answer?,
        };
        for name in inline.items("ListRolePoliciesResult/PolicyNames") {
            let parameters = [("RoleName", role), ("PolicyName", name.text.as_str())];
            let policy = self.iam("GetRolePolicy", &parameters).await?;
            let document = policy.text_at("GetRolePolicyResult/PolicyDocument").unwrap_or_default();
            found.extend(statements(&name.text, &decoded(&document))?);
        }
        let attached = self.iam("ListAttachedRolePolicies", &[("RoleName", role)]).await?;
        for policy in attached.items("ListAttachedRolePoliciesResult/AttachedPolicies") {
            let text = |name| policy.text_at(name).unwrap_or_default();
            let (name, arn) = (text("PolicyName"), text("PolicyArn"));
            let policy = self.iam("GetPolicy", &[("PolicyArn", &arn)]).await?;
            let version = policy
                .text_at("GetPolicyResult/Policy/DefaultVersionId")
                .unwrap_or_default();
            let parameters = [("PolicyArn", arn.as_str()), ("VersionId", version.as_str())];
            let version = self.iam("GetPolicyVersion", &parameters).await?;
            let document = version
                .text_at("GetPolicyVersionResult/PolicyVersion/Document")
                .unwrap_or_default();
            found.extend(statements(&name, &decoded(&document))?);
        }
        Ok(found)
    }

    async fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> Result<crate::xml::Element, Answer> {
        self.base.query("iam", action, parameters).await
    }
}

/// IAM gives documents URL-encoded; a decoded one begins with a brace.
fn decoded(document: &str) -> String {
    if document.trim_start().starts_with('{') {
        return document.to_owned();
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("d={document}")).unwrap_or_default();
    pairs.into_iter().map(|(_, value)| value).collect()
}
