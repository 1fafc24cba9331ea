"""Runs the commands of a page in one shell, and compares their output with what the page shows.

    page.py PAGE [--server URL] [--fill TEXT=VALUE …]

Blocks of `sh` run in order. A block of `json` below shows members of the last answer: IDs and instants match
any other, `…` matches the rest of a string. Each line of a block of `text` is in the output, in order;
`text refused` expects that the command fails. A block with another name, such as `json request`, is not
compared. --fill replaces a text of the commands, such as the placeholder `<license>`. With --server the block below "Start the server" begins a
server with that address, which ends with the page. "Before you begin" is not run.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

STANDARD = "http://127.0.0.1:8801"
PLACEHOLDER = re.compile(r"<[a-z][a-z ]*>")
ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def blocks(text):
    heading, block, kind = "", [], None
    for line in text.splitlines():
        if kind is None and line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("```"):
            if kind is None:
                kind, block = line[3:].strip(), []
            else:
                yield heading, kind, "\n".join(block)
                kind = None
        elif kind is not None:
            block.append(line)


def covers(actual, shown, path="$"):
    """Whether the output has what the page shows; raises with the place where it has not."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        for name, value in shown.items():
            assert name in actual, f"{path} has no {name}"
            covers(actual[name], value, f"{path}.{name}")
    elif isinstance(shown, str) and isinstance(actual, str):
        for pattern in (ID, INSTANT):
            if pattern.fullmatch(shown) and pattern.fullmatch(actual):
                # An instant of a full hour is one that the reader typed.
                assert not shown.endswith("00:00:00Z") or shown == actual, f"{path}: {actual}"
                return
        start = shown.removesuffix("…")
        assert actual == shown or start != shown and actual.startswith(start), f"{path}: {actual}"
    else:
        assert actual == shown, f"{path}: {actual!r}, and the page shows {shown!r}"


def last_object(said):
    """The JSON object that the last command printed."""
    found, end = None, 0
    while (start := said.find("{", end)) >= 0:
        found, length = json.JSONDecoder().raw_decode(said[start:])
        end = start + length
    return found


class Shell:
    """A shell that lives as long as the page, as the reader's terminal does."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, commands):
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            # The last command decides, as it does at a terminal; one that fails before shows in the output.
            script.write("set -o pipefail\n" + commands + "\n")
            script.flush()
            self.process.stdin.write(f"source {script.name} </dev/null; printf '\\n=== %s\\n' $?\n")
            self.process.stdin.flush()
            said = []
            for line in self.process.stdout:
                if end := re.fullmatch(r"=== (\d+)\n", line):
                    return "".join(said), int(end[1])
                said.append(line)
        sys.exit(f"the shell ended: {''.join(said)}")


def started(commands, url):
    log = open("server.log", "w")
    own = {"CP_LISTEN": url.removeprefix("http://"), "CP_BASE_URL": url}
    server = subprocess.Popen(
        ["bash", "-c", commands], stdout=log, stderr=log, start_new_session=True, env=os.environ | own
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(url + "/readyz").close()
            return server
        except OSError:
            assert server.poll() is None, open("server.log").read()
            time.sleep(0.1)
    sys.exit("the server does not answer")


def filled(commands, fills):
    for text, value in fills:
        commands = commands.replace(text, value)
    left = PLACEHOLDER.search(commands)
    assert left is None, f"{left and left[0]} is not filled:\n{commands}"
    return commands


def main(page, url, fills):
    with open(page) as file:
        parts = list(blocks(file.read().replace(STANDARD, url)))
    shell, server, count = Shell(), None, 0
    try:
        for n, (heading, kind, text) in enumerate(parts):
            following = [part[1] for part in parts[n + 1 :]]
            if heading == "Before you begin":
                continue
            if kind == "sh" and heading == "Start the server" and server is None and url != STANDARD:
                server = started(text, url)
            elif kind == "sh":
                text = filled(text, fills)
                said, status = shell.run(text)
                expected = "text refused" in following[:1]
                assert (status != 0) == expected, f"{page}: {heading}: status {status}\n{text}\n{said}"
                assert expected or "error:" not in said, f"{page}: {heading}:\n{said}"
                count += 1
            elif kind == "json":
                covers(last_object(said), json.loads(text))
            elif kind in ("text", "text refused"):
                rest = said
                for line in text.splitlines():
                    assert line in rest, f"{page}: {heading}: no {line!r} in\n{said}"
                    rest = rest[rest.index(line) :]
    finally:
        if server is not None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    assert count, f"{page} has no commands"
    print(f"{os.path.basename(page)}: {count} blocks of commands do what the page says")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("page")
    arguments.add_argument("--server", default=STANDARD)
    arguments.add_argument("--fill", action="append", default=[], type=lambda fill: fill.split("=", 1))
    given = arguments.parse_args()
    main(given.page, given.server, given.fill)
