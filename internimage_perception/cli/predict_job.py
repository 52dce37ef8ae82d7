"""Labelling many pictures: reading ahead and writing behind while the network works."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.cli.predict_folder import PredictionFolder
from internimage_perception.cli.predict_lens import Lens
from internimage_perception.cli.predict_networks import Network
from internimage_perception.cli.predict_source import Pictures
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ImageError, PerceptionError
from internimage_perception.evaluation.confusion import ConfusionMatrix

Bytes = npt.NDArray[np.uint8]

# Per thread: pictures that are read before they are asked for, and masks that wait to be written.
_AHEAD = 2


@dataclass
class JobResult:
    """What came of it.

    Attributes:
        before: pictures that an earlier run had labelled.
        failed: names of the pictures left out, each with the reason.
        scored: pictures that were compared with their labels.
    """

    before: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    scored: int = 0


class PredictionJob:
    """Labels pictures into a folder, those that are not there yet.

    Args:
        pictures: to label.
        network: labels them.
        folder: for the outputs.
        lens: what the pictures show; None: everything.
        score: counts the pixels of labelled pictures, those done earlier included; None: nothing is counted.
    """

    def __init__(
        self,
        pictures: Pictures,
        network: Network,
        folder: PredictionFolder,
        lens: Lens | None = None,
        score: ConfusionMatrix | None = None,
    ) -> None:
        self._pictures, self._network, self._folder = pictures, network, folder
        self._lens, self._score = lens, score

    def run(
        self, workers: int = 1, on_picture: Callable[[int, int], None] = lambda _done, _total: None
    ) -> JobResult:
        """Label what is missing.

        Args:
            workers: threads that read and write beside the network; the result does not depend on it.
            on_picture: called with how many pictures are finished, and of how many; first with those of an
                earlier run.

        Raises:
            PerceptionError: the folder cannot be written.
        """
        names = self._pictures.names
        there = [self._folder.done(name) for name in names]
        # Those that are there are read again only to be counted.
        tasks = [index for index in range(len(names)) if self._score is not None or not there[index]]
        result = JobResult(before=sum(there))
        done = len(names) - len(tasks)
        on_picture(done, len(names))
        pool = ThreadPoolExecutor(workers)
        try:
            writing: deque[Future[None]] = deque()
            for number, (index, reading) in enumerate(self._read_ahead(pool, tasks, workers), start=1):
                try:
                    sample = reading.result()
                    ids, confidence = self._label(sample, names[index], known=there[index])
                    self._count(sample, ids, result)
                except PerceptionError as error:
                    result.failed[names[index]] = str(error)
                else:
                    if confidence is not None:
                        writing.append(pool.submit(self._folder.write, names[index], ids, confidence))
                while len(writing) > _AHEAD * workers:
                    writing.popleft().result()
                on_picture(done + number, len(names))
            while writing:
                writing.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
        return result

    def _read_ahead(
        self, pool: ThreadPoolExecutor, tasks: Sequence[int], workers: int
    ) -> Iterator[tuple[int, Future[Sample]]]:
        reading: deque[tuple[int, Future[Sample]]] = deque()
        for index in tasks:
            reading.append((index, pool.submit(self._pictures.read, index)))
            if len(reading) > _AHEAD * workers:
                yield reading.popleft()
        while reading:
            yield reading.popleft()

    def _label(self, sample: Sample, name: str, *, known: bool) -> tuple[Bytes, Bytes | None]:
        """Return class ids and confidence, or the class ids that are there already, and None."""
        size = (sample.image.shape[0], sample.image.shape[1])
        if known:
            return self._folder.read(name, size), None
        blind = None if self._lens is None else self._lens.blind(size)
        ids, confidence = self._network.label(sample.image)
        if blind is not None:
            # 255 or anything is 255; 0 leaves the class as it is.
            ids, confidence = np.bitwise_or(ids, blind), np.bitwise_and(confidence, np.bitwise_not(blind))
        return ids, confidence

    def _count(self, sample: Sample, ids: Bytes, result: JobResult) -> None:
        if self._score is None or sample.labels is None:
            return
        truth = sample.labels
        if self._lens is not None:
            # What the lens does not see is asked of nobody.
            truth = np.bitwise_or(truth, self._lens.blind((ids.shape[0], ids.shape[1])))
        try:
            self._score.add(truth, ids)
        except ValueError as error:
            raise ImageError(f"the masks cannot be counted: {error}") from error
        result.scored += 1
