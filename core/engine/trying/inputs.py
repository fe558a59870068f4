"""The buyer's own inputs of a Trial: drawn from his data, committed to, kept until they are asked.

* Rows are spread evenly over the data, so that a file sorted by its labels is no other sample;
  as many as may be committed to and as fit into memory.
* What stands twice is committed to once.
* Inputs, true answers and salts lie in one file of the data folder, named by the root over them:
  file first, then the row that needs it.  They leave one by one, as queries.
* A file that no Trial names is swept.

How data are read is ``hanse.core.certify.data``'s, what a commitment is ``hanse.core.trade``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.certify.trial_outputs import write_arrays
from hanse.core.durable import make_private_folder, write_durably_with
from hanse.core.errors import EnvironmentFault, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.tree import inclusion, root_of
from hanse.core.limits import (
    PART_MS_MAX,
    TRIAL_COMMITTED_MAX,
    TRIAL_INPUT_SIZE_BYTES_MAX,
    TRIAL_INPUTS_SIZE_BYTES_MAX,
)
from hanse.core.model.trial import SALT_SIZE_BYTES
from hanse.core.trade.trial_commitment import CommittedInput, commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from hanse.core.certify.data import DataSet
    from hanse.core.clock import Chance
    from hanse.core.model.control import Control
    from hanse.core.trade.trial_commitment import Commitment

_MAGIC: Final = b"HANSEINPUTS\x01"
_SUFFIX: Final = ".inputs"
_FRAME_SIZE_BYTES: Final = TRIAL_INPUT_SIZE_BYTES_MAX + 64 * 1024  # at most


class InputsMissing(EnvironmentFault):
    """The file with a Trial's inputs is gone or changed; nothing more can be asked."""

    code = "trial.inputs_missing"
    text = "the inputs of the trial are not whole in {path}"
    fields = ("path",)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A commitment to rows of a data set; ``left_out`` counts the other rows."""

    commitment: Commitment
    left_out: int


@dataclass(frozen=True, slots=True)
class KeptInputs:
    """All inputs of one Trial with the leaves of their tree."""

    inputs: tuple[CommittedInput, ...]
    leaves: tuple[bytes, ...]

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the hashes that lead from leaf ``index`` (from 0) to the root."""
        return tuple(inclusion(self.leaves, index + 1))


def draw_inputs(dataset: DataSet, chance: Chance, control: Control) -> Drawn:
    """Write rows of a data set as inputs with their true answers, and commit to them.

    Raises ``CommitRefused`` for an input or an answer that is too large.
    """
    rows: dict[bytes, tuple[bytes, bytes]] = {}
    size = sum(array.nbytes for array in dataset.inputs.values()) // max(1, dataset.n)
    most = min(dataset.n, TRIAL_COMMITTED_MAX, max(1, TRIAL_INPUTS_SIZE_BYTES_MAX // (size + 1)))
    taken = 0
    for number in range(most):
        control.checkpoint("commit", number, most)
        row = number * dataset.n // most
        x = write_arrays({name: array[row : row + 1] for name, array in dataset.inputs.items()})
        y = str(dataset.truth[row]).encode()
        rows.setdefault(sha256(x).digest(), (x, y))
        taken += len(x)
        if taken > TRIAL_INPUTS_SIZE_BYTES_MAX:
            break
    control.checkpoint("commit", most, most)
    return Drawn(commit(rows.values(), chance), dataset.n - len(rows))


class InputFiles:
    """The kept inputs of all Trials of one data folder."""

    def __init__(self, home: Path) -> None:
        """Use the Account's data folder; nothing is made yet."""
        self._folder = home / "store" / "trials"

    def _path(self, root: bytes) -> Path:
        return self._folder / f"{root.hex()}{_SUFFIX}"

    def keep(self, commitment: Commitment) -> None:
        """Write all inputs durably."""

        def write(stream: BinaryIO) -> None:
            stream.write(_MAGIC)
            for one in commitment.inputs:
                raw = encode([one.x, one.salt_x, one.y, one.salt_y])
                stream.write(len(raw).to_bytes(4, "big") + raw)

        make_private_folder(self._folder)
        write_durably_with(self._path(commitment.root), write)

    def load(self, root: bytes) -> KeptInputs:
        """Read them back and check them against their root, or raise ``InputsMissing``."""
        path = self._path(root)
        try:
            with path.open("rb") as stream:
                inputs = tuple(_read(stream))
        except (OSError, ValueError, RejectedEntry) as error:
            raise InputsMissing(path=path) from error
        leaves = tuple(one.leaf for one in inputs)
        if root_of(leaves) != root:
            raise InputsMissing(path=path)
        return KeptInputs(inputs, leaves)

    def drop(self, root: bytes) -> None:
        """Forget the inputs under ``root``; harmless when there are none."""
        self._path(root).unlink(missing_ok=True)

    def sweep(self, wanted: Collection[bytes], now_ms: int) -> None:
        """Remove what a killed program left: files of no Trial, a day old."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            is_old = now_ms - path.stat().st_mtime_ns // 1_000_000 >= PART_MS_MAX
            if is_old and path.name.removesuffix(_SUFFIX) not in {one.hex() for one in wanted}:
                path.unlink(missing_ok=True)


def _read(stream: BinaryIO) -> Iterator[CommittedInput]:
    """Yield every input of one file; raise ``ValueError`` where it is cut or too long."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("another format")
    for _ in range(TRIAL_COMMITTED_MAX + 1):
        head = stream.read(4)
        if not head:
            return
        size = int.from_bytes(head, "big")
        raw = stream.read(size) if size <= _FRAME_SIZE_BYTES else b""
        if len(head) != 4 or len(raw) != size:
            raise ValueError("cut")
        x, salt_x, y, salt_y = decode(raw, tuple[bytes, bytes, bytes, bytes])
        if len(salt_x) != SALT_SIZE_BYTES or len(salt_y) != SALT_SIZE_BYTES:
            raise ValueError("no salt")
        yield CommittedInput(x, salt_x, y, salt_y)
    raise ValueError("too many")
