"""A wallet's secret in a file, encrypted with a passphrase.

The file is JSON: the parameters of scrypt, which makes a key of the passphrase, and the secret under AES-256-GCM: 32
random bytes, and the seed of 64 that follows from them. The former are the entropy of a BIP-39 mnemonic of 24 words, so
that any other wallet can take over from the words; the seed is kept beside it so that the signer needs no word list.
The header is authenticated with them: a file that was tampered with does not open.
"""

import base64
import os
import stat
from collections.abc import Callable, Mapping
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chains.extended_key import HARDENED, PrivateBranch
from chains.wallet import BadKey

ENTROPY_BYTES: Final = 32
SEED_ROUNDS: Final = 2048  # as BIP-39 says
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
MIN_PASSPHRASE_CHARACTERS: Final = 12

# Of memory scrypt takes 128 * n * r bytes, here 128 MiB; a file may not ask for much more.
SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
MAX_SCRYPT_N: Final = 2**20

_FORMAT: Final = "tallystick-keystore-1"
_COIN: Final = {"mainnet": 0, "ethereum": 60}
_TEST_COIN: Final = 1


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    n: int
    r: int
    p: int
    salt: bytes
    nonce: bytes
    sealed: bytes


def seal(entropy: bytes, passphrase: str, random: Callable[[int], bytes], n: int = SCRYPT_N) -> bytes:
    """The file's content. Raises BadKey for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise BadKey(f"the passphrase has fewer than {MIN_PASSPHRASE_CHARACTERS} characters")
    salt, nonce = random(SALT_BYTES), random(NONCE_BYTES)
    empty = _Sealed(_FORMAT, n, SCRYPT_R, 1, salt, nonce, b"")
    sealed = AESGCM(_key(passphrase, empty)).encrypt(nonce, entropy + _seed(entropy), _header(empty))
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(empty, sealed=sealed))) + b"\n"


def unseal(content: bytes, passphrase: str) -> bytes:
    """The entropy. Raises BadKey."""
    return _open(content, passphrase)[:ENTROPY_BYTES]


def _open(content: bytes, passphrase: str) -> bytes:
    """Entropy and seed."""
    try:
        found = msgspec.json.decode(content, type=_Sealed)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise BadKey("the keystore is not in the form that 'tallystick wallet new' writes") from None
    if found.format != _FORMAT:
        raise BadKey("the keystore is of another version than this program reads")
    if not (1 < found.n <= MAX_SCRYPT_N and found.n & (found.n - 1) == 0 and (found.r, found.p) == (SCRYPT_R, 1)):
        raise BadKey("the keystore's scrypt parameters are not ones that this program uses")
    if (len(found.salt), len(found.nonce)) != (SALT_BYTES, NONCE_BYTES):
        raise BadKey("the keystore's salt or nonce is of the wrong length")
    try:
        return AESGCM(_key(passphrase, found)).decrypt(found.nonce, found.sealed, _header(found))
    except InvalidTag:
        raise BadKey("the passphrase is wrong, or the keystore is damaged") from None


def write(path: Path, content: bytes) -> None:
    """A new file that only its owner can read, on disk when this returns. Raises BadKey if there is one already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        raise BadKey(f"{path} exists: a keystore is never written over") from None
    except OSError as error:
        raise BadKey(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def unlock(path: Path, passphrase: str) -> PrivateBranch:
    """The master key of a keystore's file. Raises BadKey."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadKey(f"the keystore {path} cannot be read: {error.strerror}") from error
    try:
        return PrivateBranch.of_seed(_open(content, passphrase)[ENTROPY_BYTES:])
    except BadKey as error:
        raise BadKey(f"{path}: {error}") from None


def words(entropy: bytes) -> str:
    """The mnemonic: 24 words, which are the secret."""
    # They come with a library that takes a second to load, which the signer need not wait for.
    from eth_account.hdaccount.mnemonic import Mnemonic  # noqa: PLC0415 - as was just said
    from eth_account.types import Language  # noqa: PLC0415 - as was just said

    return Mnemonic(Language.ENGLISH).to_mnemonic(entropy)


def master_key(entropy: bytes) -> PrivateBranch:
    """BIP-39 without a passphrase of its own, and BIP-32."""
    return PrivateBranch.of_seed(_seed(entropy))


def _seed(entropy: bytes) -> bytes:
    return pbkdf2_hmac("sha512", words(entropy).encode("ascii"), b"mnemonic", SEED_ROUNDS)


# Paths ---------------------------------------------------------------------------------------------------------------


def account_path(chain: str, network: str = "mainnet") -> tuple[int, ...]:
    """Of the first account: BIP-84 for bitcoin, BIP-44 for ethereum."""
    if chain == "ethereum":
        return (44 + HARDENED, _COIN["ethereum"] + HARDENED, HARDENED)
    return (84 + HARDENED, _COIN.get(network, _TEST_COIN) + HARDENED, HARDENED)


def hot_path(chain: str, network: str = "mainnet") -> tuple[int, ...]:
    """Of the hot wallet's one address: the first account's first."""
    return (*account_path(chain, network), 0, 0)


def written(path: tuple[int, ...]) -> str:
    """As people write a path: m/84'/0'/0'."""
    return "/".join(["m", *(f"{each - HARDENED}'" if each >= HARDENED else str(each) for each in path)])


# The passphrase ------------------------------------------------------------------------------------------------------


def passphrase(source: str, environment: Mapping[str, str]) -> str:
    """Where the passphrase is: env:NAME, file:PATH, or credential:NAME (systemd's). Raises BadKey."""
    kind, _, name = source.partition(":")
    if kind == "env" and name:
        found = environment.get(name)
        return found or _missing(f"the environment variable {name} is not set")
    if kind == "credential" and name:
        folder = environment.get("CREDENTIALS_DIRECTORY")
        if not folder:
            _missing("systemd passes no credentials: CREDENTIALS_DIRECTORY is not set")
        return _first_line(Path(folder) / name)
    if kind == "file" and name:
        return _first_line(Path(name))
    return _missing(f"its source is {source!r}: not env:NAME, file:PATH or credential:NAME")


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _missing(f"{path} cannot be read: {error}")
    return lines[0] if lines and lines[0] else _missing(f"{path} is empty")


def _missing(why: str) -> NoReturn:
    raise BadKey(f"there is no passphrase for the keystore: {why}")


def _key(passphrase: str, parameters: _Sealed) -> bytes:
    scrypt = Scrypt(parameters.salt, 32, parameters.n, parameters.r, parameters.p)
    return scrypt.derive(passphrase.encode())


def _header(parameters: _Sealed) -> bytes:
    """What the seal covers besides the secret."""
    salt = base64.b64encode(parameters.salt).decode("ascii")
    return f"{parameters.format} {parameters.n} {parameters.r} {parameters.p} {salt}".encode()
