"""Kamailio: Debian's, as an ordinary record-routing proxy, with a configuration of our own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.certificates import Certificates
from tests.e2e.ports import free_udp_port
from tests.e2e.waiting import eventually, socket_is_bound

READY_SECONDS = 40.0
_TAIL = 4_000

# Everything with a To-tag goes where its Route says; every new INVITE to one next hop. What the next hop
# answers is passed on as it is: no failure route.
_CONFIGURATION = """\
#!KAMAILIO
children=2
tcp_children=2
auto_aliases=no
dns=no
rev_dns=no
fork=yes
log_stderror=yes
debug=1
server_header="Server: edge"
{listen}tcp_source_ipv4={host}
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
modparam("rr", "enable_double_rr", 1)
modparam("tm", "fr_timer", 5000)
modparam("tm", "auto_inv_100", 1)

request_route {{
    if (!mf_process_maxfwd_header("20")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
            exit;
        }}
        if (is_method("ACK")) {{
            if (t_check_trans()) {{
                t_relay();
            }}
            exit;
        }}
        sl_send_reply("404", "No Such Dialog Here");
        exit;
    }}
    t_check_trans();
    if (!is_method("INVITE")) {{
        sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    record_route();
    $du = "sip:{next_host}:{next_port};transport={next_transport}";
    if (!t_relay()) {{
        sl_reply_error();
    }}
}}
"""


# Both as a server and as a client it takes certificates of our authority alone, and asks for one.
_TLS = """\
enable_tls=yes
listen=tls:{host}:{port}
loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
modparam("tls", "ca_list", "{authority}")
modparam("tls", "verify_certificate", 1)
modparam("tls", "require_certificate", 1)
"""


class Kamailio:
    """Listens on `host`, UDP and TCP on one port that is free, and sends new calls to `next_hop`; it serves
    when the constructor returns. `configuration` has {listen}, {host} and {next_…} in it. With `certificates`
    it listens for TLS, too, at `tls_address`."""

    def __init__(
        self,
        folder: Path,
        host: str,
        next_hop: tuple[str, int],
        next_transport: str = "udp",
        configuration: str = _CONFIGURATION,
        certificates: Certificates | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.address = (host, free_udp_port(host))
        self.tls_address: tuple[str, int] | None = None
        listen = "".join(f"listen={kind}:{host}:{self.address[1]}\n" for kind in ("udp", "tcp"))
        if certificates is not None:
            self.tls_address = (host, free_udp_port(host))
            listen += _TLS.format(
                host=host,
                port=self.tls_address[1],
                certificate=certificates.certificate,
                key=certificates.key,
                authority=certificates.authority,
            )
        file = folder / "kamailio.cfg"
        file.write_text(
            configuration.format(
                listen=listen,
                host=host,
                next_host=next_hop[0],
                next_port=next_hop[1],
                next_transport=next_transport,
            )
        )
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["kamailio", "-f", str(file), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(folder),
                 "-P", str(folder / "pid")],
                cwd=folder, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        try:
            eventually(self._serves, READY_SECONDS, "Kamailio's sockets")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.diagnostics()}") from None

    def _serves(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"Kamailio ended with {self.process.returncode}")
        wanted = [("udp", self.address), ("tcp", self.address)]
        if self.tls_address is not None:
            wanted.append(("tcp", self.tls_address))
        return all(socket_is_bound(transport, *address) for transport, address in wanted)

    def diagnostics(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-_TAIL:]

    def stop(self) -> None:
        """It and its children. Asked by SIGTERM it may take seconds, and has nothing to put in order."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
