"""The Lambda Runtime API: drives Amazon's own runtime client, which runs a handler as it is."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimeIsUp
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from loopback import install, serving
from loopback.servers import ACCOUNT, REGION
from loopback.serving import Answer, Request

_VERSION = "/2018-06-01/runtime"
_PAYLOAD_BYTES = 6 << 20
_KEEPER = Path(__file__).parent / "keeper.py"


class Result(NamedTuple):
    """What an invocation gave: its payload, or the kind of error beside it."""

    payload: Any
    error: str = ""  # "Unhandled" as in X-Amz-Function-Error, "" where it went well
    request_id: str = ""


class _Invocation(NamedTuple):
    id: str
    event: bytes
    deadline: float  # Unix seconds
    result: Future[Result]


class Function:
    """A function that is deployed: a folder, a handler in it, an environment.

    `counts` has `invocations`, `errors`, `timeouts`, `exits` and `starts` (of the runtime).

    Args:
        folder: with the handler's module, as the zip is unpacked.
        handler: `module.function`.
        name: of the function.
        environment: variables that it sees, and no others of ours but PATH.
        timeout_seconds: after that its process is killed.
        concurrency: processes at most; each starts when it is first needed.
        log: file that takes what the function prints.
    """

    def __init__(
        self,
        folder: Path,
        handler: str,
        *,
        log: Path,
        name: str = "function",
        environment: dict[str, str] | None = None,
        timeout_seconds: float = 60.0,
        concurrency: int = 1,
    ) -> None:
        self.name = name
        self.arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self.counts: Counter[str] = Counter()
        self.log = log
        self.folder = folder
        self._handler = handler
        self._environment = environment or {}
        self._timeout_seconds = timeout_seconds
        self._idle: queue.SimpleQueue[_Lane | None] = queue.SimpleQueue()
        self._lanes: set[_Lane] = set()
        for _ in range(concurrency):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in list(self._lanes):
            self._end(lane)

    def invoke(self, event: object) -> Result:
        """Call the function and wait for its answer; from any thread."""
        body = json.dumps(event).encode()
        if len(body) > _PAYLOAD_BYTES:
            raise ValueError(f"event must be at most {_PAYLOAD_BYTES} bytes; got {len(body)}")
        lane = self._idle.get()
        self.counts["invocations"] += 1
        try:
            if lane is None:
                lane = _Lane(self)
                self._lanes.add(lane)
                self.counts["starts"] += 1
            result = lane.call(body, self._timeout_seconds)
            if lane.is_broken:
                self._end(lane)
                lane = None
        finally:
            self._idle.put(lane)
        if result.error:
            self.counts["errors"] += 1
        return result

    def command(self, address: str) -> tuple[list[str], dict[str, str]]:
        """Return how the runtime is started against an address, and its whole environment."""
        variables = {
            "PATH": install.environment()["PATH"],
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "loopback",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "LAMBDA_TASK_ROOT": str(self.folder),
            "PYTHONPATH": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "TZ": ":UTC",
            **self._environment,
        }
        return [str(install.python()), "-m", "awslambdaric", self._handler], variables

    def _end(self, lane: _Lane) -> None:
        self._lanes.discard(lane)
        lane.close()


class _Lane:
    """One process of the runtime and the address that it asks for work."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._waiting: queue.SimpleQueue[_Invocation | None] = queue.SimpleQueue()
        self._current: _Invocation | None = None
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self.is_broken = False
        url = self._stack.enter_context(serving.serve(self._answer))
        self._stack.callback(self._waiting.put, None)
        command, variables = function.command(url.removeprefix("http://"))
        output = self._stack.enter_context(function.log.open("ab"))
        self._runtime = subprocess.Popen(
            [sys.executable, "-S", str(_KEEPER), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=function.folder,
            env=variables,
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def call(self, event: bytes, seconds: float) -> Result:
        """Give the process one event and wait; it is broken after a timeout or an exit."""
        invocation = _Invocation(str(uuid.uuid4()), event, time.time() + seconds, Future())
        with self._lock:
            self._current = invocation
            if self.is_broken:
                return _exited(invocation.id)
        self._waiting.put(invocation)
        try:
            return invocation.result.result(seconds)
        except TimeIsUp:
            self.is_broken = True
            self._function.counts["timeouts"] += 1
            text = f"{invocation.id} Task timed out after {seconds:.2f} seconds"
            return Result({"errorMessage": text}, "Unhandled", invocation.id)
        finally:
            with self._lock:
                self._current = None

    def close(self) -> None:
        """End the process and the server."""
        assert self._runtime.stdin
        self._runtime.stdin.close()
        self._runtime.wait()
        self._stack.close()

    def _watch(self) -> None:
        self._runtime.wait()
        with self._lock:
            self.is_broken = True
            current = self._current
        if current and not current.result.done():
            self._function.counts["exits"] += 1
            current.result.set_result(_exited(current.id))

    async def _answer(self, request: Request) -> Answer | None:
        if request.path == f"{_VERSION}/invocation/next":
            loop = asyncio.get_running_loop()
            invocation = await loop.run_in_executor(None, self._waiting.get)
            if invocation is None:
                return None
            return Answer(
                200,
                invocation.event,
                (
                    ("Content-Type", "application/json"),
                    ("Lambda-Runtime-Aws-Request-Id", invocation.id),
                    ("Lambda-Runtime-Deadline-Ms", str(round(invocation.deadline * 1000))),
                    ("Lambda-Runtime-Invoked-Function-Arn", self._function.arn),
                    ("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000"),
                ),
            )
        if request.path == f"{_VERSION}/init/error":
            self._settle(self._current, request.body, "Unhandled")
            return _ACCEPTED
        *_, invocation_id, kind = request.path.split("/")
        current = self._current
        if current is None or current.id != invocation_id:
            body = b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
            return Answer(400, body)
        if kind == "response" and len(request.body) > _PAYLOAD_BYTES:
            body = b'{"errorType":"Function.ResponseSizeTooLarge"}'
            self._settle(current, body, "Unhandled")
            return Answer(413, body)
        self._settle(current, request.body, "" if kind == "response" else "Unhandled")
        return _ACCEPTED

    def _settle(self, invocation: _Invocation | None, body: bytes, error: str) -> None:
        if invocation and not invocation.result.done():
            payload = json.loads(body) if body else None
            invocation.result.set_result(Result(payload, error, invocation.id))


_ACCEPTED = Answer(202, b'{"status":"OK"}', (("Content-Type", "application/json"),))


def _exited(request_id: str) -> Result:
    text = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    return Result({"errorType": "Runtime.ExitError", "errorMessage": text}, "Unhandled", request_id)
