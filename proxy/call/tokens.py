"""What our Record-Route carries: the call's ref, signed for one side of the call.

The called side is shown one token, the calling side another. A request within the dialog proves by its token
which side it is of: all else in it (tags, Call-ID, CSeq, even the source address over UDP) the other side
knows or can forge.
"""

from __future__ import annotations

import base64
from hashlib import blake2b

# 72 bits a side. A multiple of three bytes fills its base64 exactly, so that one signature can be cut in two.
_SIGNATURE_BYTES = 9
# The key signs other things, too.
_PURPOSE = b"sides of a call"


def tokens_of(ref: str, key: bytes) -> tuple[bytes, bytes]:
    """(the called side's token, the calling side's), of one length. Every instance that has the key gets the
    same two for a ref; neither tells the other."""
    raw = ref.encode("ascii")
    if len(key) > blake2b.MAX_KEY_SIZE:
        key = blake2b(key).digest()
    signature = blake2b(raw, key=key, digest_size=2 * _SIGNATURE_BYTES, person=_PURPOSE).digest()
    text = base64.urlsafe_b64encode(signature)
    half = len(text) // 2
    return raw + b"." + text[:half], raw + b"." + text[half:]
