//! What RunInstances asks the base: launch template, subnet, image parameter, role.

use std::collections::BTreeMap;

use serde_json::json;

use super::Ec2;
use super::query::{Query, Tags};
use super::refusal::{Outcome, Refusal};
use crate::machine::Credentials;
use crate::xml::Element;

/// Twelve hours: no instance of the twin lives longer, so the metadata service need not renew.
const CREDENTIALS_LAST: &str = "43200";

/// The part of a launch template that the twin obeys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) image: Option<String>,
    pub(super) instance_type: Option<String>,
    /// Base64.
    pub(super) user_data: Option<String>,
    /// Name or ARN of the instance profile.
    pub(super) profile: Option<String>,
    pub(super) shutdown_behaviour: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) subnet: Option<String>,
    pub(super) public: Option<bool>,
    pub(super) http_tokens: Option<String>,
    pub(super) key: Option<String>,
    /// Of the first volume.
    pub(super) encrypted: Option<String>,
    /// What is made gets these tags, by type: `instance`, `volume` ...
    pub(super) tags: BTreeMap<String, Tags>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) vpc: String,
    pub(super) public: bool,
}

/// The role behind an instance profile, and the profile's ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) arn: String,
    pub(super) role_name: String,
    pub(super) role_arn: String,
}

impl Ec2 {
    /// The template that the call names; empty if it names none.
    pub(super) async fn template(&self, query: Query<'_>) -> Outcome<Template> {
        let Some(which) = named_template(query)? else {
            return Ok(Template::default());
        };
        let version = query.get("LaunchTemplate.Version").unwrap_or("$Default");
        let parameters = [which, ("LaunchTemplateVersion.1", version)];
        let answer = self
            .base
            .query("ec2", "DescribeLaunchTemplateVersions", &parameters)
            .await?;
        let data = answer
            .items("launchTemplateVersionSet")
            .first()
            .and_then(|item| item.find("launchTemplateData"));
        data.map(read_template).ok_or_else(|| {
            let message = format!("The launch template {} has no version {version}", which.1);
            Refusal::new("InvalidLaunchTemplateId.VersionNotFound", message)
        })
    }

    /// Id and own tags of the template that the call names.
    pub(super) async fn template_itself(&self, query: Query<'_>) -> Outcome<Option<(String, Tags)>> {
        let Some((name, value)) = named_template(query)? else {
            return Ok(None);
        };
        let parameters = [(format!("{name}.1"), value)];
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let answer = self.base.query("ec2", "DescribeLaunchTemplates", &parameters).await?;
        let template = answer.items("launchTemplates").first().ok_or_else(|| {
            let message = format!("The launch template {value} does not exist");
            Refusal::new("InvalidLaunchTemplateName.NotFoundException", message)
        })?;
        let id = template.text_at("launchTemplateId").unwrap_or_default();
        Ok(Some((id, read_tags(template))))
    }

    /// A subnet by id; without one, the first of the default VPC, as AWS takes it.
    pub(super) async fn subnet(&self, id: Option<&str>) -> Outcome<Subnet> {
        let parameters = match id {
            Some(id) => vec![("SubnetId.1", id)],
            None => vec![("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")],
        };
        let answer = self.base.query("ec2", "DescribeSubnets", &parameters).await?;
        let text = |item: &Element, name| item.text_at(name).unwrap_or_default();
        let found = answer
            .items("subnetSet")
            .iter()
            .find(|item| id.is_none_or(|id| text(item, "subnetId") == id));
        let item = found.ok_or_else(|| {
            let message = format!("The subnet ID '{}' does not exist", id.unwrap_or("default"));
            Refusal::new("InvalidSubnetID.NotFound", message)
        })?;
        Ok(Subnet {
            id: text(item, "subnetId"),
            zone: text(item, "availabilityZone"),
            vpc: text(item, "vpcId"),
            public: text(item, "mapPublicIpOnLaunch") == "true",
        })
    }

    /// The image id behind `resolve:ssm:NAME`; any other text is an image id itself.
    pub(super) async fn image(&self, text: &str) -> Outcome<String> {
        let Some(name) = text.strip_prefix("resolve:ssm:") else {
            return Ok(text.to_owned());
        };
        let answer = self
            .base
            .json("ssm", "AmazonSSM.GetParameter", json!({"Name": name}))
            .await?;
        let value = answer["Parameter"]["Value"].as_str().map(str::to_owned);
        value.ok_or_else(|| Refusal::invalid(format!("The parameter {name} holds no image id")))
    }

    /// The instance profile with this name or ARN.
    pub(super) async fn profile(&self, name_or_arn: &str) -> Outcome<Profile> {
        let name = name_or_arn.rsplit('/').next().unwrap_or(name_or_arn);
        let refused = |why: String| Refusal::invalid(format!("Invalid IAM Instance Profile {name_or_arn}: {why}"));
        let answer = self
            .base
            .query("iam", "GetInstanceProfile", &[("InstanceProfileName", name)])
            .await;
        let answer = answer.map_err(|answer| refused(Refusal::from(answer).message))?;
        let profile = answer.find("GetInstanceProfileResult/InstanceProfile");
        let profile = profile.ok_or_else(|| refused("no such profile".to_owned()))?;
        let role = profile
            .items("Roles")
            .first()
            .ok_or_else(|| refused("it has no role".to_owned()))?;
        let text = |element: &Element, name| element.text_at(name).unwrap_or_default();
        Ok(Profile {
            arn: text(profile, "Arn"),
            role_name: text(role, "RoleName"),
            role_arn: text(role, "Arn"),
        })
    }

    /// A session of the profile's role for an instance; the base checks that EC2 may assume it.
    pub(super) async fn session(&self, profile: &Profile, instance: &str) -> Outcome<Credentials> {
        let parameters = [
            ("RoleArn", profile.role_arn.as_str()),
            ("RoleSessionName", instance),
            ("DurationSeconds", CREDENTIALS_LAST),
        ];
        let answer = self.base.query("sts", "AssumeRole", &parameters).await?;
        let field = |name: &str| {
            answer
                .text_at(&format!("AssumeRoleResult/Credentials/{name}"))
                .unwrap_or_default()
        };
        let credentials = Credentials {
            access_key: field("AccessKeyId"),
            secret_key: field("SecretAccessKey"),
            token: field("SessionToken"),
        };
        self.callers.add(&credentials.access_key, &profile.role_name, instance);
        Ok(credentials)
    }
}

/// The parameter that names the launch template, and the name or id.
fn named_template(query: Query<'_>) -> Outcome<Option<(&'static str, &str)>> {
    let name = query.get("LaunchTemplate.LaunchTemplateName");
    match (name, query.get("LaunchTemplate.LaunchTemplateId")) {
        (Some(name), None) => Ok(Some(("LaunchTemplateName", name))),
        (None, Some(id)) => Ok(Some(("LaunchTemplateId", id))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let both = "Either provide launchTemplateId or launchTemplateName, not both";
            Err(Refusal::new("InvalidParameterCombination", both))
        }
    }
}

fn read_tags(tagged: &Element) -> Tags {
    let text = |tag: &Element, name| tag.text_at(name).unwrap_or_default();
    let tags = tagged.items("tagSet").iter();
    tags.map(|tag| (text(tag, "key"), text(tag, "value"))).collect()
}

fn read_template(data: &Element) -> Template {
    let nic = data.items("networkInterfaceSet").first();
    let groups = |element: &Element, path| {
        element
            .items(path)
            .iter()
            .map(|item| item.text.clone())
            .collect::<Vec<_>>()
    };
    let mut template = Template {
        image: data.text_at("imageId"),
        instance_type: data.text_at("instanceType"),
        user_data: data.text_at("userData"),
        profile: data
            .text_at("iamInstanceProfile/arn")
            .or_else(|| data.text_at("iamInstanceProfile/name")),
        shutdown_behaviour: data.text_at("instanceInitiatedShutdownBehavior"),
        groups: groups(data, "securityGroupIdSet"),
        subnet: nic.and_then(|nic| nic.text_at("subnetId")),
        public: nic
            .and_then(|nic| nic.text_at("associatePublicIpAddress"))
            .map(|text| text == "true"),
        http_tokens: data.text_at("metadataOptions/httpTokens"),
        key: data.text_at("keyName"),
        encrypted: data
            .items("blockDeviceMappingSet")
            .first()
            .and_then(|volume| volume.text_at("ebs/encrypted")),
        tags: BTreeMap::new(),
    };
    if let Some(nic) = nic.filter(|_| template.groups.is_empty()) {
        template.groups = groups(nic, "groupSet");
    }
    for specification in data.items("tagSpecificationSet") {
        let resource_type = specification.text_at("resourceType").unwrap_or_default();
        template
            .tags
            .entry(resource_type)
            .or_default()
            .extend(read_tags(specification));
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_whole() {
        let data = Element::parse(
            "<launchTemplateData><imageId>ami-twin-1</imageId><instanceType>c7g.large</instanceType>\
             <iamInstanceProfile><name>p</name></iamInstanceProfile>\
             <networkInterfaceSet><item><deviceIndex>0</deviceIndex><associatePublicIpAddress>true</associatePublicIpAddress>\
             <groupSet><item>sg-1</item></groupSet></item></networkInterfaceSet>\
             <tagSpecificationSet><item><resourceType>volume</resourceType><tagSet/></item><item><resourceType>instance\
             </resourceType><tagSet><item><key>a</key><value>b</value></item></tagSet></item></tagSpecificationSet>\
             <keyName>k</keyName><blockDeviceMappingSet><item><deviceName>/dev/xvda</deviceName><ebs><encrypted>true</encrypted>\
             </ebs></item></blockDeviceMappingSet><metadataOptions><httpTokens>required</httpTokens></metadataOptions>\
             <instanceInitiatedShutdownBehavior>terminate</instanceInitiatedShutdownBehavior></launchTemplateData>",
        );
        let template = read_template(&data.unwrap());
        let expected = Template {
            image: Some("ami-twin-1".into()),
            instance_type: Some("c7g.large".into()),
            profile: Some("p".into()),
            shutdown_behaviour: Some("terminate".into()),
            groups: vec!["sg-1".into()],
            public: Some(true),
            http_tokens: Some("required".into()),
            key: Some("k".into()),
            encrypted: Some("true".into()),
            tags: BTreeMap::from([
                ("instance".to_owned(), Tags::from([("a".into(), "b".into())])),
                ("volume".to_owned(), Tags::new()),
            ]),
            ..Template::default()
        };
        assert_eq!(template, expected);
    }
}
