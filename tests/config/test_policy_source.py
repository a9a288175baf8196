from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.model import Config
from config.policy_source import KINDS, PolicyConfig, RateDeckRef


def test_the_file_is_the_policy_unless_it_says_otherwise() -> None:
    assert PolicyConfig().source == "file"
    assert set(KINDS) <= set(Config.model_fields)


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 65, "G" * 64, 7])
def test_digests(digest: object) -> None:
    assert RateDeckRef(sha256="0" * 64).file is None
    with pytest.raises(ValidationError):
        RateDeckRef.model_validate({"sha256": digest})
