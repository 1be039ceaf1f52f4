"""What a machine at EC2 knows of itself is added to records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from agent.flows import make_flow
from oddlot.agent.ec2 import Machine
from oddlot.agent.records import Place, Processor

IDENTITY = {
    "privateIp": "10.0.0.1",
    "availabilityZone": "eu-west-1a",
    "instanceId": "i-1",
    "instanceType": "t4g.small",
    "accountId": "000000000000",
    "imageId": "ami-1",
    "region": "eu-west-1",
    "kernelId": None,
}


class Service(ThreadingHTTPServer):
    """A metadata service that asks for a token, as IMDSv2 does, and counts the questions."""

    asked = 0
    shows_tags = True
    url = ""


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200, "secret")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "secret":
            self.answer(401, "")
        elif self.path == "/latest/dynamic/instance-identity/document":
            self.server.asked += 1
            self.answer(200, json.dumps(IDENTITY))
        elif self.path.startswith("/latest/meta-data/tags/instance") and self.server.shows_tags:
            self.answer(200, "Name" if self.path.endswith("instance") else "till")
        else:
            self.answer(404, "")

    def answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), Handler) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_json_record_gets_what_the_machine_knows(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    steps = (
        {"optionName": "CSVTOJSON", "customFieldNames": ["a", "region"]},
        {"optionName": "ADDEC2METADATA", "logFormat": "SYSLOG"},
    )
    processor = Processor(make_flow(*steps), clock=lambda: 0.5)
    first = json.loads(processor.convert(b"1,here", Place("f", 0)).data)
    assert first == {
        "a": "1",
        "region": "here",
        "privateIp": "10.0.0.1",
        "availabilityZone": "eu-west-1a",
        "instanceId": "i-1",
        "instanceType": "t4g.small",
        "accountId": "000000000000",
        "amiId": "ami-1",
        "metadataTimestamp": "1970-01-01T00:00:00.500Z",
        "Name": "till",
    }
    processor.convert(b"2,here", Place("f", 7))
    assert service.asked == 1


def test_it_is_asked_again_after_a_while_and_tags_may_be_hidden(service: Service) -> None:
    service.shows_tags = False
    now = [0.0]
    machine = Machine(5, lambda: now[0], service.url)
    assert "Name" not in machine.describe()
    now[0] = 299.0
    machine.describe()
    assert service.asked == 1
    now[0] = 300.0
    machine.describe()
    assert service.asked == 2


def test_a_machine_elsewhere_sends_records_without_it_and_counts_them(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{service.url}/nowhere")
    now = [0.0]
    processor = Processor(make_flow({"optionName": "ADDEC2METADATA"}), clock=lambda: now[0])
    assert processor.convert(b'{"a":1}', Place("f", 0)).data == b'{"a":1}\n'
    assert processor.counts["no_machine"] == 1


def test_what_was_known_holds_on_while_the_service_is_away(service: Service) -> None:
    now = [0.0]
    machine = Machine(1, lambda: now[0], service.url)
    known = machine.describe()
    service.shutdown()
    service.server_close()
    now[0] = 60.0
    assert machine.describe() == known
