//! The `CloudFormation` template for a secret of AWS. `cfn-lint` checks all of it against AWS's own description of each resource; `ministack`
//! makes the stack, but for the schedule of the rotation, which it does not know.

use std::process::Command;

use serde_json::{Value, json};

use crate::setup::{LONG, deployed, ended, tests_venv};
use crate::support::{Aws, Keys, Rig, scratch, wait_until, write_profile};

fn template() -> String {
    std::fs::read_to_string(deployed("server/aws/secret.yaml")).unwrap()
}

/// What the linter says, if anything.
fn lint(text: &str) -> String {
    let directory = scratch::on_disk("template");
    let path = directory.path().join("secret.yaml");
    std::fs::write(&path, text).unwrap();
    let ended = ended(&Command::new(tests_venv("bin/cfn-lint")).arg(path).output().unwrap());
    assert_eq!(ended.code == 0, ended.stdout.is_empty(), "{ended:?}");
    ended.stdout
}

#[test]
fn the_template_is_what_aws_describes() {
    let template = template();
    assert_eq!(lint(&template), "");
    assert!(template.contains("AutomaticallyAfterDays: 30\n"));
    // And the linter finds what is wrong.
    let wrong = template.replace("AutomaticallyAfterDays: 30", "AutomaticallyAfterDays: monthly");
    assert!(lint(&wrong).contains("monthly"));
    assert!(lint(&template.replace("RotationLambdaARN", "RotationLambda")).contains("RotationLambda"));
}

/// The stack without what the emulator does not know.
fn make_stack(aws: &Aws) -> Value {
    let template = template();
    let (before, rest) = template.split_once("  Rotation:\n").unwrap();
    let (_, after) = rest.split_once("  ReadPolicy:\n").unwrap();
    let function = "arn:aws:lambda:eu-central-1:000000000000:function:rotate";
    let stack = json!({
        "StackName": "shop", "TemplateBody": format!("{before}  ReadPolicy:\n{after}"), "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": "RotationFunction", "ParameterValue": function}],
    });
    aws.ask("cloudformation", "create_stack", &stack);
    let look =
        || aws.ask("cloudformation", "describe_stacks", &json!({"StackName": "shop"}))["Stacks"][0].clone();
    wait_until(LONG, "the stack is made", || {
        !look()["StackStatus"].as_str().unwrap().ends_with("IN_PROGRESS")
    });
    let stack = look();
    assert_eq!(stack["StackStatus"], "CREATE_COMPLETE", "{stack}");
    stack
}

fn output(stack: &Value, key: &str) -> String {
    let outputs = stack["Outputs"].as_array().unwrap();
    let output = outputs.iter().find(|output| output["OutputKey"] == key).unwrap();
    output["OutputValue"].as_str().unwrap().to_owned()
}

fn rig(aws: &Aws, statements: &Value, path: &str) -> Rig {
    let rig = aws.rig_of_nobody();
    let (id, key) = aws.user(statements);
    write_profile(&rig, Keys { id: &id, key: &key });
    let text = std::fs::read_to_string(deployed("server/aws/squire.toml")).unwrap();
    rig.whole_config(&text.replace("/run/secrets/shop", "@dir@/out").replace("prod/shop/db", path));
    rig
}

#[test]
fn the_policy_of_the_stack_is_the_least_one_and_enough() {
    let aws = Aws::with("secretsmanager,sts,iam,cloudformation");
    let stack = make_stack(&aws);
    let arn = output(&stack, "PolicyArn");
    let version = json!({"PolicyArn": arn, "VersionId": "v1"});
    let document = aws.ask("iam", "get_policy_version", &version)["PolicyVersion"]["Document"].clone();
    let statements = document["Statement"].clone();

    let printed = rig(&aws, &statements, "prod/shop/db");
    let file = printed.path("squire.toml");
    let printed = printed.start(&["policy", "-c", file.to_str().unwrap()]).outcome(LONG);
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let (ours, theirs) = (&printed["Statement"][0], &statements[0]);
    assert_eq!((&ours["Action"], &ours["Effect"]), (&theirs["Action"], &theirs["Effect"]));
    assert_eq!(statements.as_array().unwrap().len(), 1, "{statements}");
    // A pattern for an account and six letters that are not known there is the ARN that is known here.
    let pattern = ours["Resource"][0].as_str().unwrap().trim_end_matches('?');
    let name = pattern.rsplit(':').next().unwrap();
    let secret = theirs["Resource"].as_str().unwrap();
    assert!(secret.contains(&format!(":secret:{name}")) && !secret.contains('*'), "{secret} {pattern}");
    assert_eq!(secret, output(&stack, "SecretArn"));

    let reader = rig(&aws, &statements, "prod/shop/db");
    let outcome = reader.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let read: Value = serde_json::from_str(&reader.read("out/db.json")).unwrap();
    assert_eq!((read["user"].as_str(), read["password"].as_str().map(str::len)), (Some("shop"), Some(32)));
    aws.again("prod/shop/other", "{\"username\": \"a\", \"password\": \"b\"}");
    let other = rig(&aws, &statements, "prod/shop/other").render();
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("permission denied on prod/shop/other"), "{}", other.stderr);
}
