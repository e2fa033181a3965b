"""A file in a claim: through this notebook's own mount of it where it has one, else through a helper pod.

Either way the file appears whole or not at all, and what is there under the data's own name is not sent again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from kaito_trainer.contract import Problem

from ..cluster.client import Client
from ..cluster.execute import Executed
from ..cluster.refusals import Forbidden
from ..cluster.resources import CLAIMS
from ..dataset import Dataset
from ..errors import SpecError
from ..spec import DataSource, TuningSpec
from .helper import MOUNT, Helper, helper
from .mounted import place
from .parcel import Parcel, packed, short
from .progress import Say, Transfer
from .route import claim_of

PATH: Final = "tuning.input.volumeSource"
BLOCK: Final = 256 * 1024
"""Bytes of a message to the helper pod."""
_DAMAGED: Final = 65
"""Exit code of a transfer whose checksum is wrong."""
LOOK: Final = 'if [ -s "$1" ]; then sha256sum "$1"; else echo none; fi'
TAKE: Final = f"""umask 022
folder="$(dirname "$1")"
part="$folder/.part-$$"
trap 'rm -f "$part"' EXIT
head -c "$2" | {{ mkdir -p "$folder" && cat > "$part" || {{ cat > /dev/null; exit 1; }}; }} || exit 1
[ "$(sha256sum < "$part" | cut -d ' ' -f 1)" = "$3" ] || exit {_DAMAGED}
mv -f "$part" "$1"
"""
"""The input's length is given, since its end cannot be told. All of it is read, whatever fails: a server that has input left
over for a command that has ended may never say how it ended. The part's name holds no format, so that no trainer reads it."""


def put(dataset: Dataset, source: DataSource, spec: TuningSpec, client: Client, say: Say) -> bool:
    """Have the file in the claim; whether it was there already.

    Raises `SpecError` when the claim is not there or cannot be written, and `ClusterError`s.
    """
    claim, path = str(claim_of(source)), str(source.path)
    with suppress(Forbidden):
        if client.find(CLAIMS, claim, spec.namespace) is None:
            what = f"there is no claim {claim} in namespace {spec.namespace}."
            raise SpecError([Problem(f"{PATH}.persistentVolumeClaim.claimName", what, "Create it, or name another.")])
    if (here := place(client, claim, spec.namespace, path)) is not None:
        return _copied(dataset, here, claim, say)
    with helper(client, spec, claim, say) as pod:
        return _sent(dataset, pod, f"{MOUNT}/{path}", claim, say)


def _is_its_own(path: str, dataset: Dataset) -> bool:
    """Whether the path is the content's: what is there is this data, whatever program packed it."""
    return short(dataset) in Path(path).parts


def _copied(dataset: Dataset, target: Path, claim: str, say: Say) -> bool:
    """Through the mount."""
    try:
        there = target.is_file() and target.stat().st_size > 0
        if there and _is_its_own(str(target), dataset):
            return True
        with packed(dataset) as parcel:
            if there and _sha256(target) == parcel.sha256:
                return True
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=".part-", dir=target.parent)
            transfer = Transfer(say, parcel.size, f"the claim {claim}")
            try:
                with os.fdopen(handle, "wb") as file:
                    for block in _blocks(parcel, transfer):
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())  # another node is to read it
                Path(part).chmod(0o644)
                Path(part).replace(target)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _unwritable(claim, f"{target}: {error.strerror}") from error
    return False


def _sent(dataset: Dataset, pod: Helper, target: str, claim: str, say: Say) -> bool:
    """Through the helper pod."""
    looked = _done(pod.run(LOOK, target), claim).out.decode().split()
    there = looked[0] if looked and looked[0] != "none" else None
    if there and _is_its_own(target, dataset):
        return True
    with packed(dataset) as parcel:
        if there == parcel.sha256:
            return True
        transfer = Transfer(say, parcel.size, f"the claim {claim}")
        _done(pod.run(TAKE, target, str(parcel.size), parcel.sha256, stdin=_blocks(parcel, transfer)), claim)
    return False


def _blocks(parcel: Parcel, transfer: Transfer) -> Iterator[bytes]:
    with parcel.path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
            transfer(len(block))


def _done(executed: Executed, claim: str) -> Executed:
    if executed.code == _DAMAGED:
        raise _unwritable(claim, "the data arrived damaged")
    if executed.code != 0:
        last = executed.err.splitlines()[-1:] or [f"exit code {executed.code}"]
        raise _unwritable(claim, last[0].strip())
    return executed


def _unwritable(claim: str, why: str) -> SpecError:
    remedy = "Look at its access mode, its free space, and whether user 1000 may write there; or put the data elsewhere (image:REF)."
    return SpecError([Problem(PATH, f"the data could not be put into the claim {claim}: {why.rstrip('.')}.", remedy)])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["put"]
