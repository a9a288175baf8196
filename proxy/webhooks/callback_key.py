"""The key that signs a customer's callbacks. Each has one of its own: whoever knows one can sign nothing that
another customer would believe."""

from __future__ import annotations

import hashlib
import hmac


def callback_key(secret: str, owner: str) -> str:
    """Hexadecimal HMAC-SHA256 of `owner`, as `proxy.objects.owners` names one, by `callback_secret`."""
    return hmac.new(secret.encode(), owner.encode(), hashlib.sha256).hexdigest()
