"""Three nodes, each with Postgres, Patroni and etcd in a network namespace of its own, and HAProxy in front of them.

The configuration is that of deploy/cluster. Everything runs below one folder and ends with the context.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
from msgspec import Struct

from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.user import User, chown
from tests.faults.test_faults import a_free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "cluster"
NETWORK = "10.213.7"
PASSWORD = "the password of the nodes of this run"
PORT, REST_PORT = 5432, 8008
PROGRAMS = {
    "patroni": "pip install 'patroni[etcd3,psycopg3]>=4.1' and PATRONI=…; Debian 12's 3.0.2 lost events when tried",
    "etcd": "apt-get install etcd-server",
    "haproxy": "apt-get install haproxy",
    "ip": "apt-get install iproute2",
    "setpriv": "apt-get install util-linux",
}


def program(name: str) -> str | None:
    """A program: the one that the variable of its name gives, or the one on PATH."""
    return os.environ.get(name.upper()) or shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def missing() -> list[str]:
    """What must be installed before the run, one sentence each."""
    found = [f"{name} was not found: {hint}" for name, hint in PROGRAMS.items() if program(name) is None]
    if os.geteuid() != 0:
        found.append("network namespaces need root")
    elif subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        found.append("network namespaces are not permitted here")
    return found


def fill_in(template: Path, words: Mapping[str, str]) -> str:
    """A configuration of deploy/ with its words."""
    return re.sub(r"@([A-Z_]+)@", lambda word: words[word[1]], template.read_text())


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run([program("ip") or "ip", *words], check=True, capture_output=True)


class Node(Struct):
    """One node: its number, its folder, and its processes."""

    number: int
    folder: Path
    user: User
    patroni: subprocess.Popen[bytes] | None = None
    etcd: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def namespace(self) -> str:
        return f"rg{self.number}"

    def run(self, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        """Start a program on this node, as the user of Postgres."""
        as_user = ["setpriv", f"--reuid={self.user.uid}", f"--regid={self.user.gid}", "--clear-groups"]
        words = ["nice", program("ip") or "ip", "netns", "exec", self.namespace, *as_user, *command]
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )

    def start_etcd(self) -> None:
        """Start this node's member of the etcd cluster."""
        peers = ",".join(f"node{n}=http://{NETWORK}.{n}:2380" for n in (1, 2, 3))
        self.etcd = self.run(
            [
                program("etcd") or "etcd",
                *("--name", self.name, "--data-dir", str(self.folder / "etcd")),
                *("--listen-peer-urls", f"http://{self.address}:2380"),
                *("--initial-advertise-peer-urls", f"http://{self.address}:2380"),
                *("--listen-client-urls", f"http://{self.address}:2379"),
                *("--advertise-client-urls", f"http://{self.address}:2379"),
                *("--initial-cluster", peers, "--initial-cluster-state", "new"),
                *("--heartbeat-interval", "100", "--election-timeout", "1000", "--logger", "zap"),
                "--unsafe-no-fsync" if "unsafe-no-fsync" in _etcd_help() else "--log-level=warn",
            ],
            "etcd.log",
        )

    def start_patroni(self) -> None:
        """Start Patroni, which starts Postgres."""
        script = Path(program("patroni") or "patroni")
        # The interpreter that has Patroni, from the first line of its command.
        interpreter = script.read_text().partition("\n")[0].removeprefix("#!").strip()
        command = [interpreter, str(DEPLOY / "patroni_ttl.py"), str(self.folder / "patroni.yml")]
        self.patroni = self.run(command, "patroni.log")

    def processes(self) -> list[psutil.Process]:
        """Patroni's and Postgres' processes."""
        found: list[psutil.Process] = []
        pids = [self.patroni.pid] if self.patroni is not None else []
        with contextlib.suppress(OSError, ValueError, IndexError):
            pids.append(int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found

    def kill(self) -> None:
        """End Patroni and Postgres at once, as a power failure does."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.patroni is not None:
            self.patroni.wait(30)

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue Patroni and Postgres."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def cut_off(self, *, cut: bool) -> None:
        """Take the node off the network, or bring it back."""
        ip("link", "set", f"rgv{self.number}", "down" if cut else "up")


def _etcd_help() -> str:
    return subprocess.run([program("etcd") or "etcd", "--help"], capture_output=True, text=True, check=False).stderr


class Cluster(Struct):
    """The nodes, and the port of the proxy that leads to the primary."""

    folder: Path
    nodes: list[Node]
    proxy_port: int

    def direct_url(self, role: str = "registry_owner", password: str = PASSWORD, database: str = "registry") -> str:
        """A URL with every node, of which the primary is used."""
        hosts = ",".join(f"{node.address}:{PORT}" for node in self.nodes)
        user = f"{role}:{password.replace(' ', '%20')}"
        return f"postgresql://{user}@{hosts}/{database}?target_session_attrs=primary&sslmode=disable"

    def proxy_url(self, role: str = "registry_owner", password: str = PASSWORD, database: str = "registry") -> str:
        """A URL through the proxy."""
        user = f"{role}:{password.replace(' ', '%20')}"
        return f"postgresql://{user}@127.0.0.1:{self.proxy_port}/{database}?sslmode=disable"

    async def leader(self) -> Node | None:
        """The node whose Postgres takes writes, as a client that connects to each sees it."""
        for node in self.nodes:
            role = f"registry_owner:{PASSWORD.replace(' ', '%20')}"
            url = f"postgresql://{role}@{node.address}:{PORT}/postgres?sslmode=disable"
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(url, timeout=2)
                try:
                    if not await connection.fetchval("SELECT pg_is_in_recovery()", timeout=2):
                        return node
                finally:
                    connection.terminate()
        return None

    async def whole(self, seconds: float = 180) -> Node:
        """Wait until every node answers for itself, in step and on one timeline; return the primary's node.

        What Patroni says about other nodes may be a few seconds old: a node that has just come back to the network may
        still follow the former primary.
        """
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    etcd = [await client.get(f"http://{node.address}:2379/health") for node in self.nodes]
                    answers = [await client.get(f"http://{node.address}:{REST_PORT}/patroni") for node in self.nodes]
                    states = [answer.json() for answer in answers]
                    standbys = [state for state in states if state.get("replication_state") == "streaming"]
                    if (
                        all(answer.json()["health"] == "true" for answer in etcd)
                        and len(standbys) == 2
                        and len({state["timeline"] for state in states}) == 1
                        and any(state.get("sync_standby") for state in standbys)
                        and (leader := await self.leader()) is not None
                    ):
                        return leader
                await asyncio.sleep(0.3)

    async def failed_over(self, former: Node, seconds: float = 60) -> Node:
        """Wait until another node is the primary."""
        async with asyncio.timeout(seconds):
            while True:
                leader = await self.leader()
                if leader is not None and leader.number != former.number:
                    return leader
                await asyncio.sleep(0.2)


@asynccontextmanager
async def network() -> AsyncIterator[None]:
    """A bridge and a namespace for each node."""
    try:
        ip("link", "add", "rgbr", "type", "bridge")
        ip("addr", "add", f"{NETWORK}.254/24", "dev", "rgbr")
        ip("link", "set", "rgbr", "up")
        for number in (1, 2, 3):
            ip("netns", "add", f"rg{number}")
            ip("link", "add", f"rgv{number}", "type", "veth", "peer", "name", "eth0", "netns", f"rg{number}")
            ip("link", "set", f"rgv{number}", "master", "rgbr", "up")
            ip("-n", f"rg{number}", "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            ip("-n", f"rg{number}", "link", "set", "eth0", "up")
            ip("-n", f"rg{number}", "link", "set", "lo", "up")
        yield
    finally:
        for words in (*(("netns", "del", f"rg{number}") for number in (1, 2, 3)), ("link", "del", "rgbr")):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*words)


def _account() -> User:
    """An account with a name: Patroni's initdb asks for it."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            known = pwd.getpwnam(name)
            return User(known.pw_uid, known.pw_gid)
    raise AssertionError("there is no account for Postgres")


def _words(node: Node, binaries: Path, archive: str) -> dict[str, str]:
    return {
        "NAME": node.name,
        "ADDRESS": node.address,
        "PORT": str(PORT),
        "REST_PORT": str(REST_PORT),
        "ETCD_HOSTS": ",".join(f"{NETWORK}.{n}:2379" for n in (1, 2, 3)),
        "DATA": str(node.folder / "data"),
        "BIN": str(binaries),
        "FOLDER": str(node.folder),
        "PASSWORD": PASSWORD,
        "TTL": "8",
        "NETWORK": f"{NETWORK}.0/24",
        "ARCHIVE_MODE": "on" if archive else "off",
        "ARCHIVE_COMMAND": archive,
    }


@asynccontextmanager
async def running_cluster(folder: Path, archive: str = "") -> AsyncIterator[Cluster]:
    """A whole cluster with an empty database `registry`."""
    user = _account()
    binaries = find_binaries(user).bin
    nodes = [Node(number, folder / f"node{number}", user) for number in (1, 2, 3)]
    cluster = Cluster(folder, nodes, a_free_port())
    async with network():
        proxy: subprocess.Popen[bytes] | None = None
        try:
            for node in nodes:
                node.folder.mkdir()
                (node.folder / "patroni.yml").write_text(
                    fill_in(DEPLOY / "patroni.yml", _words(node, binaries, archive))
                )
                chown(node.folder, user)
                node.start_etcd()
            for node in nodes:
                node.start_patroni()
            proxy = start_proxy(cluster)
            await cluster.whole()
            owner = await asyncpg.connect(cluster.direct_url(database="postgres"))
            await owner.execute("CREATE DATABASE registry")
            await owner.execute(f"CREATE ROLE registry LOGIN PASSWORD '{PASSWORD}'")
            # What a pooler in transaction mode cannot set for a session.
            await owner.execute("ALTER ROLE registry SET idle_in_transaction_session_timeout = '60s'")
            await owner.close()
            yield cluster
        except BaseException:
            for node in nodes:
                for log in ("patroni.log", "etcd.log"):
                    with contextlib.suppress(OSError):
                        print(f"--- {node.name} {log}\n{(node.folder / log).read_text()[-1500:]}", file=sys.stderr)
            raise
        finally:
            for node in nodes:
                node.freeze(frozen=False)
                node.kill()
                if node.etcd is not None:
                    node.etcd.kill()
                    node.etcd.wait(30)
            if proxy is not None:
                proxy.kill()
                proxy.wait(30)


def start_proxy(cluster: Cluster) -> subprocess.Popen[bytes]:
    """HAProxy with the configuration in deploy/."""
    servers = "\n".join(
        f"    server {node.name} {node.address}:{PORT} check port {REST_PORT} maxconn 200" for node in cluster.nodes
    )
    words = {"FOLDER": str(cluster.folder), "LISTEN_PORT": str(cluster.proxy_port), "SERVERS": servers}
    file = cluster.folder / "haproxy.cfg"
    file.write_text(fill_in(DEPLOY / "haproxy.cfg", words) + "\n")
    with (cluster.folder / "haproxy.log").open("ab") as log:
        return subprocess.Popen([program("haproxy") or "haproxy", "-f", str(file)], stdout=log, stderr=log, cwd="/")
