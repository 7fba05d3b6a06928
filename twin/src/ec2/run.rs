//! RunInstances: what is wished for is put together from call and launch template, checked, and started.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use time::OffsetDateTime;

use super::instances::{end, reservation_xml};
use super::lookups::{Profile, Subnet};
use super::query::{Query, Tags};
use super::refusal::{Outcome, Refusal};
use super::state::{Instance, Phase, Reason, new_id};
use super::{Ec2, Reply};
use crate::REGION;
use crate::call::Call;
use crate::faults::{Fault, Spoilt, Wish};
use crate::machine::{Credentials, InstanceSpec};

/// More instances in one call than any test machine holds.
const MOST_INSTANCES: usize = 20;
/// AWS's limit, before base64.
const LARGEST_USER_DATA: usize = 16 << 10;

/// What a call asks for, its template applied and everything checked.
pub(super) struct Launch {
    count: usize,
    pub(super) image: String,
    /// The parameter that holds the image.
    pub(super) image_parameter: Option<String>,
    pub(super) instance_type: String,
    pub(super) subnet: Subnet,
    pub(super) groups: Vec<String>,
    /// They are the template's.
    pub(super) groups_of_template: bool,
    pub(super) public: bool,
    pub(super) spot: bool,
    terminates_on_shutdown: bool,
    pub(super) profile: Option<Profile>,
    pub(super) key: Option<String>,
    pub(super) encrypted: Option<String>,
    user_data: Vec<u8>,
    /// By type of what is made.
    pub(super) tags: BTreeMap<String, Tags>,
}

impl Ec2 {
    pub(super) async fn run_instances(
        self: &Arc<Self>,
        call: &Call,
        caller: &str,
        query: Query<'_>,
        spoilt: Spoilt,
    ) -> Outcome<Reply> {
        let (token, digest) = (query.get("ClientToken"), query.digest());
        if let Some(ids) = self.look(|state| state.replay("RunInstances", token, &digest))? {
            return self.reservation(&ids);
        }
        let launch = self.launch(query).await?;
        let market = if launch.spot { "spot" } else { "on-demand" };
        let wish = Wish {
            instance_type: &launch.instance_type,
            zone: &launch.subnet.zone,
            market,
        };
        if let Some(fault) = self.faults.take_capacity(call, caller, wish) {
            return Err(no_capacity(&fault, wish));
        }
        let mut machines = Vec::new();
        let reservation = new_id("r-");
        for index in 0..launch.count {
            let id = new_id("i-");
            let credentials = match &launch.profile {
                Some(profile) => Some(self.session(profile, &id).await?),
                None => None,
            };
            let instance = launch.instance(&id, &reservation, index, token);
            machines.push((instance, launch.spec(&id, credentials)));
        }
        let ids: Vec<String> = machines.iter().map(|(instance, _)| instance.id.clone()).collect();
        let specs: Vec<InstanceSpec> = machines.iter().map(|(_, spec)| spec.clone()).collect();
        // Another call with the same token may have come first.
        let first = self.change(|state| {
            if let Some(ids) = state.replay("RunInstances", token, &digest)? {
                return Ok(Some(ids));
            }
            state.instances.extend(
                machines
                    .into_iter()
                    .map(|(instance, _)| (instance.id.clone(), instance)),
            );
            state.remember("RunInstances", token, &digest, ids.clone());
            Ok(None)
        })?;
        if let Some(ids) = first {
            return self.reservation(&ids);
        }
        // The answer says `pending`, however fast the start is.
        let reply = Reply {
            made: ids.clone(),
            ..self.reservation(&ids)?
        };
        for spec in specs {
            tokio::spawn(Arc::clone(self).boot(spec, spoilt.broken));
        }
        Ok(reply)
    }

    pub(super) async fn launch(&self, query: Query<'_>) -> Outcome<Launch> {
        let (least, most): (Option<usize>, Option<usize>) = (query.parsed("MinCount")?, query.parsed("MaxCount")?);
        let (least, most) = (least.unwrap_or(1), most.unwrap_or(1));
        if least < 1 || most < least || most > MOST_INSTANCES {
            return Err(Refusal::invalid(format!(
                "MinCount {least}, MaxCount {most}: from 1 to {MOST_INSTANCES} here"
            )));
        }
        let template = self.template(query).await?;
        let given = |name: &str, from_template: Option<String>| query.get(name).map(str::to_owned).or(from_template);
        let needed = |name: &str, value: Option<String>| {
            value.ok_or_else(|| {
                Refusal::new(
                    "MissingParameter",
                    format!("The request must contain the parameter {name}"),
                )
            })
        };

        let image = needed("ImageId", given("ImageId", template.image))?;
        let image_parameter = image.strip_prefix("resolve:ssm:").map(str::to_owned);
        let image = self.image(&image).await?;
        self.check_image(&image)?;
        let instance_type = needed("InstanceType", given("InstanceType", template.instance_type))?;
        if instance_type.split('.').filter(|piece| !piece.is_empty()).count() != 2 {
            return Err(Refusal::invalid(format!(
                "Invalid value '{instance_type}' for InstanceType."
            )));
        }
        if given("MetadataOptions.HttpTokens", template.http_tokens).is_some_and(|tokens| tokens != "required") {
            return Err(Refusal::invalid(
                "The twin has only IMDSv2: HttpTokens must be required.",
            ));
        }
        let nic = "NetworkInterface.1";
        let subnet = given(
            "SubnetId",
            query
                .get(&format!("{nic}.SubnetId"))
                .map(str::to_owned)
                .or(template.subnet),
        );
        let subnet = self.subnet(subnet.as_deref()).await?;
        if let Some(zone) = query
            .get("Placement.AvailabilityZone")
            .filter(|zone| *zone != subnet.zone)
        {
            let message = format!("The subnet {} is in {}, not in {zone}", subnet.id, subnet.zone);
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
        let public = query
            .parsed(&format!("{nic}.AssociatePublicIpAddress"))?
            .or(template.public);
        let public = public.unwrap_or(subnet.public);
        let mut groups = query.list("SecurityGroupId");
        groups.extend(query.list(&format!("{nic}.SecurityGroupId")));
        let groups_of_template = groups.is_empty();
        let groups = if groups_of_template {
            template.groups
        } else {
            groups.into_iter().map(str::to_owned).collect()
        };
        let spot = match query.get("InstanceMarketOptions.MarketType") {
            Some("spot") => true,
            None => false,
            Some(other) => return Err(Refusal::invalid(format!("Invalid value '{other}' for MarketType."))),
        };
        let behaviour = given("InstanceInitiatedShutdownBehavior", template.shutdown_behaviour);
        let terminates_on_shutdown = match behaviour.as_deref() {
            Some("terminate") => true,
            Some("stop") | None => false,
            Some(other) => {
                let message = format!("Invalid value '{other}' for InstanceInitiatedShutdownBehavior.");
                return Err(Refusal::invalid(message));
            }
        };
        let profile = query
            .get("IamInstanceProfile.Arn")
            .or(query.get("IamInstanceProfile.Name"))
            .map(str::to_owned);
        let profile = match profile.or(template.profile) {
            Some(profile) => Some(self.profile(&profile).await?),
            None => None,
        };
        let user_data = match given("UserData", template.user_data) {
            Some(text) => BASE64_STANDARD
                .decode(text.trim())
                .map_err(|error| Refusal::invalid(format!("Invalid BASE64 encoding of user data: {error}")))?,
            None => Vec::new(),
        };
        if user_data.len() > LARGEST_USER_DATA {
            return Err(Refusal::invalid("User data is limited to 16384 bytes"));
        }
        let mut tags = template.tags;
        for (resource_type, more) in query.tag_specifications() {
            tags.entry(resource_type).or_default().extend(more);
        }
        Ok(Launch {
            count: most,
            image,
            image_parameter,
            instance_type,
            subnet,
            groups,
            groups_of_template,
            public,
            spot,
            terminates_on_shutdown,
            profile,
            key: query.get("KeyName").map(str::to_owned).or(template.key),
            encrypted: template.encrypted,
            user_data,
            tags,
        })
    }

    fn reservation(&self, ids: &[String]) -> Outcome<Reply> {
        self.look(|state| {
            let instances: Vec<&Instance> = ids.iter().filter_map(|id| state.instances.get(id)).collect();
            Ok(Reply::of(reservation_xml(&instances, &state.volumes)))
        })
    }

    /// Starts what is `pending`; it may be ended meanwhile.
    async fn boot(self: Arc<Self>, spec: InstanceSpec, broken: bool) {
        let id = spec.id.clone();
        let started = match broken {
            true => Err(anyhow!("{id} was told to fail its boot")),
            false => self.machines.start(spec).await,
        };
        match started {
            Ok(running) => self.settle(|state| {
                if let Some(instance) = state
                    .instances
                    .get_mut(&id)
                    .filter(|instance| instance.phase == Phase::Pending)
                {
                    instance.phase = Phase::Running;
                    instance.private_ip = Some(running.private_ip);
                    instance.public_ip = Some(running.public_ip).filter(|_| instance.public);
                }
            }),
            Err(error) => {
                tracing::error!("{error:#}");
                let reason = Reason {
                    code: "Server.InternalError".into(),
                    message: format!("{error:#}"),
                };
                self.settle(|state| state.end(&id, reason, "Server.InternalError"));
            }
        }
        let ending = |state: &mut super::State| Ok(state.instance(&id)?.phase == Phase::ShuttingDown);
        if self.look(ending).unwrap_or(false) {
            end(self, id).await;
        }
    }
}

impl Launch {
    fn instance(&self, id: &str, reservation: &str, index: usize, token: Option<&str>) -> Instance {
        Instance {
            id: id.to_owned(),
            reservation: reservation.to_owned(),
            index,
            phase: Phase::Pending,
            reason: None,
            transition: String::new(),
            image: self.image.clone(),
            instance_type: self.instance_type.clone(),
            zone: self.subnet.zone.clone(),
            subnet: self.subnet.id.clone(),
            vpc: self.subnet.vpc.clone(),
            groups: self.groups.clone(),
            spot: self.spot,
            terminates_on_shutdown: self.terminates_on_shutdown,
            public: self.public,
            profile: self.profile.as_ref().map(|profile| profile.arn.clone()),
            token: token.map(str::to_owned),
            launched: OffsetDateTime::now_utc(),
            ended: None,
            private_ip: None,
            public_ip: None,
            tags: self.tags.get("instance").cloned().unwrap_or_default(),
        }
    }

    fn spec(&self, id: &str, credentials: Option<Credentials>) -> InstanceSpec {
        InstanceSpec {
            id: id.to_owned(),
            user_data: self.user_data.clone(),
            role_name: self.profile.as_ref().map(|profile| profile.role_name.clone()),
            role_credentials: credentials,
            region: REGION.to_owned(),
            zone: self.subnet.zone.clone(),
            instance_type: self.instance_type.clone(),
            image: self.image.clone(),
            spot: self.spot,
        }
    }
}

/// AWS answers a lack of capacity with status 500, and a quota with 400.
fn no_capacity(fault: &Fault, wish: Wish) -> Refusal {
    let Wish {
        instance_type,
        zone,
        market,
    } = wish;
    let code = fault.code.as_deref().unwrap_or("InsufficientInstanceCapacity");
    let status = if code == "InsufficientInstanceCapacity" {
        500
    } else {
        400
    };
    let status = StatusCode::from_u16(fault.status.unwrap_or(status)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = format!(
        "We currently do not have sufficient {instance_type} capacity ({market}) in the Availability Zone you requested ({zone})."
    );
    Refusal {
        status,
        code: code.to_owned(),
        message,
    }
}
