import numpy as np
import pytest

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame

pytest.importorskip("torch")
from ovsbench.baselines import linked
from ovsbench.baselines.shared_options import Linking

WORDS = Vocabulary((Category(3, "ball", True), Category(5, "grass", False)))
FRAMEWISE = """
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Bright:
    notes = {"trained_on": "nothing"}

    def predict(self, video, vocabulary, rules):
        ball, grass = vocabulary
        for index, image in enumerate(video.images()):
            ids = np.full(video.size, 7, np.uint32)
            for colour in (0, 1):  # another id in each frame: nothing is followed
                ids[image[..., colour] > 200] = 100 + 10 * index + colour * (-1) ** index + 1
            present = [int(i) for i in np.unique(ids) if i != 7]
            yield PanopticFrame(ids, {7: Segment(7, grass.id, 0.9), **{i: Segment(i, ball.id, 0.8) for i in present}})

def build(*, checkpoint, device, level: int = 1):
    return Bright()
"""


def moving_balls() -> Video:
    images = []
    for time in range(5):
        image = np.full((40, 60, 3), (0, 100, 0), np.uint8)
        image[5:15, 5 + 8 * time : 15 + 8 * time] = (255, 0, 0)
        image[25:35, 45 - 8 * time : 55 - 8 * time] = (0, 255, 0)
        images.append(image)
    return Video("v", tuple("01234"), (40, 60), lambda i: images[i])


@pytest.fixture
def framewise(tmp_path) -> str:
    (tmp_path / "framewise.py").write_text(FRAMEWISE)
    return f"{tmp_path}/framewise.py:build"


def tracks(method, colour):
    video = moving_balls()
    frames = list(method.predict(video, WORDS, Rules()))
    assert len(frames) == 5
    found = []
    for index, frame in enumerate(frames):
        check_frame(frame, video.size, WORDS, "here")
        found.append({int(i) for i in np.unique(frame.ids[video.image(index)[..., colour] > 200])})
    return found


def test_a_frame_wise_method_gets_tracks(framewise):
    method = methods.create("linked", options={"method": framewise, "level": "2", "association": "combined"})
    red, green = tracks(method, 0), tracks(method, 1)
    assert len(set(map(tuple, red))) == len(set(map(tuple, green))) == 1
    assert red[0] != green[0]
    assert method.notes["trained_on"] == "nothing"
    assert method.notes["association"].startswith("combined; the tracks of ")


def test_without_association_every_frame_stands_alone(framewise):
    assert len(set(map(tuple, tracks(linked.build(method=framewise, linking=Linking(association="none")), 0)))) == 5


def test_what_cannot_be_linked_is_one_sentence(framewise):
    for options, sentence in (
        ({}, "Name it: --option method=dense"),
        ({"method": "constant"}, "needs labels"),
        ({"method": framewise, "association": "iuo"}, "'iuo' is unknown; did you mean 'iou'"),
        ({"method": framewise, "lvel": "1"}, "no option 'lvel'; did you mean 'level'"),
    ):
        with pytest.raises(MethodError, match=sentence):
            methods.create("linked", options=options)


def test_tracks_age_by_the_times_of_the_frames(framewise):
    """The red ball is hidden in one frame; a pause of the video after it is longer than tracks are kept."""
    red = moving_balls()
    images = [red.image(0), red.image(0), np.full_like(red.image(0), (0, 100, 0)), red.image(0)]

    def last_tracks(times):
        video = Video("v", tuple("0123"), (40, 60), lambda i: images[i], 10.0, times)
        method = linked.build(method=framewise, linking=Linking(max_age_seconds=1.0))
        frames = list(method.predict(video, WORDS, Rules()))
        return [int(frame.ids[10, 10]) for frame in (frames[1], frames[3])]

    before, after = last_tracks(None)
    assert before == after
    before, after = last_tracks((0.0, 0.1, 0.2, 2.0))
    assert before != after
