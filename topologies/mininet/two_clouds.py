#!/usr/bin/python3
"""The topology of two-clouds.yaml in Mininet: same nodes, same addresses, same daemons.

Reads the YAML file, builds it with Mininet's Python API (no controller, no switches: every link is
a direct one, bridges are made inside the clouds), starts godwitd in every xTR and in the mapping
node, and gives Mininet's prompt with one command more:

    mininet> move vm1 cloud-b        prepare over the HTTP API, then switch the patch panel

Run as root after `npm run build`: /usr/bin/python3 topologies/mininet/two_clouds.py
With --test it makes one move while pinging and exits 0 when no ping was lost.
"""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import time

from mininet.cli import CLI
from mininet.link import Link
from mininet.log import error, info, setLogLevel
from mininet.net import Mininet
from mininet.node import Node

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
STATE = "/run/godwit/mininet"
PINS = "/sys/fs/bpf/godwit/mininet"
HEALTH_DEADLINE_S = 20
FORWARDING = ("router", "xtr")


def load_topology():
    """The YAML file as a dictionary; read by the project's own YAML package."""
    script = (
        "const { parse } = require('yaml');"
        "process.stdout.write(JSON.stringify(parse("
        "require('fs').readFileSync('topologies/two-clouds.yaml', 'utf8'))))"
    )
    return json.loads(subprocess.check_output(["node", "-e", script], cwd=ROOT))


class PlainNode(Node):
    """A node with the sysctls of its kind and no address that Mininet thought of."""

    def config(self, kind="host", **_params):
        for name in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_ra", 0)
        if kind in FORWARDING:
            self.sysctl("net.ipv4.ip_forward", 1)
            self.sysctl("net.ipv6.conf.all.forwarding", 1)
            for name in ("all", "default"):
                self.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
                self.sysctl(f"net.ipv4.conf.{name}.send_redirects", 0)
        if kind == "panel":
            self.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        return {}

    def sysctl(self, name, value):
        path = name.replace(".", "/")
        self.cmd(f"echo {value} > /proc/sys/{path}")


def short(node, interface):
    """Mininet makes interfaces in the root namespace first, where names are short and shared."""
    return f"{node[:6]}-{interface[:7]}"


def build(topology):
    """All nodes and links, with addresses, bridges and routes."""
    net = Mininet(controller=None, build=False)
    nodes = topology["topology"]["nodes"]
    for name, node in nodes.items():
        net.addHost(name, cls=PlainNode, kind=node["kind"], ip=None)
    for link in topology["topology"]["links"]:
        (left, left_if), (right, right_if) = (end.split(":") for end in link["endpoints"])
        net.addLink(
            net[left], net[right], cls=Link,
            intfName1=short(left, left_if), intfName2=short(right, right_if),
        )
    net.build()
    for link in topology["topology"]["links"]:
        for end in link["endpoints"]:
            node, interface = end.split(":")
            net[node].cmd(f"ip link set dev {short(node, interface)} down name {interface}")
    for name, node in nodes.items():
        configure(net[name], name, node, topology)
    return net


def configure(host, name, node, topology):
    """The same order as `godwit lab`: bridges, MACs, addresses, links up, routes."""
    own = [
        end.split(":")[1]
        for link in topology["topology"]["links"]
        for end in link["endpoints"]
        if end.split(":")[0] == name
    ]
    run(host, "ip link set dev lo up")
    for bridge, options in node.get("bridges", {}).items():
        kind = "bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        run(host, f"ip link add dev {bridge} type {kind}")
        run(host, f"ip link set dev {bridge} address {options['mac']}")
        for port in options["ports"]:
            run(host, f"ip link set dev {port} master {bridge}")
    for interface, mac in node.get("macs", {}).items():
        run(host, f"ip link set dev {interface} address {mac}")
    addresses = dict(node.get("addresses", {}))
    addresses.update({name: b["addresses"] for name, b in node.get("bridges", {}).items()})
    for interface, texts in addresses.items():
        for text in texts:
            run(host, f"ip address add {text} dev {interface}" + (" nodad" if ":" in text else ""))
    for interface in [*node.get("bridges", {}), *own]:
        run(host, f"ip link set dev {interface} up")
    for route in node.get("routes", []):
        run(host, f"ip route add {route['to']} via {route['via']}")


def run(host, command):
    """A command that must succeed: prints nothing then."""
    output = host.cmd(command)
    if output.strip():
        raise SystemExit(f"{host.name}: {command}: {output.strip()}")


def in_network(host, command):
    """The command in the host's network but in our mounts: Mininet's hide the bpffs."""
    return ["nsenter", f"--net=/proc/{host.pid}/ns/net", *command]


def set_up_panels(net, topology):
    """Attach the patch panel's programs, from inside its namespace."""
    for name, node in topology["topology"]["nodes"].items():
        panel = node.get("panel")
        if panel is None:
            continue
        links = json.loads(net[name].cmd("ip -j link show"))
        indexes = {link["ifname"]: link["ifindex"] for link in links}
        setup = {
            "pinDirectory": f"{PINS}/{name}",
            "port": indexes[panel["port"]],
            "legs": [indexes[leg] for leg in panel["legs"].values()],
            "active": list(panel["legs"]).index(panel["active"]),
        }
        command = ["node", f"{ROOT}/dist/src/lab/panel-setup.js", json.dumps(setup)]
        subprocess.run(in_network(net[name], command), check=True)


def start_daemons(net, topology):
    """Write configurations and random secrets, start godwitd, wait until every API answers."""
    processes = []
    os.makedirs(f"{STATE}/config", mode=0o700, exist_ok=True)
    for name, node in topology["topology"]["nodes"].items():
        config = node.get("config")
        if config is None:
            continue
        config = {"node": name, **config}
        config.setdefault("api", {"socket": f"{STATE}/{name}.sock"})
        config.setdefault("store", {"directory": f"{STATE}/store/{name}"})
        if config.setdefault("datapath", {}).get("kind") != "none":
            config["datapath"].setdefault("pinDirectory", f"{PINS}/{name}")
            # The panel is switched by a program that takes half a second to start, and longer on a
            # busy machine: the move must not be rolled back meanwhile.
            config.setdefault("mobility", {}).setdefault("endpointTimeoutMs", 10_000)
            config.setdefault("hold", {}).setdefault("endpointMs", 12_000)
        for secret in secrets_of(config):
            make_secret(f"{STATE}/config/{secret}")
        path = f"{STATE}/config/{name}.yaml"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)  # JSON is YAML
        log = open(f"{STATE}/{name}.log", "w", encoding="utf-8")
        command = ["node", f"{ROOT}/dist/src/daemon/main.js", "run", path]
        processes.append(subprocess.Popen(in_network(net[name], command), stdout=log, stderr=log))
    for name, node in topology["topology"]["nodes"].items():
        if node.get("config") is not None:
            wait_until_healthy(name)
    return processes


def secrets_of(value):
    """All secret files named without a slash, wherever they are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "secretFile" and "/" not in inner:
                yield inner
            else:
                yield from secrets_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_of(inner)


def make_secret(path):
    """A random secret, once per name: the same name is the same secret."""
    if not os.path.exists(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, os.urandom(32).hex().encode())
        os.close(handle)


def api(name, method, path, body=None):
    """One HTTP request to a daemon's Unix socket: (status, text)."""
    text = json.dumps(body) if body is not None else ""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(f"{STATE}/{name}.sock")
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: godwit\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
            if body is not None
            else f"{method} {path} HTTP/1.1\r\nHost: godwit\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, content = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), content


def wait_until_healthy(name):
    """Poll the API until it answers 200, or give up with the daemon's last words."""
    deadline = time.monotonic() + HEALTH_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if api(name, "GET", "/v1/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    with open(f"{STATE}/{name}.log", encoding="utf-8") as log:
        raise SystemExit(f"{name} does not answer:\n{log.read()[-2000:]}")


def move(net, topology, endpoint, to):
    """Prepare at the destination; when it says ready, switch the panel. Returns an error or None."""
    nodes = topology["topology"]["nodes"]
    eids = [text.split("/")[0] for texts in nodes[endpoint]["addresses"].values() for text in texts]
    instance = nodes[to]["config"]["dynamicEidPrefixes"][0]["instanceId"]
    status, answer = api(to, "POST", "/v1/moves", {"eids": eids, "instanceId": instance})
    if status >= 300:
        return answer
    panel = next(name for name, node in nodes.items() if "panel" in node)
    leg = list(nodes[panel]["panel"]["legs"]).index(to)
    flip = ["node", f"{ROOT}/dist/src/lab/panel-setup.js", "--flip", f"{PINS}/{panel}", str(leg)]
    subprocess.run(flip, check=True)
    # As QEMU does when a guest resumes: without a word from it, nobody knows that it has come.
    for interface in nodes[endpoint]["addresses"]:
        run(net[endpoint], f"{ROOT}/build/tools/godwit-probe announce {interface} rarp")
    return None


class GodwitCLI(CLI):
    """Mininet's prompt, and `move ENDPOINT CLOUD`."""

    topology = None

    def do_move(self, line):
        "move ENDPOINT CLOUD: move an endpoint to the other cloud without losing a packet"
        words = line.split()
        if len(words) != 2:
            error("usage: move ENDPOINT CLOUD\n")
            return
        problem = move(self.mn, self.topology, *words)
        info(f"{problem}\n" if problem else f"{words[0]} is at {words[1]}\n")


def test(net, topology):
    """One move under ping: 0 when nothing was lost."""
    target = "10.10.0.5"
    command = ["ping", "-i", "0.01", "-c", "300", "-q", target]
    ping = net["host1"].popen(command, stderr=subprocess.STDOUT)
    time.sleep(1)
    problem = move(net, topology, "vm1", "cloud-b")
    output = ping.communicate(timeout=30)[0].decode()
    info(f"{problem}\n" if problem else output)
    return 0 if problem is None and " 0% packet loss" in output else 1


def main():
    """Build, start, talk, and leave nothing behind."""
    setLogLevel("info")
    if os.geteuid() != 0:
        raise SystemExit("Mininet needs root to create network namespaces: run it again with sudo.")
    if not os.path.ismount("/sys/fs/bpf"):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
    for directory in (STATE, PINS):
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
    topology = load_topology()
    net = build(topology)
    processes = []

    def clean_up():
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=10)
        net.stop()
        for directory in (STATE, PINS):
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(clean_up)
    set_up_panels(net, topology)
    processes.extend(start_daemons(net, topology))
    for name, node in topology["topology"]["nodes"].items():
        if node["kind"] in ("host", "endpoint"):
            for interface, texts in node["addresses"].items():
                for text in texts:
                    address = text.split("/")[0]
                    how = "na" if ":" in address else "garp"
                    probe = f"{ROOT}/build/tools/godwit-probe"
                    net[name].cmd(f"{probe} announce {interface} {how} {address}")
    if "--test" in sys.argv:
        time.sleep(1)
        return test(net, topology)
    GodwitCLI.topology = topology
    GodwitCLI(net)
    return 0


if __name__ == "__main__":
    sys.exit(main())
