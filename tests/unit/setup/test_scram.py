"""The verifier of RFC 7677's example."""

import base64

from libs.common.scram import scram_verifier


def test_the_rfc_example() -> None:
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_the_salt_is_drawn_anew() -> None:
    assert scram_verifier("pencil") != scram_verifier("pencil")
