"""A MariaDB server of the tests' own: fetched if the machine has none, with a fresh data folder, TLS and a free port.

Nothing is installed: the packages are unpacked below build/mariadb/, and the server is started from there, as whoever
runs the tests. A `mariadbd` on PATH is used as it is.
"""

import datetime as dt
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from persistence.mysql import Limits, server_of
from persistence.mysql_connection import Connection, Server

PACKAGE: Final = "mariadb-server-core"
BY_HAND: Final = (
    "there is no mariadbd on PATH and it could not be fetched; bring it: sudo apt-get install mariadb-server"
)
ADMIN: Final = "admin"
USER: Final = "exchange"
PASSWORD: Final = "pässwörd'\\%"  # noqa: S105 - of a server that lives as long as the tests
START_SECONDS: Final = 30.0

_CACHE: Final = Path(__file__).parent.parent / "build" / "mariadb"
_PLACES: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec"


class NoMariaDb(Exception):  # noqa: N818 - says what is so
    """There is none, and none could be fetched. Says how to bring it by hand."""


@frozen
class Programs:
    """Where the server's program, its data and its libraries are."""

    mariadbd: Path
    base: Path
    libraries: str

    def start(self, arguments: Sequence[str], *, stdin: int | None = None, stdout: int) -> "subprocess.Popen[bytes]":
        """Run the server."""
        environment = os.environ | ({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})
        command = [str(self.mariadbd), "--no-defaults", *arguments]
        return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.STDOUT)


# -------------------------------------------------------------------------------------------------------------- fetch


def programs() -> Programs:
    """Those of this machine, or fetched ones. Raises NoMariaDb."""
    found = shutil.which("mariadbd", path=_PLACES)
    if found is not None:
        return Programs(Path(found), Path(found).resolve().parent.parent, "")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_CACHE / "complete").exists():
            _fetch()
            (_CACHE / "complete").touch()
    root = _CACHE / "root"
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return Programs(root / "usr/sbin/mariadbd", root / "usr", ":".join(map(str, folders)))


def _fetch() -> None:
    """Unpack the server, and those of its libraries that are not installed, below the cache."""
    for private in (False, True):
        try:
            _download(_private_lists() if private else [])
        except (OSError, subprocess.CalledProcessError) as error:
            if private:
                raise NoMariaDb(f"{BY_HAND} ({error})") from error
        else:
            break
    for package in sorted((_CACHE / "packages").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(_CACHE / "root")])


def _private_lists() -> list[str]:
    """What makes apt use lists of packages of our own: the machine's may be empty, and not for us to change."""
    for folder in ("lists/partial", "archives/partial"):
        (_CACHE / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={_CACHE}/lists", "-o", f"Dir::Cache={_CACHE}", "-o", "APT::Sandbox::User="]
    _run(["apt-get", *options, "update"])
    return options


def _download(options: Sequence[str]) -> None:
    folder = _CACHE / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    only = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = _run(["apt-cache", *options, "depends", "--recurse", *only, PACKAGE])
    wanted = {line for line in listed.splitlines() if line and line[0].isalnum()}
    here = _run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"])
    installed = {line.split()[1] for line in here.splitlines() if line.startswith("installed ")}
    if PACKAGE not in wanted:
        raise OSError(f"apt knows no package {PACKAGE}")
    for package in sorted(wanted - installed):
        try:
            _run(["apt-get", *options, "download", package], cwd=folder)
        except subprocess.CalledProcessError:
            if package == PACKAGE:
                raise
            # One of several that would do; without the one that is needed the server does not start, and says so.


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=100).stdout


# -------------------------------------------------------------------------------------------------------------- server


@frozen
class MariaDb:
    """A running server, and how to reach it."""

    programs: Programs
    folder: Path
    port: int
    tls: bool
    process: "list[subprocess.Popen[bytes]]"

    @property
    def ca_file(self) -> str:
        """The authority that its certificate is from; empty for a server without TLS."""
        return str(self.folder / "ca.pem") if self.tls else ""

    @property
    def socket(self) -> str:
        """Its Unix socket."""
        return str(self.folder / "s")

    def server(self, database: str, *, port: int | None = None, limits: Limits | None = None, **changes: str) -> Server:
        """As the store would reach it, over TLS; `changes` are of `user`, `password` and `ca_file`."""
        user = changes.get("user", USER)
        return server_of(
            f"mysql://{user}@127.0.0.1:{port or self.port}/{database}",
            password=changes.get("password", PASSWORD),
            ca_file=changes.get("ca_file", self.ca_file),
            limits=limits or Limits(),
        )

    async def ask(self, sql: str) -> Sequence[Sequence[object]]:
        """One statement as the server's administrator."""
        server = server_of(
            f"mysql://{ADMIN}@localhost/mysql?socket={self.socket}", password=PASSWORD, ca_file="", limits=Limits()
        )
        connection = Connection(server)
        with trio.fail_after(START_SECONDS):
            await connection.open_session()
            try:
                return (await connection.run(sql)).rows
            finally:
                connection.discard()

    async def fresh_database(self, name: str) -> str:
        """An empty database of this name, in place of what was there."""
        await self.ask(f"CREATE OR REPLACE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start it, and wait until it answers. Raises AssertionError if it does not."""
        tls = [f"--ssl-{what}={self.folder}/{what}.pem" for what in ("ca", "cert", "key")]
        with (self.folder / "log").open("ab") as log:
            self.process.append(
                self.programs.start(
                    [
                        *_common(self.programs, self.folder),
                        f"--socket={self.socket}",
                        f"--port={self.port}",
                        "--bind-address=127.0.0.1",
                        f"--pid-file={self.folder}/pid",
                        "--skip-name-resolve",
                        "--max-connections=60",
                        *(tls if self.tls else ["--skip-ssl"]),
                    ],
                    stdout=log.fileno(),
                )
            )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            running = self.process[-1].poll() is None and time.monotonic() < deadline
            assert running, f"MariaDB did not start:\n{(self.folder / 'log').read_text()[-3000:]}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, and wait until it has."""
        self.process[-1].send_signal(number)
        self.process[-1].wait(START_SECONDS)


@contextmanager
def private_mariadb(*, tls: bool = True) -> Iterator[MariaDb]:
    """A fresh server for this block."""
    with tempfile.TemporaryDirectory(prefix="mariadb-") as name:
        folder = Path(name)
        found = programs()
        _bootstrap(found, folder)
        write_certificates(folder)
        server = MariaDb(found, folder, _free_port(), tls, [])
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGKILL)


def _common(found: Programs, folder: Path) -> list[str]:
    root = ["--user=root"] if os.geteuid() == 0 else []
    return [
        f"--datadir={folder}/data",
        f"--basedir={found.base}",
        "--loose-innodb-buffer-pool-size=32M",
        "--loose-innodb-log-file-size=16M",
        "--log-warnings=0",
        # Of what is committed the process's end loses nothing, and the machine's end is not what these tests are about.
        "--loose-innodb-flush-log-at-trx-commit=2",
        *root,
    ]


def _bootstrap(found: Programs, folder: Path) -> None:
    """Make the system tables, as mariadb-install-db does, and our users."""
    (folder / "data").mkdir()
    shares = found.base / "share"
    folders = (shares / "mysql", shares / "mariadb", shares)
    scripts = next(folder for folder in folders if (folder / _SCRIPTS[0]).exists())
    tables = "".join((scripts / name).read_text() for name in _SCRIPTS)
    sql = f"create database mysql;\nuse mysql;\n{tables}flush privileges;\n"
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    for user in (ADMIN, USER):
        for host in ("127.0.0.1", "localhost"):
            sql += f"create user '{user}'@'{host}' identified by '{quoted}';\n"
            sql += f"grant all on *.* to '{user}'@'{host}' with grant option;\n"
    process = found.start(
        ["--bootstrap", *_common(found, folder), "--skip-networking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    said, _ = process.communicate(sql.encode())
    assert process.returncode == 0, f"MariaDB's system tables were not made:\n{said.decode()[-3000:]}"


_SCRIPTS: Final = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            return bool(probe.recv(1))
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# -------------------------------------------------------------------------------------------------------- certificates


def write_certificates(folder: Path) -> None:
    """ca.pem, another authority's other.pem, and the server's cert.pem and key.pem, all good for a day."""
    key, ca = _authority("the tests' authority")
    _, other = _authority("somebody else's authority")
    server_key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        _builder("mariadb", ca.subject)
        .public_key(server_key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for name, data in {
        "ca.pem": ca.public_bytes(serialization.Encoding.PEM),
        "other.pem": other.public_bytes(serialization.Encoding.PEM),
        "cert.pem": certificate.public_bytes(serialization.Encoding.PEM),
        "key.pem": private,
    }.items():
        (folder / name).write_bytes(data)


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _builder(name: str, issuer: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
