"""Options that several methods share; each field is an `--option` of every method whose build takes its group."""

from __future__ import annotations

from dataclasses import dataclass

from ovsbench.gkc_video.tracking import DEFAULT, Association, association


@dataclass(frozen=True)
class Wording:
    """How a CLIP is opened and asked.

    Attributes:
        clip_model: open_clip architecture, such as "ViT-B-32-quickgelu"; the weights are then an open_clip tag or file.
        clip_tag: open_clip tag whose weights a file holds, which decides their activation and the colours' statistics.
        prompt: templates with {} for the name, parted by |; their vectors are averaged.
        synonyms: whether a class may also be recognised by its synonyms.
    """

    clip_model: str | None = None
    clip_tag: str | None = None
    prompt: str = "{}"
    synonyms: bool = False


@dataclass(frozen=True)
class Linking:
    """How the regions of a frame-wise method are linked over time; see `ovsbench.gkc_video.tracking`.

    Attributes:
        association: name of the association.
        vote: whether class scores are averaged along a track.
        max_age_seconds: for how long an unseen object is kept; by default as the association has it.
        delay: frames that an answer waits for later votes; 0 answers at once, which is online.
        propagate: frames in a row for which an object that is missed keeps its mask, moved to where the pictures match;
            0 for none.
    """

    association: str = DEFAULT
    vote: bool = True
    max_age_seconds: float | None = None
    delay: int = 0
    propagate: int = 0

    @property
    def settings(self) -> Association:
        """What the options say.

        Raises:
            MethodError: no such association, or a negative number of frames.
        """
        return association(
            self.association, vote=self.vote, max_age_seconds=self.max_age_seconds, propagate=self.propagate
        )
