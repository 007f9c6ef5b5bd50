"""Where a PostgreSQL is and how to sign in, as a connection string of libpq says it.

Every option of libpq is used, has no meaning here, or is refused by its name: none is passed over that would
make a connection safer. Nothing is taken from the environment.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from groundwork.errors import SourceRefused
from groundwork.sources import conninfo, passfile

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""As libpq has them (PostgreSQL manual, "SSL Support"); only the last makes sure of whom we speak to."""

TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

METHODS = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none")
"""What ``require_auth`` may name."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "sslmode": SSLMODES,
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow"),
    "sslsni": ("0", "1"),
    "gssencmode": ("disable", "prefer"),
    "keepalives": ("0", "1"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS[2:],
    "min_protocol_version": ("3.0",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
}
"""The values that these options may have; what libpq has besides is not possible here, and refused."""

_NUMBERS = (
    "connect_timeout",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)

_REFUSED = {
    "service": "write the options themselves",
    "replication": "leave it out: the platform opens its own replication connections",
    "scram_client_key": "sign in with a password or a certificate",
    "scram_server_key": "sign in with a password or a certificate",
    "oauth_issuer": "sign in with a password or a certificate",
    "oauth_client_id": "sign in with a password or a certificate",
    "oauth_client_secret": "sign in with a password or a certificate",
    "oauth_scope": "sign in with a password or a certificate",
    "sslkeylogfile": "leave it out: it would write the keys of the connection to a file",
}

_HOW = "write postgresql://user:password@host:port/database, with options after ?, or key words as libpq does"


@dataclass(frozen=True)
class Host:
    """One server that a connection string names."""

    name: str
    """A host name, an address, or the directory of a Unix socket."""
    port: int
    address: str = ""
    """Where it is, when the name is not to be looked up (``hostaddr``)."""
    password: str | None = field(default=None, repr=False)

    @property
    def socket(self) -> str:
        """The path of its Unix socket; empty when it is reached by TCP. ``@`` begins an abstract one."""
        local = self.name.startswith(("/", "@")) and not self.address
        return f"{self.name}/.s.PGSQL.{self.port}" if local else ""

    def __str__(self) -> str:
        """``name:port``."""
        return f"{self.name or self.address}:{self.port}"


@dataclass(frozen=True)
class Address:
    """Where a database is, and how to sign in. Its text form hides the password."""

    hosts: tuple[Host, ...]
    """In the order in which they are tried."""
    database: str
    user: str
    options: Mapping[str, str] = field(default_factory=dict)
    """All other options that were given, and are not empty."""

    @classmethod
    def parse(cls, text: str, where: str) -> Address:
        """Read a connection string.

        Raises:
            SourceRefused: when it is none, or has an option that cannot be held. No value of it is repeated:
                each may be a secret.
        """
        try:
            given = {name: value for name, value in conninfo.parse(text).items() if value}
            empty = [name for name in _CHOICES if name in conninfo.parse(text) and name not in given]
        except conninfo.NotUnderstood as error:
            raise SourceRefused(
                where, "the connection URL is not understood", why=str(error), fix=_HOW
            ) from None
        check = _Check(where, given)
        check.all(empty)
        hosts = _hosts(check, given)
        address = cls(hosts, given.get("dbname", given["user"]), given["user"], given)
        return replace(address, hosts=tuple(address._with_password(host, where) for host in hosts))

    def _with_password(self, host: Host, where: str) -> Host:
        password = self.options.get("password")
        if password is None and "passfile" in self.options:
            local = "localhost" if host.socket else host.name or host.address
            password = passfile.password(
                self.options["passfile"], (local, str(host.port), self.database, self.user), where
            )
        return replace(host, password=password)

    @property
    def host(self) -> str:
        """The first server's name or address."""
        return self.hosts[0].name or self.hosts[0].address

    @property
    def port(self) -> int:
        """The first server's port."""
        return self.hosts[0].port

    @property
    def password(self) -> str | None:
        """The password for the first server."""
        return self.hosts[0].password

    @property
    def sslmode(self) -> str:
        """How far TLS is asked for."""
        return self.options.get(
            "sslmode", "verify-full" if self.options.get("sslrootcert") == "system" else "prefer"
        )

    @property
    def sslrootcert(self) -> str | None:
        """A file of authorities; ``system`` for those of the machine."""
        return self.options.get("sslrootcert")

    @property
    def sslcert(self) -> str | None:
        """A file with our certificate."""
        return None if self.options.get("sslcertmode") == "disable" else self.options.get("sslcert")

    def number(self, name: str, default: int) -> int:
        """A number among the options."""
        return int(self.options.get(name, default))

    def in_order(self) -> list[Host]:
        """The servers in the order in which this connection tries them."""
        hosts = list(self.hosts)
        if self.options.get("load_balance_hosts") == "random":
            random.shuffle(hosts)
        return hosts

    def __str__(self) -> str:
        """``user@host:port/database``."""
        return f"{self.user}@{','.join(map(str, self.hosts))}/{self.database}"

    def __repr__(self) -> str:
        """As `__str__`: a password must not reach a traceback."""
        return f"Address({self})"


@dataclass(frozen=True)
class _Check:
    where: str
    given: Mapping[str, str]

    def all(self, empty: list[str]) -> None:
        """Refuse what cannot be held.

        Raises:
            SourceRefused: naming the option.
        """
        for name, choices in _CHOICES.items():
            # libpq takes versions of TLS in any case, and nothing but these.
            known = [c.lower() for c in choices] if name.startswith("ssl_m") else list(choices)
            value = self.given.get(name, choices[-1])
            if name in empty or (value.lower() if name.startswith("ssl_m") else value) not in known:
                self.refuse(
                    f"the option {name} has a value that is not possible here",
                    f"write {name}: {', '.join(choices)}",
                )
        for name in _NUMBERS:
            if not self.given.get(name, "0").strip().removeprefix("-").isdecimal():
                self.refuse(f"the option {name} is not a whole number", f"write a whole number as {name}")
        for name in self.given.keys() & _REFUSED.keys():
            self.refuse(f"the option {name} is not supported", _REFUSED[name])
        if any("\udc80" <= letter <= "\udcff" for value in self.given.values() for letter in value):
            self.refuse("a value is not UTF-8", _HOW)
        if "user" not in self.given:
            self.refuse("it names no user", _HOW)
        self._methods()
        self._tls()

    def _methods(self) -> None:
        words = [word.strip() for word in self.given.get("require_auth", "").split(",") if word.strip()]
        bare = [word.removeprefix("!") for word in words]
        if not set(bare) <= set(METHODS) or len({word.startswith("!") for word in words}) > 1:
            self.refuse(
                "the option require_auth has a value that there is not",
                f"write require_auth: some of {', '.join(METHODS)}, all with ! before them or none",
            )

    def _tls(self) -> None:
        system = self.given.get("sslrootcert") == "system"
        mode = self.given.get("sslmode", "verify-full" if system else "prefer")
        if self.given.get("sslnegotiation") == "direct" and SSLMODES.index(mode) < SSLMODES.index("require"):
            self.refuse(
                "the option sslnegotiation=direct asks for TLS, and sslmode does not",
                "write sslmode=require or more",
            )
        if system and mode != "verify-full":
            self.refuse(
                "the option sslrootcert=system trusts all authorities of this machine",
                "write sslmode=verify-full",
            )
        if self.given.get("sslsni") == "0" and mode == "verify-full":
            self.refuse("the option sslsni=0 is not possible with sslmode=verify-full", "write sslsni=1")
        if mode == "verify-full" and "host" not in self.given:
            self.refuse(
                "the option sslmode=verify-full needs the name of the host", "write host beside hostaddr"
            )
        low, high = (self.given.get(f"ssl_{end}_protocol_version", "") for end in ("min", "max"))
        if low and high and low.lower() > high.lower():
            self.refuse(
                "the option ssl_min_protocol_version is above ssl_max_protocol_version", "correct one of them"
            )

    def refuse(self, why: str, fix: str) -> None:
        raise SourceRefused(self.where, "the connection URL is not understood", why=why, fix=fix)


def _hosts(check: _Check, given: Mapping[str, str]) -> tuple[Host, ...]:
    names, addresses = (given[n].split(",") if n in given else [] for n in ("host", "hostaddr"))
    count = max(len(names), len(addresses))
    names, addresses = names or [""] * count, addresses or [""] * count
    ports = given.get("port", "").split(",")
    ports = ports * count if len(ports) == 1 else ports
    if not count or len(names) != len(addresses) or not all(map(any, zip(names, addresses, strict=True))):
        check.refuse("it names no host, or not as many as addresses", _HOW)
    if len(ports) != count:
        check.refuse(f"it names {len(ports)} ports and {count} hosts", "write one port, or one for each host")
    numbers = [port.strip() or "5432" for port in ports]
    if not all(n.isdecimal() and n.isascii() and 0 < int(n) < 65536 for n in numbers):
        check.refuse("a port is not a number from 1 to 65535", _HOW)
    for address in filter(None, addresses):
        try:
            ip_address(address.partition("%")[0])
        except ValueError:
            check.refuse("the option hostaddr is no IP address", "write a name as host")
    return tuple(Host(n, int(p), a) for n, p, a in zip(names, numbers, addresses, strict=True))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that nothing needs to be encrypted."""
    if host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
