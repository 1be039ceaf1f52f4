"""Where this stack does not do as cdk-nag wants, with the reason why not."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Aws, Validations
from constructs import IConstruct

NAMED = {
    Aws.PARTITION: "<AWS::Partition>",
    Aws.ACCOUNT_ID: "<AWS::AccountId>",
    Aws.REGION: "<AWS::Region>",
}


def accept(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept what a rule finds in one construct; nothing else passes by it."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def accept_resource(construct: IConstruct, resource: str, reason: str) -> None:
    """Accept one resource with an asterisk in a role's policy."""
    for token, name in NAMED.items():
        resource = resource.replace(token, name)
    accept(construct, f"IAM5[Resource::{resource}]", reason)
