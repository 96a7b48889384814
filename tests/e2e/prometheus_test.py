#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""prometheus_test.py BIN ENVIRONMENT: looks at a daemon as an operator does.

Serves a model with BIN/quernd, has a real Prometheus scrape it by the
configuration of deploy/observability, and asks Prometheus every query of the
dashboard and of the alerts. Prometheus lies in ENVIRONMENT/usr/bin or on the
PATH; ends with 77 where it does not.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
OBSERVABILITY = ROOT / "deploy/observability"
SCRAPE_INTERVAL = "200ms"
# What the dashboard's variables stand for; the range holds several scrapes.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*", "$model": ".*"}
# Panels that a healthy daemon under this test may leave empty.
MAY_BE_EMPTY = {"Refused", "Batches", "Trouble of the compiler", "Notes"}
TIMEOUT_S = 30


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return answer.read()


def query(prometheus: str, expression: str) -> list:
    """The series that an instant query gives; raises if it is wrong."""
    arguments = urllib.parse.urlencode({"query": expression})
    try:
        answer = json.loads(get(f"{prometheus}/api/v1/query?{arguments}"))
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{expression}: {error.read().decode()}") from error
    return answer["data"]["result"]


def wait_for(what: str, ready) -> object:
    """What `ready` returns once it is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if found := ready():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"waited too long for {what}")


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start_daemon(bin_folder: pathlib.Path, work: pathlib.Path):
    """The process and the addresses in its ready line, by name."""
    model = work / "models/mlp/1/model.onnx"
    model.parent.mkdir(parents=True)
    subprocess.run([bin_folder / "quern-make-model", "mlp", model], check=True)
    daemon = subprocess.Popen(
        [bin_folder / "quernd", "--model-repository", work / "models",
         "--cache-dir", work / "cache", "--grpc-address", "127.0.0.1:0",
         "--http-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"],
        stdout=subprocess.PIPE, text=True)
    words = daemon.stdout.readline().split()
    if words[:2] != ["quernd", "ready"]:
        raise RuntimeError(f"quernd did not get ready: {words}")
    return daemon, dict(word.split("=", 1) for word in words[2:])


def start_prometheus(program: str, work: pathlib.Path, target: str):
    """The process, once it answers, and its URL."""
    config = (OBSERVABILITY / "prometheus.yml").read_text()
    config = config.replace("15s", SCRAPE_INTERVAL)
    config = config.replace("localhost:8002", target)
    (work / "prometheus.yml").write_text(config)
    shutil.copy(OBSERVABILITY / "alerts.yml", work)
    for _ in range(5):
        address = free_address()
        process = subprocess.Popen(
            [program, f"--config.file={work}/prometheus.yml",
             f"--storage.tsdb.path={work}/tsdb",
             f"--web.listen-address={address}", "--log.level=warn"])
        # It says 503 at first; it ends if somebody else took the port.
        wait_for("Prometheus", lambda: process.poll() is not None or
                 get(f"http://{address}/-/ready"))
        if process.poll() is None:
            return process, f"http://{address}"
    raise RuntimeError(f"Prometheus ended with {process.returncode}")


def check_panels(prometheus: str) -> int:
    """Asks each query of each panel; the number of queries."""
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text())
    problems = []
    asked = 0
    for panel in dashboard["panels"]:
        empty = True
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            if "$" in expression:
                problems.append(f"{expression}: an unknown variable")
            asked += 1
            found = query(prometheus, expression)
            numbers = [s for s in found if s["value"][1] != "NaN"]
            empty = empty and not numbers
            # In the panels for kernels, each query must have an answer.
            if not numbers and panel["title"].startswith("Kernels"):
                problems.append(f"{panel['title']}: nothing for {expression}")
        if panel.get("targets") and empty:
            print(f"empty: {panel['title']}")
            if panel["title"] not in MAY_BE_EMPTY:
                problems.append(f"{panel['title']}: nothing to show")
    if problems:
        raise RuntimeError("\n".join(problems))
    return asked


def check_alerts(prometheus: str) -> int:
    """Sees that each rule is evaluated and none fires; their number."""
    groups = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok":
            raise RuntimeError(f"{rule['name']}: {rule}")
        if rule["state"] == "firing":
            raise RuntimeError(f"{rule['name']} fires: {rule['alerts']}")
    return len(rules)


def look(bin_folder: pathlib.Path, tools: pathlib.Path, work: pathlib.Path,
         processes: list) -> None:
    daemon, addresses = start_daemon(bin_folder, work)
    processes.append(daemon)
    process, prometheus = start_prometheus(tools / "prometheus", work,
                                           addresses["metrics"])
    processes.append(process)
    wait_for("the first scrape", lambda: query(prometheus, "up == 1"))
    # Requests on both sides of scrapes, for without growth there is no rate.
    served = 0
    for _ in range(3):
        subprocess.run(
            [bin_folder / "quern", "--server", addresses["grpc"], "bench",
             "mlp", "--inputs", "random", "--runs", "50", "--json"],
            stdout=subprocess.DEVNULL, check=True)
        served += 50
        time.sleep(0.5)
    wait_for("the last requests", lambda: query(
        prometheus, f'sum(quern_requests_total{{code="OK"}}) >= {served}'))
    wait_for("the alerts", lambda: all(
        rule["health"] != "unknown" for group in json.loads(
            get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
        for rule in group["rules"]))

    text = get(f"http://{addresses['metrics']}/metrics").decode()
    # Triton's names are as they are; ours keep the rules. 3: bad style alone.
    ours = "".join(line for line in text.splitlines(keepends=True)
                   if not re.match(r"(# (HELP|TYPE) )?nv_", line))
    for part, allowed in ((ours, {0}), (text, {0, 3})):
        checked = subprocess.run([tools / "promtool", "check", "metrics"],
                                 input=part, text=True, check=False,
                                 capture_output=True)
        if checked.returncode not in allowed:
            raise AssertionError(checked.stderr + checked.stdout)
    print(f"{len(text.splitlines())} lines of metrics are well formed")
    print(f"{check_panels(prometheus)} queries of the dashboard are answered")
    print(f"{check_alerts(prometheus)} alerts are evaluated, none fires")

    daemon.terminate()
    if daemon.wait(TIMEOUT_S) != 0:
        raise RuntimeError(f"quernd ended with {daemon.returncode}")


def main() -> int:
    bin_folder = pathlib.Path(sys.argv[1]).resolve()
    found = shutil.which("prometheus", path=os.pathsep.join(
        [f"{sys.argv[2]}/usr/bin", os.environ["PATH"]]))
    if found is None:
        print(f"[SKIP] there is no prometheus in {sys.argv[2]}")
        return 77
    tools = pathlib.Path(found).resolve().parent
    subprocess.run([tools / "promtool", "check", "config", "prometheus.yml"],
                   cwd=OBSERVABILITY, check=True)
    subprocess.run([tools / "promtool", "test", "rules", "alerts_test.yml"],
                   cwd=ROOT / "tests/e2e", check=True)
    processes = []
    with tempfile.TemporaryDirectory(prefix="quern-e2e-") as folder:
        try:
            look(bin_folder, tools, pathlib.Path(folder), processes)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
