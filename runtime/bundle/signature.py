"""Signatures of bundles: who made this, and is it unchanged? OMS v1.0, the OpenSSF's format for models, offline keys.

``model.sig`` in the bundle is a Sigstore bundle (JSON) around a DSSE envelope, whose payload is an in-toto statement
that names every file with its SHA-256 (https://github.com/sigstore/model-transparency, docs/model_signing_format.md;
https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md). Signing is model-signing's (the extra ``trust``);
verifying needs ``cryptography`` alone (the extra ``signed``), so that a device needs few packages. model-signing
verifies these signatures, and its signatures are verified here.

WAV2EDGE_TRUSTED_KEYS names public keys, or folders of them: then ``Bundle.open``, and with it everything that uses a
bundle, refuses what none of them has signed (``require_trusted``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib.util
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from .. import documents, remedies
from ..errors import BundleError, EngineError, InputError, first_line
from ..escape import is_utf8
from ..files import remove_left_over, write_whole
from .shipped import is_shipped
from .trust import MANIFEST, contained, sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from .read import Bundle

SIGNATURE = "model.sig"
TRUSTED_KEYS = "WAV2EDGE_TRUSTED_KEYS"
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MAX_KEY = 1 << 16
"""Bytes of the largest file that is read as a key; one of P-521 in PEM form has 268."""
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_MAX_BYTES = 16 << 20
_DIGESTS = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_NO_KEY = (
    "make a pair with `openssl ecparam -name prime256v1 -genkey -noout -out team.pem` and `openssl ec -in team.pem \
-pubout -out team.pub`"
)


class _PublicKey(TypedDict, total=False):
    hint: str


class _Material(TypedDict, total=False):
    publicKey: _PublicKey


class _DsseSignature(TypedDict):
    sig: str


class _Envelope(TypedDict):
    payload: str
    payloadType: str
    signatures: list[_DsseSignature]


class _SigstoreBundle(TypedDict):
    mediaType: str
    verificationMaterial: _Material
    dsseEnvelope: _Envelope


class _Subject(TypedDict):
    digest: dict[str, str]


class _Serialization(TypedDict):
    method: str
    hash_type: str


class _Resource(TypedDict):
    name: str
    algorithm: str
    digest: str


class _Predicate(TypedDict):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(TypedDict):
    _type: str
    predicateType: str
    subject: list[_Subject]
    predicate: _Predicate


def sign(bundle: Bundle, private_key: str | Path) -> Path:
    """Sign every file of a bundle with a private key (PEM, P-256, P-384 or P-521); returns the signature's path.

    A signature that is there is replaced. Raises BundleError for a damaged bundle, InputError for a key that cannot be
    used, EngineError without model-signing.
    """
    if importlib.util.find_spec("model_signing") is None:
        raise EngineError(f"signing needs model-signing; install it with `{remedies.install('trust')}`")
    for variant in bundle.variants:
        bundle.verify(variant)
    for name in bundle.files:
        bundle.file(name)
    for name in (SIGNATURE, MANIFEST):  # what a killed writer left would be signed, and then removed
        remove_left_over(bundle.directory / name)
    dict(_files(bundle.directory))  # no symbolic links
    key = Path(private_key)
    if not key.is_file():
        raise InputError(f"{key}: no such key; {_NO_KEY}")
    directory = bundle.directory.resolve()  # model-signing takes no link
    if key.resolve().is_relative_to(directory):
        raise InputError(f"{key}: this private key is in the bundle, which others get; move it elsewhere")
    content = _signature_of(directory, key)
    try:
        write_whole(bundle.directory / SIGNATURE, content)
    except OSError as error:
        raise InputError(f"{bundle.directory / SIGNATURE}: cannot be written ({error.strerror or error})") from error
    return bundle.directory / SIGNATURE


def _signature_of(directory: Path, key: Path) -> bytes:
    """The signature of every file of a directory but the signature that is there."""
    from model_signing import hashing, signing

    hashed = hashing.Config()  # type: ignore[no-untyped-call]
    # Its paths are relative to the model's folder.
    hashed.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / SIGNATURE
        try:
            signer = signing.Config()  # type: ignore[no-untyped-call]
            signer.use_elliptic_key_signer(private_key=key)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{key}: not a private key that signs ({first_line(error)}): it must be PEM without a password, of the "
                f"curve P-256, P-384 or P-521; {_NO_KEY}"
            ) from error
        try:
            signer.set_hashing_config(hashed).sign(directory, made)
            return made.read_bytes()
        except (OSError, ValueError) as error:
            raise BundleError(f"{directory}: cannot be signed ({first_line(error)})") from error


def verify(directory: Path, public_keys: Sequence[Path]) -> Path:
    """Check that one of the keys has signed the bundle, and that no file was changed, added or removed since.

    public_keys: PEM files. Returns the key. Raises BundleError for a bundle that is not signed, by another key, or
    changed; InputError for a key that cannot be read; EngineError without cryptography.
    """
    return _verified(directory, public_keys)[0]


def _verified(directory: Path, public_keys: Sequence[Path]) -> tuple[Path, dict[str, str]]:
    """The key of ``verify``, and the signed digests by the files' names."""
    keys = [(path, _load(path)) for path in public_keys]
    if not os.path.lexists(directory / SIGNATURE):
        raise BundleError(f"{directory}: it is not signed; sign it with `wav2edge sign BUNDLE --key KEY.pem`")
    signature, _ = contained(directory, SIGNATURE)
    where = f"{signature}: not a signature of a model (OMS v1.0)"
    document = documents.read(signature, _SigstoreBundle, "a signature", max_bytes=_MAX_BYTES, error=BundleError)
    envelope = document["dsseEnvelope"]
    if document["mediaType"] != _MEDIA_TYPE or envelope["payloadType"] != _PAYLOAD_TYPE:
        raise BundleError(f"{where}: it is of another kind; sign the bundle again")
    if len(envelope["signatures"]) != 1:
        raise BundleError(f"{where}: it holds {len(envelope['signatures'])} signatures instead of one")
    payload = _decoded(envelope["payload"], where)
    signed = _decoded(envelope["signatures"][0]["sig"], where)
    for path, key in keys:
        if _signed_by(key, signed, payload):
            resources = _resources(payload, where)
            _check_files(directory, resources)
            return path, resources
    names = ", ".join(str(path) for path in public_keys)
    raise BundleError(f"{directory}: it is not signed by {names}, or its signature was changed; do not trust it")


def require_trusted(bundle: str | Path, manifest: bytes) -> None:
    """Refuse a bundle that no key in WAV2EDGE_TRUSTED_KEYS has signed; without the variable every bundle is accepted.

    manifest: its bundle.json as it was read, whose digests everything else is checked by: it must be the signed one.
    The bundles that ship are part of the program and always accepted. Raises as ``verify``, and InputError where
    the variable names no key.
    """
    named = os.environ.get(TRUSTED_KEYS)
    if named is None or is_shipped(Path(bundle)):
        return
    keys = [key for entry in named.split(os.pathsep) if entry for key in _public_keys(Path(entry))]
    if not keys:
        raise InputError(f"{TRUSTED_KEYS} names no public key: set it to .pub files or folders of them, or unset it")
    _, signed = _verified(Path(bundle), keys)
    if signed.get(MANIFEST) != hashlib.sha256(manifest).hexdigest():
        raise BundleError(f"{bundle}: {MANIFEST} was changed while it was opened; do not trust it")


def _public_keys(entry: Path) -> Sequence[Path]:
    return sorted(entry.glob("*.pub")) if entry.is_dir() else [entry]


def _load(path: Path) -> EllipticCurvePublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise EngineError(f"signatures need cryptography; install it with `{remedies.install('signed')}`") from None
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY + 1)
        if len(content) > _MAX_KEY:
            raise ValueError("too large")
        key = load_pem_public_key(content)
    except OSError as error:
        raise InputError(f"{path}: the public key cannot be read ({error.strerror or error})") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: not a public key in PEM form; {_NO_KEY}") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _DIGESTS:
        raise InputError(f"{path}: keys of the curves P-256, P-384 and P-521 sign models; {_NO_KEY}")
    return key


def _signed_by(key: EllipticCurvePublicKey, signature: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    digests = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}
    kind = _PAYLOAD_TYPE.encode()
    # DSSE's pre-authentication encoding: what is signed is the type and the content with their lengths.
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    try:
        key.verify(signature, message, ECDSA(digests[_DIGESTS[key.curve.name]]))
    except InvalidSignature:
        return False
    return True


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"{where}: {first_line(error)}") from error


def _resources(payload: bytes, where: str) -> dict[str, str]:
    """The signed files with their digests, from a statement whose signature is right."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: {first_line(error)}") from error
    statement = documents.check(value, _Statement, where, error=BundleError)
    predicate = statement["predicate"]
    if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
        raise BundleError(f"{where}: its statement is {statement['predicateType']!r}; sign the bundle again")
    serialization = predicate["serialization"]
    if (serialization["method"], serialization["hash_type"]) != ("files", "sha256"):
        raise BundleError(f"{where}: digests of {serialization['method']} by {serialization['hash_type']} are not read")
    root = hashlib.sha256()
    for resource in predicate["resources"]:
        try:
            root.update(bytes.fromhex(resource["digest"]))
        except ValueError:
            raise BundleError(f"{where}: {resource['digest'][:80]!r} is not a digest") from None
    if [subject["digest"].get("sha256") for subject in statement["subject"]] != [root.hexdigest()]:
        raise BundleError(f"{where}: its digests contradict each other")
    return {resource["name"]: resource["digest"] for resource in predicate["resources"]}


def _check_files(directory: Path, signed: dict[str, str]) -> None:
    there = dict(_files(directory))
    if added := sorted(there.keys() - signed.keys()):
        raise BundleError(f"{directory / added[0]}: was added after the bundle was signed; do not trust it")
    if missing := sorted(signed.keys() - there.keys()):
        raise BundleError(f"{directory / missing[0]}: was signed and is missing; copy the whole directory again")
    for name, path in there.items():
        if sha256(path) != signed[name]:
            raise BundleError(f"{path}: was changed after the bundle was signed; do not trust it")


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file of a bundle but the signature, by its name in the bundle; raises BundleError for what is not plain."""
    for folder, folders, names in os.walk(directory):
        for name in sorted([*folders, *names]):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise BundleError(f"{path}: is not a plain file; a signed bundle holds its files itself")
            if not is_utf8(name):
                raise BundleError(f"{path}: its name is not UTF-8, which a signature cannot hold; remove or rename it")
            relative = path.relative_to(directory).as_posix()
            if stat.S_ISREG(mode) and relative != SIGNATURE:
                yield relative, path
