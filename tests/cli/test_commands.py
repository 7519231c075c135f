"""The commands, as processes: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from telnet_client import Telnet

from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from otel_tasklog.delivery._decode import DecodedRecord

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "otel_tasklog"]
COUNTS = re.compile(
    r"captured (\d+)  delivered (\d+)  (?:received (\d+)  )?rejected 0  dropped (\d+)"
)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True, text=True, check=False, timeout=50,
        env={**os.environ, **environ},
    )  # fmt: skip


def counts(output: str) -> tuple[str | None, ...]:
    found = COUNTS.search(output)
    assert found is not None, output
    return found.groups()


def test_the_demo_receives_all_that_it_captured() -> None:
    done = run("demo", "--seconds", "1", "--no-monitor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    captured, delivered, received, dropped = counts(done.stdout)
    assert captured == delivered == received
    assert int(captured or 0) > 20
    assert dropped == "0"
    assert "Everything that was captured arrived." in done.stdout
    assert "order-1" in done.stdout
    assert "\x1b" not in done.stdout  # no colours where no terminal is


def test_the_demo_ships_to_a_receiver_that_is_configured() -> None:
    received: list[DecodedRecord] = []
    with Receiver(received.extend) as receiver:
        done = run(
            "demo", "--seconds", "0.5", "--no-monitor",
            OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    captured, delivered, in_another_process, _ = counts(done.stdout)
    assert captured == delivered == str(len(received))
    assert in_another_process is None
    failed = [r for r in received if r.record.severity_text == "ERROR"]
    for record in failed:
        assert record.attributes["exception.type"] == (
            "otel_tasklog.cli._shop.CardDeclinedError"
        )
        assert "the bank hung up" in str(record.attributes["exception.stacktrace"])
    inner = [r for r in received if str(r.attributes["task_id"]).startswith("payment")]
    assert all(
        str(r.attributes["task_parent_id"]).startswith("order-")
        and r.attributes["customer"] in range(5)
        and r.attributes.get("card_token", "[redacted]") == "[redacted]"
        for r in inner
    )


def test_the_demo_says_when_nothing_arrived() -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{refusing.getsockname()[1]}"
        done = run(
            "demo", "--seconds", "0.5", "--no-monitor",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Not everything arrived" in done.stdout
    assert "Connection refused" in done.stdout


def test_control_c_closes_the_shop_and_still_delivers() -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "60", "--no-monitor"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "captured" in line:
            break
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    captured, delivered, received, _ = counts(output)
    assert captured == delivered == received


def test_a_telnet_client_reads_a_live_order_of_the_demo() -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "60", "--monitor"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"telnet 127\.0\.0\.1 (\d+)", line)
        if found is not None:
            break
    else:
        pytest.fail("the demo did not say how to telnet in")
    with Telnet(int(found[1]), columns=120) as telnet:
        tasks = telnet.command("tasks")
        log = telnet.command("logs order-1 -n 50")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert any("teller-1" in line and "_teller" in line for line in tasks)
    assert "received order-1" in log[0]
    assert "records of job order-1" in log[-1]
    assert "Everything that was captured arrived." in output


def printed_by_receive(program: str, *options: str) -> str:
    """Run ``receive``, and a program that logs to it; what the former prints."""
    process = subprocess.Popen(
        [*COMMAND, "receive", "--port", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert process.stderr is not None
    endpoint = process.stderr.readline().split("listening on ")[1].strip()
    program = (
        "import logging, otel_tasklog\n"
        "with otel_tasklog.install(level='INFO', console=False):\n" + program
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True, timeout=30,
        env={**os.environ, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": endpoint},
    )  # fmt: skip
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    return output


def test_receive_prints_a_line_a_record_and_nothing_can_fake_one() -> None:
    output = printed_by_receive(
        "    with otel_tasklog.task('job\\x1b[31m'):\n"
        "        logging.info('one\\nERROR fake\\x1b]0;title\\x07\\u202e', "
        "extra={'k': [1]})\n"
        "        logging.error('größe 日本', exc_info=ValueError('v\\nw'))\n"
    )
    lines = output.splitlines()
    assert "INFO     job\\x1b[31m root: one\\nERROR fake\\x1b]0;title\\x07" in lines[0]
    assert "k=[1]" in lines[0]
    assert "ERROR " in lines[1]
    assert all(line.startswith("  | ") for line in lines[2:])
    assert "\x1b" not in output


def test_receive_as_json_is_one_object_a_line_on_any_terminal() -> None:
    output = printed_by_receive(
        "    logging.info({'event': 'größe', 'raw': b'a'}, extra={'n': {'k': (1, None)}})",
        "--json",
    )
    record = json.loads(output)
    assert record["body"] == {"event": "größe", "raw": "YQ=="}
    assert record["attributes"]["n"] == {"k": [1, None]}
    assert record["severity_text"] == "INFO"


def test_a_port_that_is_taken_gets_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("receive", "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_says_how_to_get_it(missing: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from otel_tasklog.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'otel-tasklog[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong", [("dmeo",), ("demo", "--seconds", "-1"), ("receive", "--port", "x")]
)
def test_bad_usage_is_exit_status_2(wrong: tuple[str, ...]) -> None:
    done = run(*wrong)
    assert done.returncode == 2
    assert re.fullmatch(
        r"otel-tasklog: .* \(see 'otel-tasklog.* --help'\)\n", done.stderr
    )
