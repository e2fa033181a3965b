"""`Dataset`: a user's rows, found to be sound and ready to be trained on."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from kaito_trainer.contract import Problem, TrainingConfig, train_rows

from ..chat import ChatTemplate, RenderError
from ..errors import DatasetError
from .measure import Digest, Lengths, lengths, repeated
from .shapes import Format, Shape

if TYPE_CHECKING:
    from .batches import Batch
    from .sources import Source

HEAD: Final = 3
"""Rows kept for looking at."""

SMALL: Final = 8 << 20
"""Characters up to which the file is packed as well as can be, in a blink: a small file may fit into a ConfigMap."""

_LEVELS: Final = (9, 1)
"""zstd's, of small and of large data. On English text 1 gives three quarters of snappy's size in the same time."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """Rows that have been read once and checked, in one of the formats that KAITO trains on.

    Keeps a reference to the user's data, never a copy: `write` and `sample` go through it again.
    """

    name: str
    """What the user calls the data: a variable's or a file's name."""
    format: Format
    """`conversational`, `instruction` or `text`."""
    rows: int
    fingerprint: str
    """SHA-256 of the content, 64 hexadecimal digits: the same for the same texts, whatever index, types or file they come in."""
    lengths: Lengths
    """In characters."""
    columns: tuple[str, ...]
    """Of the file: `messages`, or `prompt` and `completion`, or `text`."""
    notes: tuple[str, ...]
    """Choices made: how columns were read, and what was left out."""
    warnings: tuple[Problem, ...]
    """What may be unwanted, but can be trained on."""
    _source: Source
    _shape: Shape
    _head: tuple[dict[str, Any], ...]
    """The first rows, kept for looking at."""
    model: str | None = None
    """Whose chat template the repr uses."""
    template: ChatTemplate | None = None
    config: TrainingConfig | None = None
    """Whose split the repr shows."""
    everything: bool = False
    """Whether the loss counts all of a row's text, not the answers alone."""
    trouble: str = ""
    """Why the model's template cannot be shown, when that is known."""

    @classmethod
    def read(
        cls,
        data: Any,
        *,
        messages_column: str | None = None,
        prompt_column: str | None = None,
        completion_column: str | None = None,
        text_column: str | None = None,
        name: str = "data",
    ) -> Dataset:
        """Look through all rows once: which format they have, and everything that is wrong with them.

        `data` is a pandas DataFrame, a pyarrow Table, a Hugging Face Dataset, anything with `__arrow_c_stream__` (polars,
        duckdb), or the path of a csv, json, jsonl or parquet file. Columns are found by their names and values, or said
        by the `*_column` options. `name` is what messages call the data. Raises `DatasetError` with all problems.
        """
        import pyarrow as pa

        from .shapes import Asked, choose
        from .sources import open_source, refused

        try:
            source = data._source if isinstance(data, Dataset) else open_source(data, name)
            asked = Asked(messages_column, prompt_column, completion_column, text_column)
            shape = choose(source.columns, source.peek(), asked, name)
            if isinstance(shape, list):
                raise DatasetError([*shape, *source.problems()])
            return cls._checked(source, shape, name)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise refused(
                name, f"it cannot be read: {text}.", "Is it whole, and what its type or ending says?"
            ) from error

    @classmethod
    def _checked(cls, source: Source, shape: Shape, name: str) -> Dataset:
        from .batches import SCHEMAS
        from .findings import Defect, Findings, code

        findings, digest, extra = Findings(), Digest(), set[str]()
        characters, hashes, head, glued = [], [], None, 0
        for start, part in _batches(source, shape):
            for which, defect in part.defects():
                findings.add(source.columns[shape.columns[which]], start, [defect])
            head = head or part
            part.feed(digest)
            characters.append(part.characters())
            hashes.append(part.hashes())
            extra |= part.extra
            glued += part.glued()
        frame = name if source.frame and name.isidentifier() else ""
        used = [source.columns[i] for i in shape.columns]
        problems = source.problems() + findings.problems(source.label, frame, used)
        if not digest.rows and not problems:
            problems = [Problem(name, "it has no rows.", "Give at least one.")]
        if any(p.severity == "error" for p in problems):
            raise DatasetError(sorted(problems, key=lambda p: p.severity != "error"))
        findings = Findings()
        findings.add(name, 0, [Defect("repeated", repeated(hashes))])
        problems += findings.problems(source.label, frame, used)
        notes = list(shape.notes)
        if extra:
            notes.append(f"left out of the turns: {', '.join(map(code, sorted(extra)))}")
        if glued * 2 > digest.rows:
            notes.append(
                f"prompt and completion are one text, and in {glued:,} rows they meet without white space: "
                "a line break at the end of the prompts keeps them apart"
            )
        return cls(
            name=name,
            format=shape.format,
            rows=digest.rows,
            fingerprint=digest.hexdigest(shape.format),
            lengths=lengths(characters),
            columns=tuple(SCHEMAS[shape.format].names),
            notes=tuple(notes),
            warnings=tuple(problems),
            _source=source,
            _shape=shape,
            _head=tuple(head.arrow().slice(0, HEAD).to_pylist()) if head else (),
        )

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write all rows as one parquet file, chunk by chunk, and return its size in bytes.

        The file appears whole or not at all. Raises `DatasetError` when the data is no longer what was read.
        """
        import pyarrow.parquet as pq

        from .batches import DICTIONARIES, SCHEMAS
        from .sources import refused

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, schema = Digest(), SCHEMAS[self.format]
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        try:
            with (
                pq.ParquetWriter(
                    temporary,
                    schema,
                    compression="zstd",
                    compression_level=_LEVELS[self.lengths.total > SMALL],
                    use_dictionary=DICTIONARIES.get(self.format, False),
                    write_statistics=False,
                ) as file,
                ThreadPoolExecutor(1, "kaito-parquet") as hand,
            ):

                def store(part: Batch) -> None:
                    part.feed(digest)
                    file.write_batch(part.arrow())

                # Hashing and packing leave the interpreter free: meanwhile the next chunk is read. No more than that one.
                stored = hand.submit(lambda: None)
                for _, part in _batches(self._source, self._shape):
                    stored.result()
                    stored = hand.submit(store, part)
                stored.result()
            if digest.hexdigest(self.format) != self.fingerprint:
                raise refused(self.name, "it has changed since it was read.", "Read it again with Dataset.read.")
            size = Path(temporary).stat().st_size
            Path(temporary).chmod(0o644)  # mkstemp's 0600 would hide it from a pod's user
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return size

    def sample(self, n: int = 1) -> list[dict[str, Any]]:
        """The first `n` rows as they are trained on: `{"messages": […]}`, `{"prompt": …, "completion": …}` or `{"text": …}`."""
        if n <= len(self._head):
            return copy.deepcopy(list(self._head[:n]))
        found: list[dict[str, Any]] = []
        for _, part in _batches(self._source, self._shape):
            found += part.arrow().slice(0, n - len(found)).to_pylist()
            if len(found) >= n:
                break
        return found

    def every(self, step: int = 1) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Every `step`-th row, chunk by chunk, each with the place of its first row: what a pass over all of it needs."""
        for start, part in _batches(self._source, self._shape):
            skipped = -start % step
            if skipped < part.rows:
                chosen = part.arrow() if step == 1 else part.arrow().take(list(range(skipped, part.rows, step)))
                yield start + skipped, chosen.to_pylist()

    def split(self, config: TrainingConfig) -> tuple[int, int]:
        """Rows trained on and rows held out, by KAITO's `DatasetConfig.train_test_split`."""
        train = train_rows(config, self.rows)
        return train, self.rows - train

    def with_model(self, model: str | Path, chat_template: str | None = None) -> Self:
        """The same data, shown through a model's chat template (a folder, or an id in this machine's cache).

        `chat_template` is `ModelConfig.chat_template`, which goes before the model's own. One that only the pod has
        cannot be shown here, and the preview says so.
        """
        try:
            return replace(self, model=str(model), template=ChatTemplate.of(model, chat_template), trouble="")
        except RenderError as error:
            return replace(self, model=str(model), template=None, trouble=str(error).rstrip("."))

    def with_config(self, config: TrainingConfig, everything: bool | None = None) -> Self:
        """The same data, shown with that configuration's split, and with what its loss counts.

        `everything` says it in the config's place: KAITO's own trainer learns prompts too, whatever the config says.
        """
        if everything is None:
            t = config.TrainingArguments
            only = {"conversational": t.assistant_only_loss, "instruction": t.completion_only_loss, "text": None}
            everything = only[self.format] is False
        return replace(self, config=config, everything=everything)

    def preview(self, template: ChatTemplate | None = None) -> str:
        """The first example as the model sees it; without a template with its roles marked, and saying so."""
        from .preview import first

        example = first(self, template or self.template)
        return str(example) if example.exact else f"({example.caption})\n{example}"

    def __repr__(self) -> str:
        from .look import text

        return text(self)

    def _repr_html_(self) -> str:
        from .look import html

        return html(self)


def _batches(source: Source, shape: Shape) -> Iterator[tuple[int, Batch]]:
    from .batches import batch
    from .sources import Pace

    pace = Pace()
    for start, values in source.chunks(shape.columns, pace):
        part = batch(shape, values)
        pace.saw(part.rows, part.nbytes)
        yield start, part
