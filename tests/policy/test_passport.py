"""PASSporTs: signed so that openssl believes them, and believed only when all of it holds."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given
from hypothesis import strategies as st

from policy.passport import FRESH_SECONDS, MOST_PASSPORTS, Signer, Trusted, Verifier
from tests.certificates import Authority
from tests.openssl import Passport

X5U = "https://cert.example.org/shaken.pem"
NOW = 1_790_000_000
ORIG, DEST, DIVERTING = "442071838750", "12025550123", "442071838751"
ORIGID = "123e4567-e89b-12d3-a456-426655440000"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return Authority(tmp_path_factory.mktemp("stir")).issue("shaken")


@pytest.fixture(scope="module")
def signer(files: dict[str, str]) -> Signer:
    key = load_pem_private_key(Path(files["key_file"]).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Signer(key, X5U, 0, NOW + 1000)


@pytest.fixture(scope="module")
def verifier(files: dict[str, str]) -> Verifier:
    key = load_pem_x509_certificate(Path(files["certificate_file"]).read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return Verifier({X5U: Trusted(key, 0, NOW + 1000)})


def shaken(signer: Signer, **changes: Any) -> str:
    fields = {"attest": "A", "orig": ORIG, "dest": DEST, "origid": ORIGID, "iat": NOW} | changes
    return signer.shaken(**fields).decode()


def test_shaken_is_what_rfc_8588_wants_and_openssl_believes_it(signer, files, tmp_path) -> None:
    passport = Passport.of(shaken(signer))

    assert passport.header == {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U}
    assert passport.payload == {
        "attest": "A", "dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "origid": ORIGID,
    }  # fmt: skip
    assert passport.parameters == {"info": f"<{X5U}>", "alg": "ES256", "ppt": "shaken"}
    assert passport.holds(files["certificate_file"], tmp_path)


def test_claims_are_in_lexicographic_order_without_whitespace(signer) -> None:
    """RFC 8225 §9: so that others make the same bytes of the same claims."""
    for value in (shaken(signer), signer.div(ORIG, DIVERTING, DEST, NOW).decode()):
        for part in value.split(";")[0].split(".")[:2]:
            text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
            assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_div_names_who_diverted(signer, files, tmp_path) -> None:
    passport = Passport.of(signer.div(ORIG, DIVERTING, DEST, NOW).decode())

    assert passport.header["ppt"] == passport.parameters["ppt"] == "div"
    assert passport.payload == {
        "dest": {"tn": [DEST]}, "div": {"tn": DIVERTING}, "iat": NOW, "orig": {"tn": ORIG},
    }  # fmt: skip
    assert passport.holds(files["certificate_file"], tmp_path)


def test_openssl_does_not_believe_another_key(signer, tmp_path) -> None:
    other = Authority(tmp_path).issue("other")

    assert not Passport.of(shaken(signer)).holds(other["certificate_file"], tmp_path)


def test_certificate_that_is_over_signs_nothing(signer) -> None:
    assert signer.may_sign(NOW)
    assert not signer.may_sign(NOW + 1001)
    assert not signer.may_sign(-1)


def test_what_was_signed_holds(signer, verifier) -> None:
    assert verifier.fault([shaken(signer)], ORIG, [DEST], NOW) is None
    assert verifier.fault([shaken(signer).replace("ppt=shaken", 'ppt="shaken"')], ORIG, [DEST], NOW) is None


def test_chain_of_diversions_holds(signer, verifier) -> None:
    first = shaken(signer, dest=DIVERTING)
    div = signer.div(ORIG, DIVERTING, DEST, NOW).decode()

    assert verifier.fault([first, div], ORIG, [DEST], NOW) is None
    assert verifier.fault([div, first], ORIG, [DEST], NOW) is None
    assert verifier.fault([first], ORIG, [DEST], NOW) is not None
    assert verifier.fault([div], ORIG, [DEST], NOW) is not None


@pytest.mark.parametrize(
    ("orig", "dests", "later", "why"),
    [
        (DEST, [DEST], 0, "another caller"),
        (ORIG, [DIVERTING], 0, "to this number"),
        (ORIG, [DEST], FRESH_SECONDS + 1, "not of now"),
        (ORIG, [DEST], -FRESH_SECONDS - 1, "not of now"),
        (ORIG, [DEST], 2000, "not valid now"),
    ],
)
def test_what_does_not_fit_the_call_is_not_believed(signer, verifier, orig, dests, later, why) -> None:
    assert why in (verifier.fault([shaken(signer)], orig, dests, NOW + later) or "")


def b64(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


HEAD = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": X5U}


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "nonsense",
        f"{b64(HEAD)}..{b64('x')};info=<{X5U}>",
        f"{b64(HEAD)}.{b64({})}.{b64('short')};info=<{X5U}>",
        f"{b64(HEAD | {'alg': 'none'})}.{b64({})}.AAAA;info=<{X5U}>",
        f"{b64(HEAD | {'alg': 'HS256'})}.{b64({})}.AAAA;info=<{X5U}>",
        f"{b64(HEAD | {'x5u': 'https://evil.example/x.pem'})}.{b64({})}.AAAA;info=<https://evil.example/x.pem>",
        f"{b64(HEAD | {'x5u': ['x']})}.{b64({})}.AAAA;info=<{X5U}>",
        f"{b64(['x'])}.{b64({})}.AAAA;info=<{X5U}>",
        f"{b64(HEAD)}.{b64({})}.{'A' * 86};info=<{X5U}>",
        f"{b64(HEAD)}.{b64({})}.{'A' * 86}",
        base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + f".e30.AAAA;info=<{X5U}>",
        "A.A.A;x",
        "a" * 9000,
    ],
)
def test_what_is_no_sound_passport_is_not_believed(signer, verifier, identity: str) -> None:
    assert verifier.fault([identity], ORIG, [DEST], NOW) is not None
    assert verifier.fault([shaken(signer), identity], ORIG, [DEST], NOW) is not None


def test_unknown_kinds_are_left_out_of_account(signer, verifier) -> None:
    other = f"{b64(HEAD | {'ppt': 'rph'})}.{b64({})}.AAAA;info=<{X5U}>"

    assert verifier.fault([other, shaken(signer)], ORIG, [DEST], NOW) is None
    assert verifier.fault([other], ORIG, [DEST], NOW) == "no Identity of the kind shaken"


def test_any_changed_byte_is_noticed(signer, verifier) -> None:
    value = shaken(signer)
    end = value.index(";")
    for at in range(0, end, 7):
        for char in "AB":
            if value[at] not in (".", char):
                changed = value[:at] + char + value[at + 1 :]
                assert verifier.fault([changed], ORIG, [DEST], NOW) is not None, at


def test_others_addresses_are_not_believed(signer, verifier) -> None:
    value = shaken(signer).replace(f"info=<{X5U}>", "info=<https://evil.example/x.pem>")

    assert "not trusted" in (verifier.fault([value], ORIG, [DEST], NOW) or "")
    assert "not trusted" in (Verifier({}).fault([shaken(signer)], ORIG, [DEST], NOW) or "")


def test_too_many(signer, verifier) -> None:
    assert verifier.fault([shaken(signer)] * MOST_PASSPORTS, ORIG, [DEST], NOW) is None
    assert verifier.fault([shaken(signer)] * (MOST_PASSPORTS + 1), ORIG, [DEST], NOW) is not None


@given(st.text(max_size=60))
def test_never_raises(text: str) -> None:
    assert Verifier({}).fault([text], ORIG, [DEST], NOW) is not None
