# The rest of a host's user data: hosts.py writes the files and the variables above it.
# boto3 reads one of the two, the AWS CLI both.
printf '%s\n' "AWS_REGION=$REGION" "AWS_DEFAULT_REGION=$REGION" "ARCHIVE_URL=$ARCHIVE_URL" \
    > /etc/oddlot/environment
dnf install --assumeyes python3.12 amazon-cloudwatch-agent
useradd --system --home-dir /var/lib/oddlot --shell /sbin/nologin oddlot
wheel="/tmp/$(basename "$WHEEL_KEY")"
aws s3 cp "s3://$CODE_BUCKET/$WHEEL_KEY" "$wheel" --region "$REGION"
python3.12 -m venv /opt/oddlot
/opt/oddlot/bin/pip install --quiet "$wheel[aws]"
sed --in-place "s#LOG_GROUP#$LOG_GROUP#" /etc/oddlot/cloudwatch.json
if [ -e /etc/oddlot/agent.json ]; then
    sed --in-place "s#us-east-1#$REGION#" /etc/oddlot/agent.json
fi
install --directory --owner oddlot --group oddlot --mode 755 /var/log/oddlot
/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl \
    -a fetch-config -m ec2 -s -c file:/etc/oddlot/cloudwatch.json
systemctl daemon-reload
# shellcheck disable=SC2086 # one word for each unit
systemctl enable --now $UNITS
