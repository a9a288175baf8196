"""Kamailio as a carrier that wants to know who calls: its auth, its registrar, and no database."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.interop.kamailio import Kamailio

REALM = "carrier.example"

# Who logs in with each request may call and register. OPTIONS to a user tells what is registered for it. The
# second argument of pv_*_authenticate is an HA1, which flag 1 says.
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
server_header="Server: carrier"
{{listen}}tcp_source_ipv4={{host}}
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "max_expires", {seconds})
modparam("auth", "algorithm", "{algorithm}")
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "{qop}")
modparam("tm", "fr_timer", 5000)

request_route {{{{
    if (!mf_process_maxfwd_header("20")) {{{{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}}}
    if (is_method("CANCEL")) {{{{
        if (t_check_trans()) {{{{
            t_relay();
        }}}}
        exit;
    }}}}
    if (is_method("OPTIONS")) {{{{
        $ru = "sip:" + $rU + "@{realm}";
        if (registered("location") && reg_fetch_contacts("location", "$ru", "us")) {{{{
            append_to_reply("X-Contact: $(ulc(us=>addr))\\r\\nX-Seq: $(ulc(us=>cseq))\\r\\n");
            sl_send_reply("200", "Registered");
        }}}} else {{{{
            sl_send_reply("404", "Not Registered");
        }}}}
        exit;
    }}}}
    if (is_method("ACK")) {{{{
        if (has_totag() && loose_route() || t_check_trans()) {{{{
            t_relay();
        }}}}
        exit;
    }}}}
    if ($si == "127.0.0.1") {{{{
        if (is_method("REGISTER")) {{{{
            if (!pv_www_authenticate("{realm}", "{ha1}", "1")) {{{{
                www_challenge("{realm}", "1");
                exit;
            }}}}
            save("location");
            exit;
        }}}}
        if (!pv_proxy_authenticate("{realm}", "{ha1}", "1")) {{{{
            proxy_challenge("{realm}", "1");
            exit;
        }}}}
        consume_credentials();
    }}}}
    if (has_totag()) {{{{
        if (loose_route()) {{{{
            t_relay();
        }}}} else {{{{
            sl_send_reply("404", "No Such Dialog Here");
        }}}}
        exit;
    }}}}
    record_route();
    $du = "sip:{{next_host}}:{{next_port}};transport={{next_transport}}";
    if (!t_relay()) {{{{
        sl_reply_error();
    }}}}
}}}}
"""


def registrar(
    folder: Path, host: str, next_hop: tuple[str, int], ha1: str, *, algorithm: str, seconds: int
) -> Kamailio:
    """A carrier at `host` that puts calls through to `next_hop`. `seconds`: the longest registration."""
    text = _CONFIGURATION.format(realm=REALM, ha1=ha1, algorithm=algorithm, qop="auth", seconds=seconds)
    return Kamailio(folder, host, next_hop, configuration=text)
