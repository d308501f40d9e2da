"""The embedded world's "web data": pictures of single things and materials with captions, and no masks.

A teacher learns from them what every word of the world looks like, the novel ones too, as CLIP did from the web.
Most pictures are cut-outs on a plain backdrop, as in catalogues; the others show their surroundings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.pictures.crops import GREY, cut_out
from ovsbench.benchmark.storage.files import whole_folder, writing
from ovsbench.benchmark.types import Image, PanopticFrame, Vocabulary
from ovsbench.data_prep.world.cast import cast_of
from ovsbench.data_prep.world.stage import Stage, set_stage
from ovsbench.data_prep.world.words import FILL_WORDS, SHAPE_WORDS, STUFF_WORDS, Stuff, Thing, World, load_world

SIDE = 64
"""Height and width of a picture."""
COLUMNS, ROWS = 32, 16
"""Pictures on a sheet."""
_TEMPLATES = ("{}", "a photo of a {}", "a picture of a {}", "one {}", "a {} in the scene", "a close-up of a {}")
_STUFF_TEMPLATES = ("{}", "a photo of {}", "a surface of {}", "some {}", "a patch of {}", "{} all over")
_FRAME = (192, 320)
_SMALLEST = 260  # pixels of the frame; in a cut-out less cannot be recognised
_MENTIONED = 110  # pixels of the frame; less is left out of its sentence


def captions_of(thing: Thing | Stuff, rng: np.random.Generator, count: int) -> list[str]:
    """Random captions: plain words or synonyms, sometimes only the fill or only the shape."""
    captions = []
    for _ in range(count):
        if isinstance(thing, Stuff):
            word = str(rng.choice((thing.name, thing.name, *STUFF_WORDS[thing.name])))
            template = str(rng.choice(_STUFF_TEMPLATES))
        else:
            fill = str(rng.choice((thing.fill, thing.fill, *FILL_WORDS[thing.fill])))
            shape = str(rng.choice((thing.shape, thing.shape, *SHAPE_WORDS[thing.shape])))
            word = str(rng.choice([f"{fill} {shape}", shape, f"{fill} thing"], p=[0.84, 0.08, 0.08]))
            template = str(rng.choice(_TEMPLATES))
        captions.append(template.format(word))
    return captions


def frame_caption(vocabulary: Vocabulary, frame: PanopticFrame, rng: np.random.Generator) -> str:
    """One sentence about a whole frame: what is large enough in it, by names or synonyms, things before stuff."""
    said: dict[bool, list[str]] = {True: [], False: []}
    for track, segment in frame.segments.items():
        if (frame.ids == track).sum() >= _MENTIONED:
            category = vocabulary.by_id[segment.category]
            word = str(rng.choice((category.name, category.name, *category.synonyms)))
            said[category.is_thing].append(f"a {word}" if category.is_thing else word)
    return " on ".join(filter(None, (", ".join(said[True]), " and ".join(said[False])))) or "nothing"


def _pictures(scene: Stage, rng: np.random.Generator) -> Iterator[tuple[Image, Thing | Stuff]]:
    image, frame = scene.frame(int(rng.integers(0, 40)))
    owners = scene.owners
    for track in frame.segments:
        mask = frame.ids == track
        owner = owners[track]
        if mask.sum() < _SMALLEST or (isinstance(owner, Stuff) and rng.random() < 0.5):
            continue
        style = rng.random()
        backdrop = GREY if style < 0.75 else None if style < 0.85 else tuple(int(c) for c in rng.integers(0, 256, 3))
        yield cut_out(image, mask, SIDE, backdrop), owner  # type: ignore[arg-type]


def draw_pictures(world: World, count: int, seed: int) -> Iterator[tuple[Image, list[str]]]:
    """`count` pictures, uint8 (SIDE, SIDE, 3), each with three captions; the same seed draws the same."""
    made, number = 0, 0
    while made < count:
        rng = np.random.default_rng([seed, 0xCA, number])
        scene = set_stage(cast_of(world, seed, 0xCA, number), _FRAME, rng)
        number += 1
        for picture, owner in _pictures(scene, rng):
            if made < count:
                made += 1
                yield picture, captions_of(owner, rng, 3)


def build_captions(folder: Path, *, pictures: int, seed: int = 0) -> Path:
    """Writes `sheet-000.jpg`, ... (32 x 16 pictures each) and `captions.jsonl`, a line for each picture.

    Raises:
        DataError: the folder exists and is not empty, or there is nothing to draw.
    """
    if pictures < 1 or seed < 0:
        raise DataError(
            f"expected at least one picture and a seed of 0 or more, got {pictures} and {seed}. Correct them"
        )
    with whole_folder(folder) as partial, writing(folder):
        _write(partial, pictures, seed)
    return folder


def _write(folder: Path, pictures: int, seed: int) -> None:
    per_sheet = COLUMNS * ROWS
    sheet = np.full((ROWS * SIDE, COLUMNS * SIDE, 3), 128, np.uint8)
    lines = []
    for number, (picture, captions) in enumerate(draw_pictures(load_world(), pictures, seed)):
        page, tile = divmod(number, per_sheet)
        row, column = divmod(tile, COLUMNS)
        sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = picture
        lines.append(json.dumps({"captions": captions, "sheet": page, "tile": tile}))
        if tile == per_sheet - 1 or number == pictures - 1:
            Pillow.fromarray(sheet).save(folder / f"sheet-{page:03d}.jpg", quality=95)
            sheet[:] = 128
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
