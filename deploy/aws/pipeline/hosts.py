"""The two hosts: one writes orders into log files and ships them, the other runs the engine."""

from __future__ import annotations

from aws_cdk import Aws, CfnCondition, CfnParameter, Fn, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from pipeline import names
from pipeline.exceptions import accept

IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
EVERY_HOST = {"/etc/oddlot/cloudwatch.json": "host/cloudwatch.json"}
GENERATOR = {
    "/etc/oddlot/agent.json": "agent.json",
    "/etc/systemd/system/oddlot-generator.service": "host/oddlot-generator.service",
    "/etc/systemd/system/oddlot-agent.service": "host/oddlot-agent.service",
}
ENGINE = {
    "/etc/oddlot/acmeco.toml": "acmeco.toml",
    "/etc/oddlot/copy_archive.py": "host/copy_archive.py",
    "/etc/systemd/system/oddlot-engine.service": "host/oddlot-engine.service",
    "/etc/systemd/system/oddlot-archive.service": "host/oddlot-archive.service",
    "/etc/systemd/system/oddlot-archive.timer": "host/oddlot-archive.timer",
}
LOGROTATE = {"/etc/logrotate.d/oddlot": "host/oddlot.logrotate"}


def add_hosts(
    stack: Stack,
    *,
    generator: iam.Role,
    engine: iam.Role,
    on_host: CfnCondition,
    code_bucket: str,
    wheel: str,
) -> None:
    """Add the hosts, in a network that is there; nobody can reach them, they reach out by TLS."""
    network = CfnParameter(
        stack, "Network", type="AWS::EC2::VPC::Id", description="The VPC of the hosts."
    ).value_as_string
    subnet = CfnParameter(
        stack,
        "Subnet",
        type="AWS::EC2::Subnet::Id",
        description="Their subnet in it; it must reach the internet.",
    ).value_as_string
    image = CfnParameter(
        stack,
        "Image",
        type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
        default=IMAGE,
        description="Amazon Linux 2023 for arm64.",
    ).value_as_string
    wall = ec2.CfnSecurityGroup(
        stack,
        "HostsWall",
        group_description="Hosts of Oddlot: nothing in, TLS out",
        vpc_id=network,
        security_group_egress=[
            ec2.CfnSecurityGroup.EgressProperty(
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                cidr_ip="0.0.0.0/0",
                description="AWS and the package registry",
            )
        ],
    )
    for name, role, size, files, units, condition in (
        *(
            ("Generator", generator, "t4g.small", GENERATOR, "oddlot-generator oddlot-agent", None),
            (
                *("Engine", engine, "t4g.medium", ENGINE),
                *("oddlot-engine oddlot-archive.timer", on_host),
            ),
        ),
    ):
        group = logs.LogGroup(
            stack,
            f"{name}Log",
            log_group_name=f"/oddlot/{name.lower()}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        profile = iam.CfnInstanceProfile(stack, f"{name}Profile", roles=[role.role_name])
        owner = ec2.CfnLaunchTemplate
        template = owner(
            stack,
            f"{name}Template",
            launch_template_data=owner.LaunchTemplateDataProperty(
                image_id=image,
                instance_type=size,
                iam_instance_profile=owner.IamInstanceProfileProperty(arn=profile.attr_arn),
                # Session tokens only, and not one hop further than the host itself.
                metadata_options=owner.MetadataOptionsProperty(
                    http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
                ),
                block_device_mappings=[
                    owner.BlockDeviceMappingProperty(
                        device_name="/dev/xvda",
                        ebs=owner.EbsProperty(
                            encrypted=True,
                            volume_type="gp3",
                            volume_size=20,
                            delete_on_termination=name == "Generator",  # the engine's state stays
                        ),
                    )
                ],
                network_interfaces=[
                    owner.NetworkInterfaceProperty(
                        device_index=0,
                        associate_public_ip_address=True,
                        subnet_id=subnet,
                        groups=[wall.attr_group_id],
                    )
                ],
                user_data=Fn.base64(
                    user_data(
                        {
                            "REGION": Aws.REGION,
                            "ARCHIVE_URL": f"s3://{names.BUCKET}/{names.ARCHIVE}/",
                            "CODE_BUCKET": code_bucket,
                            "WHEEL_KEY": wheel,
                            "LOG_GROUP": group.log_group_name,
                            "UNITS": units,
                        },
                        EVERY_HOST | files | LOGROTATE,
                    )
                ),
            ),
        )
        host = ec2.CfnInstance(
            stack,
            f"{name}Host",
            launch_template=ec2.CfnInstance.LaunchTemplateSpecificationProperty(
                launch_template_id=template.ref, version=template.attr_latest_version_number
            ),
        )
        host.node.add_dependency(role)
        accept(host, "EC28", "The alarms watch the streams; a host's load every 5 minutes will do.")
        accept(
            host,
            "EC29",
            "It would keep the stack from being deleted; the engine's disk outlives its host.",
        )
        if condition is not None:
            host.cfn_options.condition = condition


def user_data(variables: dict[str, str], files: dict[str, str]) -> str:
    """Return the script that makes a bare image the host: variables, files, setup.sh.

    Args:
        variables: name to value.
        files: path on the host to path beside this module.
    """
    lines = ["#!/bin/bash", "set -euo pipefail", "install --directory /etc/oddlot"]
    lines += [f"{name}='{value}'" for name, value in variables.items()]
    for path, source in files.items():
        text = (names.HERE / source).read_text().rstrip("\n")
        lines += [f"cat > {path} <<'END_OF_FILE'", text, "END_OF_FILE"]
    lines.append((names.HERE / "host/setup.sh").read_text())
    return "\n".join(lines)
