"""A file in an object store, and the https address under which the pod fetches it without a login.

Any store that fsspec knows and that signs addresses: Amazon's and others' S3, Google's, Azure's. Who we are there, fsspec's
own packages find out (the cloud's usual files and variables, `~/.config/fsspec`, `FSSPEC_S3_ENDPOINT_URL`, …).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kaito_trainer.contract import Problem

from ..cluster.refusals import plain
from ..dataset import Dataset
from ..errors import SpecError
from .parcel import packed, short
from .progress import Say, Transfer

PATH: Final = "tuning.input.urls[0]"
LASTS: Final = 7 * 24 * 3600
"""Seconds for which the pod may fetch the file: a run may wait for its turn over a weekend. It is the most that S3 and Google
grant."""
PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
}  # fmt: skip
"""Scheme -> what fsspec needs for it."""
_CHOICES: Final = (
    "Use a store that does (s3://, gs://, az://), or send the data another way: image:REGISTRY/NAME or pvc:CLAIM."
)


def put(dataset: Dataset, url: str, say: Say) -> bool:
    """Have the file at that address of the store; whether it was there already. Raises `SpecError`.

    Under the data's own name it is not sent again; under a name of the user's own it is, since what is there cannot be told.
    """
    fs, path = opened(url)
    with _explained(url, "write"):
        if short(dataset) in path.split("/") and fs.exists(path):
            return True
    with packed(dataset) as parcel, _explained(url, "write"):
        fs.put_file(str(parcel.path), path, callback=_callback(Transfer(say, parcel.size, url)))
        fs.invalidate_cache()
        size = fs.info(path)["size"]
    if size != parcel.size:
        what = f"{size} bytes of {parcel.size} arrived at {url}."
        raise SpecError([Problem(PATH, what, "Try again.")])
    return False


def signed(url: str) -> str:
    """The address by which a pod gets the file. Whoever knows it may read the file: it is shown to nobody. Raises `SpecError`."""
    fs, path = opened(url)
    with _explained(url, "sign"):
        if not fs.exists(path):
            raise SpecError([Problem(PATH, f"there is no {url}.", "Check its name.")])
        return str(fs.sign(path, expiration=LASTS))


def opened(url: str) -> tuple[Any, str]:
    """The file system and the path in it. Raises `SpecError` for a store that cannot be used."""
    try:
        import fsspec
        from fsspec.spec import AbstractFileSystem
    except ModuleNotFoundError:
        raise _missing(url, "fsspec") from None
    try:
        with _explained(url, "open"):
            fs, path = fsspec.core.url_to_fs(url)
    except ImportError:
        raise _missing(url, PACKAGES.get(url.partition(":")[0], "")) from None
    if type(fs).sign is AbstractFileSystem.sign:
        what = f"{url} is nothing that a pod can fetch: that kind of store gives no addresses."
        raise SpecError([Problem(PATH, what, _CHOICES)])
    return fs, path


def _missing(url: str, package: str) -> SpecError:
    names = " ".join(dict.fromkeys(n for n in ("fsspec", package) if n))
    what = f"{url.partition(':')[0]}:// needs the Python package {package or 'of its store'}, which is not installed."
    return SpecError([Problem(PATH, what, f"Install it: pip install {names}")])


@contextmanager
def _explained(url: str, verb: str) -> Iterator[None]:
    """Whatever a store's package raises, as a problem that names the address."""
    try:
        yield
    except (SpecError, ImportError):
        raise
    except NotImplementedError:
        raise SpecError([Problem(PATH, f"{url} cannot be signed.", _CHOICES)]) from None
    except Exception as error:
        said = plain(str(error)).rstrip(".") or type(error).__name__
        what = f"cannot {verb} {url}: {said}."
        remedy = "Check the name, and the login to that store (its command line tool must be able to do it)."
        raise SpecError([Problem(PATH, what, remedy)]) from error


def _callback(transfer: Transfer) -> Any:
    from fsspec.callbacks import Callback

    # Stores report either way, and some twice: the sum is what counts.
    went = 0

    def told(size: int | None, value: int, **_: Any) -> None:
        nonlocal went
        transfer(value - went)
        went = value

    return Callback(hooks={"transfer": told})


__all__ = ["LASTS", "put", "signed"]
