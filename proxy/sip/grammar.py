"""Grammar fragments of RFC 3261 §25.1 as patterns. All are linear: every repetition is possessive, so that no
sender can make a match backtrack."""

from __future__ import annotations

import re
from typing import Final

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN_CHARS: Final = rb"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = re.compile(rb"[" + TOKEN_CHARS + rb"]++")

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE; quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F)
QUOTED: Final = rb'"(?:[^"\\]|\\[^\r\n])*+"'
QUOTED_STRING: Final = re.compile(QUOTED, re.DOTALL)

# LWS = [*WSP CRLF] 1*WSP; header values are matched unfolded, so that only WSP is left
WS: Final = rb"[ \t]*+"

# host = hostname / IPv4address / IPv6reference; "_" is no hostname character, but host names in use have it
HOST: Final = rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9.\-_]++)"

# callid = word [ "@" word ]; wider here: any visible characters, since base64 with its "=" is in use
CALL_ID: Final = re.compile(rb"[!-~]++")

# Via = sent-protocol LWS sent-by *( SEMI via-params ); sent-protocol = "SIP" SLASH "2.0" SLASH transport
# sent-by = host [ COLON port ]; SLASH, COLON and SEMI may have whitespace on both sides
VIA: Final = re.compile(
    rb"(?i:SIP)" + WS + rb"/" + WS + rb"2\.0" + WS + rb"/" + WS + rb"([" + TOKEN_CHARS + rb"]++)[ \t]++"
    rb"(" + HOST + rb")(?:" + WS + rb":" + WS + rb"([0-9]{1,5}+))?+" + WS + rb"(;.*+)?+\Z",
    re.DOTALL,
)

# The same as most implementations write it: host in lower case or digits, `rport` before or after the branch
VIA_PLAIN: Final = re.compile(
    rb"SIP/2\.0/([A-Z]++) ([a-z0-9.\-]++)(?::([0-9]{1,5}+))?+"
    rb"(;rport)?+;branch=([" + TOKEN_CHARS + rb"]++)(;rport)?+\Z"
)

# (name-addr / addr-spec) *( SEMI param ): groups are quoted display name, token display name, URI in <>,
# bare URI, parameters with their leading ";". A bare URI has no parameters or headers of its own (§20.10).
NAME_ADDR: Final = re.compile(
    WS + rb"(?:(?:(" + QUOTED + rb")" + WS + rb"|([" + TOKEN_CHARS + rb" \t]*+))<([^<>\"\x00-\x20]++)>"
    rb"|([A-Za-z][A-Za-z0-9+.\-]*+:[^<>\";? \t\x00-\x1f,]++))" + WS + rb"(;.*+)?+\Z",
    re.DOTALL,
)

# SEMI token [ EQUAL (token / host / quoted-string) ]
PARAMETER: Final = re.compile(
    rb";"
    + WS
    + rb"(["
    + TOKEN_CHARS
    + rb"]++)"
    + WS
    + rb"(?:="
    + WS
    + rb"("
    + QUOTED
    + rb"|[^;,\"<>\s]++)"
    + WS
    + rb")?+",
    re.DOTALL,
)

# A stretch of a header value in which neither "," nor ";" separates: quoted strings, <> and everything else
LIST_ITEM: Final = re.compile(rb'(?:[^,"<]|' + QUOTED + rb"|<[^<>]*+>)*+", re.DOTALL)
