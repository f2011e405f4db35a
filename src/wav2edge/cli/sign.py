"""``wav2edge sign BUNDLE --key KEY.pem``: sign a bundle, so that others can tell that it is yours and unchanged."""

from __future__ import annotations

from . import _options, _terminal
from ._command import command, option


@command("wav2edge sign my-bundle --key team.pem")
@_options.bundle_argument("bundle to sign", embedded=False)
@option("--key", "private key: PEM, curve P-256, P-384 or P-521", metavar="KEY.pem", required=True, type=_options.FILE)
def run(bundle: str | None, model: str | None, key: str) -> None:
    """Sign a bundle, so that others can tell that it is yours and unchanged.

    The signature is model.sig in the bundle, in the format of OpenSSF Model Signing 1.0, made offline with your key.
    Anyone with the public key can check it with `wav2edge verify-bundle` or the program model_signing.
    """
    from wav2edge.runtime.bundle import signature

    opened = _options.named(bundle, model)
    path = signature.sign(opened, key)
    _terminal.out(f"{path}: signed; check it with: wav2edge verify-bundle {opened.path} --key PUBLIC-KEY")
