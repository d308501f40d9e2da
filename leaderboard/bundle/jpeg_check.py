"""Pictures from strangers: a few small JPEG files, opened and measured before they may lie on a page."""

from __future__ import annotations

from collections.abc import Mapping

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.leaderboard.bundle.pack import MOST_STRIPS, PICTURES, STRIPS

MOST_SIDE = 8192
MOST_PIXELS = 12_000_000


def check_pictures(pictures: Mapping[str, bytes], benchmark: Benchmark, where: str) -> None:
    """Looks at strips/<video>/{image,labels,prediction}.jpg.

    Args:
        pictures: name to bytes.
        benchmark: whose videos they may show.
        where: the bundle, for messages.

    Raises:
        DataError: too many, of another video, one missing beside its sisters, or one that is no JPEG of a sane size.
    """
    videos = {name.split("/")[1] for name in pictures}
    if len(videos) > MOST_STRIPS:
        raise DataError(
            f"{where}: expected pictures of at most {MOST_STRIPS} videos, got {len(videos)}. Leave some out"
        )
    strange = sorted(videos - benchmark.by_id.keys())
    if strange:
        raise DataError(f"{where}: {benchmark.name} has no video {strange[0][:60]!a} to show. Leave it out")
    names = sorted(f"{STRIPS}/{video}/{picture}" for video in videos for picture in PICTURES)
    for name in names:
        if name not in pictures:
            raise DataError(f"{where}: {name} is missing beside its sisters. Pack the bundle anew")
    for name in names:
        try:
            with open_image(pictures[name], ("JPEG",)) as image:
                if max(image.size) > MOST_SIDE or image.size[0] * image.size[1] > MOST_PIXELS:
                    raise ValueError(f"it is {image.size[0]}x{image.size[1]} pixels")
                image.load()
        except BROKEN as error:
            raise DataError(f"{where}: {name} is no JPEG picture of a sane size: {error}. Leave it out") from error
