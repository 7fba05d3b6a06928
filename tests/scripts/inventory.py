"""Prints everything that an account has of an installation, by tag where AWS finds things by tag, else by name.

One JSON object: kind -> names, sorted; kinds of which there is nothing are left out. The argument is the stack's name.
"""

import json
import sys

import boto3

stack = sys.argv[1]
client = boto3.client


def ours(names):
    return sorted(name for name in names if name.startswith(f"{stack}-"))


def all_of(service, call, key, **arguments):
    return [item for page in client(service).get_paginator(call).paginate(**arguments) for item in page[key]]


def tagged(call, key, name, tag="vibes:stack"):
    filters = [{"Name": f"tag:{tag}", "Values": [stack]}]
    return [item for item in all_of("ec2", call, key, Filters=filters) for item in item.get("Instances", [item])], name


def ids(found):
    items, name = found
    return sorted(item[name] for item in items if item.get("State") != {"Code": 48, "Name": "terminated"})


machines = {item["name"]: item["stateMachineArn"] for item in client("stepfunctions").list_state_machines()["stateMachines"]}
found = {
    # The code's bucket is not the stack's: the stack is made from it.
    "buckets": [name for name in ours(item["Name"] for item in client("s3").list_buckets()["Buckets"]) if "-code-" not in name],
    "instances": ids(tagged("describe_instances", "Reservations", "InstanceId")),
    "volumes": ids(tagged("describe_volumes", "Volumes", "VolumeId")),
    "snapshots": ids(tagged("describe_snapshots", "Snapshots", "SnapshotId")),
    "retained": ids(tagged("describe_snapshots", "Snapshots", "SnapshotId", "vibes:retained")),
    "launch templates": ours(item["LaunchTemplateName"] for item in all_of("ec2", "describe_launch_templates", "LaunchTemplates")),
    "security groups": ours(item["GroupName"] for item in all_of("ec2", "describe_security_groups", "SecurityGroups")),
    "state machines": ours(machines),
    "running executions": sorted(
        item["name"]
        for name in ours(machines)
        for item in client("stepfunctions").list_executions(stateMachineArn=machines[name], statusFilter="RUNNING")["executions"]
    ),
    "functions": ours(item["FunctionName"] for item in all_of("lambda", "list_functions", "Functions")),
    "event sources": sorted(
        item["UUID"] for item in all_of("lambda", "list_event_source_mappings", "EventSourceMappings") if f":{stack}-" in item["FunctionArn"]
    ),
    "logs": sorted(
        item["logGroupName"] for item in all_of("logs", "describe_log_groups", "logGroups") if f"/{stack}-" in item["logGroupName"]
    ),
    "queues": ours(url.rsplit("/", 1)[1] for url in client("sqs").list_queues().get("QueueUrls", [])),
    "topics": ours(item["TopicArn"].rsplit(":", 1)[1] for item in client("sns").list_topics()["Topics"]),
    "rules": ours(item["Name"] for item in client("events").list_rules()["Rules"]),
    "schedules": ours(item["Name"] for item in client("scheduler").list_schedules()["Schedules"]),
    "alarms": ours(item["AlarmName"] for item in client("cloudwatch").describe_alarms()["MetricAlarms"]),
    "dashboards": sorted(
        item["DashboardName"] for item in client("cloudwatch").list_dashboards()["DashboardEntries"] if item["DashboardName"].startswith(stack)
    ),
    "roles": ours(item["RoleName"] for item in all_of("iam", "list_roles", "Roles")),
    "policies": ours(item["PolicyName"] for item in all_of("iam", "list_policies", "Policies", Scope="Local")),
    "instance profiles": ours(item["InstanceProfileName"] for item in all_of("iam", "list_instance_profiles", "InstanceProfiles")),
    "parameters": sorted(
        item["Name"] for item in all_of("ssm", "describe_parameters", "Parameters") if item["Name"] == f"/{stack}/release"
    ),
}
print(json.dumps({kind: names for kind, names in found.items() if names}))
