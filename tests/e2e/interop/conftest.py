"""What the tests with other people's programs share: certificates, and one proxy on UDP, TCP and TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.certificates import Certificates, issue_for

ADDRESSES = ("127.0.0.1", "127.0.0.10", "127.0.0.100")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    """One certificate for every address of these tests."""
    return issue_for(tmp_path_factory.mktemp("certificates"), ADDRESSES)


@pytest.fixture(scope="module")
def trusted(certificates: Certificates) -> Iterator[Certificates]:
    """Programs that are started while this lasts trust the tests' authority."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificates.authority))
        yield certificates
