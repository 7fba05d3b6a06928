//! What AWS documents of policy evaluation, one row a rule.

use serde_json::{Value, json};

use super::{Need, Verdict, judge, statements};

fn verdict(list: Value, need: &Need) -> Verdict {
    let document = json!({"Version": "2012-10-17", "Statement": list});
    judge(&statements("test", &document.to_string()).unwrap(), need)
}

/// Whether one statement that allows everything holds under this condition.
fn holds(condition: Value, need: &Need) -> bool {
    let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
    verdict(statement, need) != Verdict::NotAllowed
}

fn allows(action: &str, resource: &str, need: &Need) -> bool {
    let statement = json!({"Effect": "Allow", "Action": action, "Resource": resource});
    verdict(statement, need) != Verdict::NotAllowed
}

#[test]
fn actions_ignore_case_and_have_wildcards() {
    let need = Need::new("s3:GetObject", "arn:aws:s3:::b/k");
    for action in ["s3:GetObject", "S3:getobject", "s3:Get*", "*", "s3:?etObject"] {
        assert!(allows(action, "*", &need), "{action}");
    }
    for action in ["s3:GetObjectVersion", "s3:Get", "ec2:*", ""] {
        assert!(!allows(action, "*", &need), "{action}");
    }
}

#[test]
fn resources_mind_case_and_wildcards_stay_in_their_part() {
    let need = Need::new("ec2:DeleteVolume", "arn:aws:ec2:us-east-1:123456789012:volume/vol-1");
    for resource in [
        "*",
        "arn:aws:ec2:us-east-1:123456789012:volume/*",
        "arn:aws:ec2:*:*:*/*",
        "arn:aws:ec2:us-east-?:123456789012:volume/vol-?",
        "arn:aws:ec2",
    ] {
        assert!(allows("*", resource, &need), "{resource}");
    }
    for resource in [
        "arn:aws:ec2:us-east-1:123456789012:Volume/*",
        "arn:aws:ec2:*:volume/*",
        "arn:aws:ec2:us-east-1::volume/*",
        "arn:aws:ec2:us-east-1:123456789012:instance/*",
        "arn:aws:ec2:us-east-1:123456789012:volume/vol-1:more",
    ] {
        assert!(!allows("*", resource, &need), "{resource}");
    }
    let object = Need::new("s3:GetObject", "arn:aws:s3:::b/a:b/*?.wav");
    assert!(allows("*", "arn:aws:s3:::b/*", &object));
    assert!(!allows("*", "arn:aws:s3:::b", &object));
    // A call without a resource is allowed by "*" only.
    let list = Need::new("ec2:DescribeVolumes", "*");
    assert!(allows("*", "*", &list) && !allows("*", "arn:aws:ec2:*:*:volume/*", &list));
}

#[test]
fn a_denial_is_stronger_than_any_number_of_allowances() {
    let need = Need::new("s3:GetObject", "arn:aws:s3:::b/secret");
    let allow = json!({"Sid": "All", "Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    let deny = json!({"Sid": "No", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::b/secret"});
    assert_eq!(verdict(json!([allow, deny]), &need), Verdict::Denied("No".into()));
    assert_eq!(
        verdict(json!([allow, allow]), &need),
        Verdict::Allowed(vec!["All".into(), "All".into()])
    );
    assert_eq!(verdict(json!([]), &need), Verdict::NotAllowed);
    assert_eq!(
        verdict(json!([deny]), &Need::new("s3:GetObject", "arn:aws:s3:::b/k")),
        Verdict::NotAllowed
    );
}

#[test]
fn not_action_and_not_resource_are_everything_else() {
    let statement = json!({"Effect": "Allow", "NotAction": "s3:Put*", "NotResource": "arn:aws:s3:::b/x"});
    let allowed = |action, resource| verdict(statement.clone(), &Need::new(action, resource)) != Verdict::NotAllowed;
    assert!(allowed("s3:GetObject", "arn:aws:s3:::b/y"));
    assert!(!allowed("s3:PutObject", "arn:aws:s3:::b/y"));
    assert!(!allowed("s3:GetObject", "arn:aws:s3:::b/x"));
}

#[test]
fn each_operator_compares_as_documented() {
    let need = Need::new("x:y", "*")
        .with("k", "Vibes-1")
        .with("arn", "arn:aws:ec2:us-east-1:1:launch-template/lt-1")
        .with("yes", "true")
        .with("n", "5");
    let table = [
        ("StringEquals", "k", "Vibes-1", true),
        ("StringEquals", "K", "Vibes-1", true), // keys ignore case
        ("StringEquals", "k", "vibes-1", false),
        ("StringEquals", "k", "Vibes-*", false), // no wildcards
        ("StringNotEquals", "k", "vibes", true),
        ("StringNotEquals", "k", "Vibes-1", false),
        ("StringEqualsIgnoreCase", "k", "vibes-1", true),
        ("StringNotEqualsIgnoreCase", "k", "vibes-1", false),
        ("StringLike", "k", "Vibes-?", true),
        ("StringLike", "k", "vibes-*", false),
        ("StringNotLike", "k", "Vibes-*", false),
        ("ArnLike", "arn", "arn:aws:ec2:*:*:launch-template/*", true),
        ("ArnEquals", "arn", "arn:aws:ec2:*:*:launch-template/*", true),
        ("ArnLike", "arn", "arn:aws:ec2:*:launch-template/*", false), // part by part
        ("ArnNotLike", "arn", "arn:aws:ec2:*:*:launch-template/*", false),
        ("ArnNotEquals", "arn", "arn:aws:s3:::*", true),
        ("Bool", "yes", "TRUE", true),
        ("Bool", "yes", "false", false),
        ("NumericEquals", "n", "5.0", true),
        ("NumericNotEquals", "n", "5", false),
        ("NumericLessThan", "n", "5", false),
        ("NumericLessThanEquals", "n", "5", true),
        ("NumericGreaterThan", "n", "4", true),
        ("NumericGreaterThanEquals", "n", "6", false),
        ("NumericLessThan", "n", "many", false),
        ("Null", "k", "false", true),
        ("Null", "k", "true", false),
        ("Null", "other", "true", true),
    ];
    for (operator, key, value, expected) in table {
        assert_eq!(
            holds(json!({operator: {key: value}}), &need),
            expected,
            "{operator} {key} {value}"
        );
    }
}

#[test]
fn an_absent_key_fails_unless_the_operator_says_otherwise() {
    let need = Need::new("x:y", "*");
    let table = [
        ("StringEquals", false),
        ("StringLike", false),
        ("ArnLike", false),
        ("Bool", false),
        ("NumericEquals", false),
        ("StringNotEquals", true),
        ("StringNotLike", true),
        ("ArnNotLike", true),
        ("StringEqualsIfExists", true),
        ("BoolIfExists", true),
        ("ForAllValues:StringEquals", true),
        ("ForAnyValue:StringEquals", false),
        ("ForAnyValue:StringNotEquals", false),
    ];
    for (operator, expected) in table {
        assert_eq!(
            holds(json!({operator: {"absent": "true"}}), &need),
            expected,
            "{operator}"
        );
    }
    let there = Need::new("x:y", "*").with("k", "a");
    assert!(!holds(json!({"StringEqualsIfExists": {"k": "b"}}), &there));
}

#[test]
fn values_are_alternatives_and_operators_add_up() {
    let need = Need::new("x:y", "*").with("k", "b").with("l", "c");
    assert!(holds(json!({"StringEquals": {"k": ["a", "b"]}}), &need));
    assert!(!holds(json!({"StringNotEquals": {"k": ["a", "b"]}}), &need));
    assert!(holds(json!({"StringEquals": {"k": "b", "l": "c"}}), &need));
    assert!(!holds(json!({"StringEquals": {"k": "b", "l": "d"}}), &need));
    assert!(!holds(json!({"StringEquals": {"k": "b"}, "Null": {"l": true}}), &need));
}

#[test]
fn sets_are_judged_value_by_value() {
    let need = Need::new("x:y", "*").with("aws:TagKeys", "a").with("aws:TagKeys", "b");
    let keys = |operator: &str, values: Value| holds(json!({operator: {"aws:TagKeys": values}}), &need);
    assert!(keys("ForAllValues:StringEquals", json!(["a", "b", "c"])));
    assert!(!keys("ForAllValues:StringEquals", json!(["a"])));
    assert!(keys("ForAnyValue:StringEquals", json!(["a", "z"])));
    assert!(!keys("ForAnyValue:StringEquals", json!(["z"])));
    assert!(keys("ForAllValues:StringNotEquals", json!(["y", "z"])));
    assert!(!keys("ForAllValues:StringNotEquals", json!(["a"])));
    assert!(keys("ForAnyValue:StringNotEquals", json!(["a"])));
    // Without a quantifier a set proves nothing.
    assert!(!keys("StringEquals", json!(["a", "b"])));
}

#[test]
fn variables_are_filled_in_and_are_no_wildcards() {
    let need = Need::new("s3:GetObject", "arn:aws:s3:::b/anna/x").with("aws:username", "anna");
    let star = Need::new("s3:GetObject", "arn:aws:s3:::b/anna/x").with("aws:username", "*");
    assert!(allows("*", "arn:aws:s3:::b/${aws:username}/*", &need));
    assert!(!allows("*", "arn:aws:s3:::b/${aws:username}/*", &star));
    assert!(!allows("*", "arn:aws:s3:::b/${aws:userid}/*", &need));
    assert!(allows("*", "arn:aws:s3:::b/${aws:userid, 'anna'}/*", &need));
    assert!(holds(
        json!({"StringEquals": {"aws:username": "${aws:username}"}}),
        &need
    ));
    assert!(!holds(
        json!({"StringNotEquals": {"aws:username": "${aws:userid}"}}),
        &need
    ));
    assert!(holds(json!({"StringLike": {"aws:username": "${*}"}}), &star));
    assert!(!holds(json!({"StringLike": {"aws:username": "${*}"}}), &need));
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = |document: Value| statements("test", &document.to_string()).is_err();
    let of = |statement: Value| json!({"Version": "2012-10-17", "Statement": statement});
    let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    assert!(!refused(of(allow.clone())));
    assert!(refused(json!({"Version": "2008-10-17", "Statement": allow})));
    assert!(refused(of(json!({"Effect": "Allow", "Action": "*"}))));
    assert!(refused(of(
        json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"})
    )));
    for operator in ["IpAddress", "DateLessThan", "NullIfExists", "ForNoValue:StringEquals"] {
        let condition = json!({operator: {"k": "v"}});
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
        assert!(refused(of(statement)), "{operator}");
    }
}
