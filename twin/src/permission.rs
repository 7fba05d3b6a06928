//! Whether a role may do what it calls for: asked before the call is answered, noted in the record, refused in the
//! service's own words.
//!
//! The twin judges every call whose needs it knows itself; the base, which knows neither EC2's ARNs nor tags, is a
//! second gate for the services that it evaluates.

use anyhow::Result;
use http::{Response, StatusCode};

use crate::ACCOUNT;
use crate::call::{Call, Protocol};
use crate::iam::{Need, Verdict};
use crate::proxy::{Body, Twin, refusal, xml_response};
use crate::record::{Judged, Outcome};

/// The refusal of a call that its caller may not make; none if it may. Notes the needs in `outcome`.
pub(crate) async fn refused(
    twin: &Twin,
    call: &Call,
    caller: &str,
    outcome: &mut Outcome,
) -> Result<Option<Response<Body>>> {
    let is_ec2 = call.service == "ec2";
    if !caller.contains('/') {
        // Users and the unknown are the base's to judge; but EC2 is not in the base.
        let stranger = is_ec2 && caller != "root";
        return Ok(stranger.then(|| unknown(call, outcome)));
    }
    if !is_ec2 {
        return match &call.needs {
            Some(needs) => judged(twin, call, caller, needs, outcome).await,
            None => Ok(None),
        };
    }
    match twin.ec2.needs(call).await {
        Ok(needs) => judged(twin, call, caller, &needs, outcome).await,
        Err(answer) => {
            outcome.error = answer.error;
            // What it would have needed is known to nobody, not even to EC2.
            outcome.needs = Some(Vec::new());
            Ok(Some(xml_response(answer.status, answer.xml)))
        }
    }
}

/// S3 tells only those who may list a bucket that an object is not there; to others it is forbidden.
pub(crate) async fn hidden(
    twin: &Twin,
    call: &Call,
    caller: &str,
    outcome: &mut Outcome,
) -> Result<Option<Response<Body>>> {
    if call.service != "s3" || !matches!(call.action.as_str(), "GetObject" | "HeadObject") {
        return Ok(None);
    }
    let object = call.resources.first().and_then(|object| object.split_once('/'));
    let (Some((bucket, _)), Some(mut needs)) = (object, outcome.needs.clone()) else {
        return Ok(None);
    };
    let list = [Need::new("s3:ListBucket", format!("arn:aws:s3:::{bucket}"))];
    let refused = judged(twin, call, caller, &list, outcome).await;
    needs.extend(outcome.needs.take().unwrap_or_default());
    outcome.needs = Some(needs);
    refused
}

/// Whether the base would ask for something else than AWS does. MiniStack 1.5.33 asks for `*` instead of the path; what
/// the twin has allowed is then passed on as the root's.
pub(crate) fn is_asked_wrongly(call: &Call) -> bool {
    call.service == "ssm" && call.action == "GetParametersByPath"
}

async fn judged(
    twin: &Twin,
    call: &Call,
    caller: &str,
    needs: &[Need],
    outcome: &mut Outcome,
) -> Result<Option<Response<Body>>> {
    let role = caller.split('/').next().unwrap_or_default();
    let everywhere = |need: &Need| {
        need.clone()
            .with("aws:PrincipalArn", format!("arn:aws:iam::{ACCOUNT}:role/{role}"))
            .with("aws:PrincipalAccount", ACCOUNT)
            .with("aws:RequestedRegion", crate::REGION)
            // Connections on one machine count as encrypted.
            .with("aws:SecureTransport", "true")
    };
    let asked: Vec<Need> = needs.iter().map(everywhere).collect();
    let verdicts = twin.roles.judge(role, &asked).await?;
    let refused = verdicts
        .iter()
        .position(|verdict| !matches!(verdict, Verdict::Allowed(_)));
    let refused = refused.map(|at| denial(call, caller, &needs[at], &verdicts[at], outcome));
    let judged = needs.iter().zip(verdicts).map(|(need, verdict)| Judged {
        need: need.clone(),
        allowed: match verdict {
            Verdict::Allowed(by) => by,
            Verdict::Denied(_) | Verdict::NotAllowed => Vec::new(),
        },
    });
    outcome.needs = Some(judged.collect());
    Ok(refused)
}

/// AWS's refusal, which names who, what and on what; the twin adds what a condition could have looked at.
fn denial(call: &Call, caller: &str, need: &Need, verdict: &Verdict, outcome: &mut Outcome) -> Response<Body> {
    let because = match verdict {
        Verdict::Denied(_) => "with an explicit deny in an identity-based policy".to_owned(),
        _ => format!("because no identity-based policy allows the {} action", need.action),
    };
    let keys: Vec<String> = need
        .context
        .iter()
        .map(|(key, values)| format!("{key}={}", values.join(",")))
        .collect();
    let message = format!(
        "User: arn:aws:sts::{ACCOUNT}:assumed-role/{caller} is not authorized to perform: {} on resource: {} {because} \
         (condition keys: {})",
        need.action,
        need.resource,
        keys.join("; ")
    );
    let (status, code, message) = match call.protocol {
        Protocol::Ec2 => (
            StatusCode::FORBIDDEN,
            "UnauthorizedOperation",
            format!("You are not authorized to perform this operation. {message}"),
        ),
        Protocol::S3 | Protocol::Query => (StatusCode::FORBIDDEN, "AccessDenied", message),
        Protocol::Json => (StatusCode::BAD_REQUEST, "AccessDeniedException", message),
        Protocol::Rest => (StatusCode::FORBIDDEN, "AccessDeniedException", message),
    };
    tracing::info!("{code}: {message}");
    outcome.error = Some(code.to_owned());
    refusal(call.protocol, status, code, &message)
}

fn unknown(call: &Call, outcome: &mut Outcome) -> Response<Body> {
    let code = "AuthFailure";
    outcome.error = Some(code.to_owned());
    let message = "AWS was not able to validate the provided access credentials";
    refusal(call.protocol, StatusCode::UNAUTHORIZED, code, message)
}
