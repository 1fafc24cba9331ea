"""Checks of deploy/ that need a parser: `deploy.py CHECK [ARGUMENT…]`."""

import glob
import json
import re
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
USER = 65534


def load(path):
    return [part for part in yaml.safe_load_all((DEPLOY / path).read_text()) if part]


def compose():
    return load("compose.yaml")[0]


def objects():
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [part for file in files for part in load(file)]


def of_kind(kind):
    found = [one for one in objects() if one["kind"] == kind]
    assert len(found) == 1, f"{kind}: {len(found)} objects"
    return found[0]


def image():
    """The variables that the image sets."""
    text = (DEPLOY / "Containerfile").read_text().split("\nFROM ")[-1].replace("\\\n", " ")
    assert f"\nUSER {USER}:{USER}\n" in text and f"--chown={USER}:{USER} " in text, "the user of the image"
    return dict(re.findall(r"(CP_\w+)=(\S+)", re.search(r"^ENV (.*)$", text, re.M)[1]))


def pods():
    return [of_kind(kind)["spec"]["template"] for kind in ("Deployment", "Job")]


def manifests():
    """What schemas do not check: names that refer to each other, and the rules for the pods."""
    server = compose()["services"]["server"]
    assert server["read_only"] and server["user"] == f"{USER}:{USER}" and server["cap_drop"] == ["ALL"]
    assert "data:/data" in server["volumes"]
    for service in compose()["services"].values():
        assert "healthcheck" in service
        for name in service["secrets"]:
            assert compose()["secrets"][name]["file"] == f"secrets/{name}"
            assert f"/run/secrets/{name}" in service["environment"].values(), f"{name} is not used"

    # No Secret: its values do not belong into a file.
    assert sorted(f"{one['apiVersion']} {one['kind']}" for one in objects()) == [
        "apps/v1 Deployment",
        "batch/v1 Job",
        "networking.k8s.io/v1 NetworkPolicy",
        "policy/v1 PodDisruptionBudget",
        "v1 ConfigMap",
        "v1 Service",
    ]
    labels = pods()[0]["metadata"]["labels"]
    deployment = of_kind("Deployment")["spec"]
    assert deployment["replicas"] == 2 and deployment["strategy"] == {"type": "Recreate"}
    assert of_kind("PodDisruptionBudget")["spec"]["minAvailable"] == 1
    for selector in (
        deployment["selector"]["matchLabels"],
        of_kind("Service")["spec"]["selector"],
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
        assert not selector.items() <= pods()[1]["metadata"]["labels"].items(), "the Service finds the Job"
    policy = of_kind("NetworkPolicy")["spec"]
    settings = of_kind("ConfigMap")
    for pod in pods():
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        spec = pod["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] == security["fsGroup"] == USER
        assert not spec["automountServiceAccountToken"] and not spec["enableServiceLinks"]
        (container,) = spec["containers"]
        assert container["image"] == server["image"]
        assert container["resources"]["requests"] and container["resources"]["limits"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert volumes.keys() == mounts.keys()
        assert volumes["credentials"]["secret"]["defaultMode"] == 0o440
        assert mounts["credentials"] == settings["data"]["CREDENTIALS_DIRECTORY"]
    (container,) = pods()[0]["spec"]["containers"]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [probe["path"] for probe in probes.values()] == ["/healthz", "/healthz", "/readyz"]
    (port,) = container["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert of_kind("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert policy["ingress"][0]["ports"][0]["port"] == port["containerPort"]


def environment(kind, folder):
    """Prints the variables of a container, with folders of this machine."""
    if kind == "compose":
        own = compose()["services"]["server"]["environment"]
        secrets = "/run/secrets"
    else:
        own = of_kind("ConfigMap")["data"]
        secrets = own["CREDENTIALS_DIRECTORY"]
    for name, value in {**image(), **own}.items():
        for there, here in ((secrets, f"{folder}/secrets"), ("/data", f"{folder}/data")):
            if value == there or value.startswith(f"{there}/"):
                value = here + value[len(there) :]
        print(f"{name}={'127.0.0.1:0' if name == 'CP_LISTEN' else value}")


def health(url):
    """Prints the arguments of the health check."""
    command, program, *arguments = compose()["services"]["server"]["healthcheck"]["test"]
    assert (command, program) == ("CMD", "cp-server")
    print("\n".join(url if argument.startswith("http:") else argument for argument in arguments))


def expressions():
    """The expressions of the dashboard, each with its panel and the labels of its legend."""
    board = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "instance"]
    ids, places = set(), set()
    for panel in board["panels"]:
        assert panel["id"] not in ids, f"{panel['title']}: the id is not unique"
        ids.add(panel["id"])
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24 and (x, y) not in places, f"{panel['title']} overlaps"
                places.add((x, y))
        if panel["type"] == "row":
            continue
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            expression = target["expr"].replace("$__rate_interval", "5s").replace("$instance", ".+")
            assert not re.search(r"\$[a-z_]", expression), f"{panel['title']}: an unknown variable"
            yield panel["title"], expression, re.findall(r"{{(\w+)}}", target["legendFormat"])


def dashboard():
    """Prints a recording rule for each expression, for promtool."""
    rules = [{"record": f"dashboard:panel:{n}", "expr": text} for n, (_, text, _) in enumerate(expressions())]
    print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def families():
    page = (ROOT / "docs/metrics.md").read_text()
    return set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \|", page, re.M))


def metrics(server, prometheus):
    """Asks Prometheus for each expression, and checks each name and label against /metrics."""
    for path in ("/healthz", "/readyz"):
        get(server + path)
    labels = {}
    for name, pairs in re.findall(r"^([a-z]\w*)(?:\{(.*)\})? ", get(server + "/metrics"), re.M):
        labels.setdefault(name, {"instance", "job"}).update(
            "exported_job" if label == "job" else label for label in re.findall(r'(\w+)="', pairs)
        )
    groups = load("alerts.yml")[0]["groups"]
    alerts = [(rule["alert"], rule["expr"], []) for group in groups for rule in group["rules"]]
    used = set()
    for title, text, legend in [*expressions(), *alerts]:
        # Labels of a sum and of its legend; label_replace adds one.
        there = {"class"}
        for name, pairs in re.findall(r"\b((?:cp|process)_\w+)(?:\{(.*?)\}(?=[\[)\s]|$))?", text):
            assert name in labels, f"{title}: {name} is not in /metrics"
            unknown = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', pairs)) - labels[name]
            assert not unknown, f"{title}: {name} has no label {unknown}"
            used.add(re.sub(r"_(bucket|sum|count)$", "", name))
            there |= labels[name]
        sums = [set(re.findall(r"\w+", one)) for one in re.findall(r"\b(?:by|on) \((.*?)\)", text)]
        assert set().union(*sums) <= there, f"{title}: {sums}"
        assert set(legend) <= (sums[0] if sums and " by (" in text else there), f"{title}: {legend}"
    assert used == families(), f"no panel and no rule for {families() - used}"

    # `rate` needs two scrapes.
    deadline = time.monotonic() + 25
    waiting = dict(enumerate(expressions()))
    while waiting:
        for path in ("/healthz", "/api/v1/me/leases"):
            try:
                get(server + path)
            except urllib.error.HTTPError as error:
                assert error.code == 401, f"{path}: {error.code}"
        for n, (title, text, _) in list(waiting.items()):
            try:
                answer = get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': text})}")
            except urllib.error.HTTPError as error:
                sys.exit(f"{title}: {error.read().decode()}")
            except OSError:
                break
            if json.loads(answer)["data"]["result"]:
                del waiting[n]
        assert time.monotonic() < deadline, f"no sample for {[one[:2] for one in waiting.values()]}"
        time.sleep(0.3)
    for group in json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]:
        for rule in group["rules"]:
            assert rule["health"] != "err", rule


def page():
    """Checks that the manual page has the commands and options of the help."""
    text = (DEPLOY / "cp-server.1").read_text()
    commands = text.split(".SH COMMANDS\n")[1].split(".SH OPTIONS\n")[0]
    found = set(re.findall(r"^\.TP\n\.B (\w+)$", commands, re.M))
    help_text = sys.stdin.read()
    expected = set(re.findall(r"^  (\w+)  ", help_text.split("Commands:\n")[1].split("\n\n")[0], re.M))
    assert found == expected, f"deploy/cp-server.1: {found ^ expected}"
    for option in re.findall(r"--(\w+)", help_text.split("Options:\n")[1].split("\n\nStart")[0]):
        assert rf"\-\-{option}" in text, f"deploy/cp-server.1: --{option}"


def debian():
    """Checks that the files of the package exist, and that its lists fit."""
    manifest = tomllib.loads((ROOT / "cp-server/Cargo.toml").read_text())
    package = manifest["package"]["metadata"]["deb"]
    known = {"maintainer", "copyright", "license-file", "section", "priority", "depends", "recommends", "suggests"}
    known |= {"extended-description", "assets", "conf-files", "maintainer-scripts", "systemd-units"}
    assert package.keys() <= known, package.keys() - known
    base = ROOT / "cp-server"
    places = set()
    for source, place, mode in package["assets"]:
        is_built = source.startswith("target/release/")
        assert is_built or glob.glob(str(base / source)), f"{source} does not exist"
        assert mode == ("755" if is_built else "644") and not place.startswith("/")
        places.add(f"/{place}{Path(source).name}" if place.endswith("/") else f"/{place}")
    assert (base / package["license-file"][0]).exists()
    for file in package["conf-files"]:
        assert file in places, f"{file} is not in the package"
    # Such a file must not contain a secret: dpkg shows its differences.
    assert not re.search(r"^CP_\w*(KEY|TOKEN|PASSPHRASE|SECRET)=", (DEPLOY / "debian/cp-server.env").read_text(), re.M)
    for script in ("postinst", "prerm", "postrm"):
        text = (base / package["maintainer-scripts"] / script).read_text()
        assert text.startswith("#!/bin/sh\nset -e\n") and text.count("\n#DEBHELPER#\n") == 1, script
    units = package["systemd-units"]
    unit = (base / units["unit-scripts"] / f"{units['unit-name']}.service").read_text()
    assert "EnvironmentFile=-/etc/cp-server/cp-server.env" in unit


CHECKS = [manifests, environment, health, dashboard, metrics, page, debian]
next(check for check in CHECKS if check.__name__ == sys.argv[1])(*sys.argv[2:])
