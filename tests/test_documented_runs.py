"""Every command that README and documentation show is run as it stands, on a small world, or declared, with why."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import layout_trees as trees
from test_documented_commands import ALL, parts_of
from typer.testing import CliRunner

from ovsbench.benchmark.manifest import load
from ovsbench.benchmark.video.video_io import write_video
from ovsbench.cli import app

ROOT = Path(__file__).parents[1]
WORLD = "--videos 3 --frames 2 --size 96x64"
CPU = "--device cpu"
GKC = f"-m gkc -c gkc-world {CPU}"
ENTRIES = "--entries leaderboard/entries"
TINY = (
    "--set data.labelled.videos=2 --set data.labelled.frames=2 --set data.labelled.size=[96,64] "
    "--set data.labelled.folder=data/train --set training.steps=2 --set training.batch=2 --set training.unlabelled=0 "
    f"--set training.readers=0 --set 'evaluation={{folder=\"data/dev\",every=1000}}' {CPU}"
)
CAPTIONED = (
    "train configs/world-fast.toml --set training.captions=8 --set data.captions.folder=data/captioned "
    "-o captioned.safetensors"
)
ADDED = (
    "server add-benchmark server data/world --phase val --closes 2027-01-31 --per-day 2 --total 20 --show rounded "
    "--public world-public"
)
WORDS = {
    "CKPT": "gkc-world", "DATA": "data/world", "DIR": "plots", "F.npy": "names.npy", "FILE": "written",
    "HELD_OUT": "held-out.safetensors", "METHOD": "gkc", "...": "-c gkc-world", "PRED": "predicted", "RUN": "runs/gkc",
    "SPLIT": "world", "TRAINSET": "data/train", "VIPSeg": "raw/vipseg",
}  # fmt: skip
"""What stands for the words in capitals."""
STORY = f"""
data build world -o data/world ++ {WORLD}
data build world --part dev -o data/dev ++ {WORLD}
data show data/world -o sheet.png
run data/world -m gkc -c gkc-world -o runs/gkc ++ {CPU}
show runs/gkc --by category
show runs/gkc --by category --sort IoU --reverse
show RUN --by category --sort IoU --reverse
show runs/gkc --by video --sort VPQ --csv videos.csv
show --all ++ runs/gkc
show RUN --plot DIR
board build runs/gkc -o site
doctor
list models
list methods
list metrics
list splits
score RUN
score RUN --with davis
score runs/gkc --with davis
run DATA --oracle ++ -o runs/follower
score runs/follower --with davis_semi
compare runs/a runs/b
show runs/gkc runs/two-stage --by category --plot plots
diagnose RUN
diagnose RUN --plot plots
diagnose runs/gkc
diagnose runs/gkc --value HOTA
diagnose runs/gkc --plot plots
diagnose runs/gkc --json
diagnose runs/gkc --csv loss.csv
predict street.mp4 --names 'person, road, car|automobile' -m m2f-clip -o out.mp4 ++ {GKC}
predict street.webm --names-file words.txt --start 10s --end 20s --every 5 --rle -m m2f-tiny-clip ++ {GKC}
new-method my_method.py
check-method my_method.py:build
run DATA -m my_method.py:build ++ -o runs/mine
run data/world -m my_method.py:build -o runs/everything
new-method my_tracks.py --task instance
new-method --task instance ++ my_other_tracks.py
synonyms --audit SPLIT
submit runs/gkc --init
submit runs/gkc --card card.toml -o gkc.zip
submit --key FILE ++ runs/gkc --card card.toml -o signed.zip
check gkc.zip --data data/world
board add gkc.zip --new-benchmark ++ {ENTRIES}
board build -o site ++ {ENTRIES}
board build --markdown ++ {ENTRIES}
board verify ++ {ENTRIES}
board labels DATA ++ {ENTRIES}
run data/world -m METHOD ... -o runs/again ++ {CPU}
score runs/again
board rerun world-val/gkc/gkc runs/again ++ {ENTRIES}
submit runs/mine --init
submit runs/mine --card card.toml -o mine.zip
check mine.zip --data data/world
board add mine.zip --entries leaderboard/entries
data split DATA --text-bank F.npy --novel 4 -o mine.json
data novelty SPLIT --text-bank F.npy -o FILE ++ -o novelty.json
data build world --part unlabelled --videos 300 --frames 2 --stride 5 -o data/captioned ++ --videos 4 --size 96x64
data build vipseg --raw VIPSeg -o DATA ++ -o data/vipseg
import DATA PRED --format vipseg -o RUN ++ -o runs/imported
data build ytvis --raw gt.json -o data/ytvis
import data/ytvis results.json --format ytvis -o runs/theirs
score runs/theirs
export runs/theirs --format ytvis -o out ++ -o returned
run data/ytvis --oracle -o runs/oracle
association data/dev -c gkc-world --variant steady --variant likelihood ... ++ {CPU}
association DATA -c CKPT ++ {CPU}
speed gkc -c gkc-world ++ --frames 3 --repeats 1 {CPU}
speed gkc two-stage -c gkc-world ++ --frames 1 --repeats 1 {CPU}
speed gkc two-stage -c gkc-world --frames 16 --threads 1 ++ --frames 1 --repeats 1 {CPU}
speed gkc two-stage,clip=clip-world gkc,batch=4 -c gkc-world-fast --regions 20 ++ --frames 4 --repeats 1 {CPU}
train configs/world-fast.toml --set training.hold_out=6 -o held-out.safetensors ++ {TINY}
calibrate data/dev -c held-out.safetensors ++ --values 0,1 {CPU}
calibrate data/dev -c HELD_OUT ++ --values 0,1 {CPU}
train configs/world-clip.toml ++ --set data.captions.pictures=8 --set training.steps=2 --set training.batch=4 {CPU}
train configs/world.toml ++ --set start=gkc-world-fast {TINY}
train configs/world.toml -o gkc.safetensors ++ --set start=gkc-world-fast {TINY}
{CAPTIONED} ++ {TINY}
data check DATA --train TRAINSET
data check --train ++ data/train data/world
data check data/camvid --train data/camvid-train -j 2
data show data/camvid --plot plots
data detectron2 data/camvid-train -o exported
suite configs/suite-world.toml ++ --limit 1 --only gkc-fast --devices cpu
server init server --name 'My challenge'
{ADDED}
server team server add 'Team A'
run world-public -m my_method.py:build -o runs/mine ++ --fresh
bench score ++ --frames 2 --size 64x48 --repeats 1
bench ap ++ --videos 1 --repeats 1
"""
"""Documented command and, after " ++ ", what is added to make it small or to send it to a processor; in this order."""
HUB, SERVER, STORE = "test_models_by_name.py", "test_server_verbs.py", "test_remote_s3.py"
ELSEWHERE = {
    "app": "test_app.py",
    "board serve": "test_browser.py",
    "data build burst --raw BURST -o data/burst": "test_burst.py",
    "import data/burst predictions.json --format burst -o runs/tracker": "test_burst.py",
    "data build sacoveval --raw saco_veval_sav_test.json -o data/saco": "test_saco.py",
    "import data/saco predictions.json --format sacoveval -o runs/sam3": "test_saco.py",
    "demo": "test_demo.py",
    "fetch m2f-clip": HUB,
    "run data/vipseg -m closed-set -c hf:facebook/mask2former-swin-tiny-coco-panoptic -o runs/m2f": HUB,
    "run data/vipseg -m dense -c open_clip:ViT-L-14/openai --option kind=sclip -o runs/sclip": HUB,
    "login https://example.org": SERVER,
    "receipt verify ID.receipt.json": SERVER,
    "receipt verify --journal FILE": SERVER,
    "server run server": SERVER,
    "submit --to URL": SERVER,
    "submit RUN --to": SERVER,
    "submit RUN --to URL": SERVER,
    "submit runs/mine --to https://example.org --wait": SERVER,
    "ablate FILE": "test_ablation.py",
    "data build world -o s3://bucket/world": STORE,
    "run s3://bucket/world -m gkc -c gkc-world -o s3://bucket/runs/gkc": STORE,
    "show s3://bucket/runs/gkc --by category": STORE,
    "board build s3://bucket/runs/gkc -o s3://bucket/site": STORE,
    "cluster slurm --nodes 4 --gpus 8 --cpus 64 --time 12:00:00 --partition gpu --setup 'source venv/bin/activate' "
    "-o job.sh": "test_slurm.py",
    "cluster slurm --nodes 2 --gpus 8 --cpus 64 --torchrun -o train.sh": "test_slurm.py",
    "cluster": "test_ray_cluster.py",
    "run data/vipseg -m gkc -c gkc.safetensors -o runs/gkc --on auto": "test_ray_cluster.py",
    "train FILE --profile": "test_training_options.py",
    "train FILE --profile '[--json]'": "test_training_options.py",
    "bench statistics": "test_statistics_bench.py",
    "bench compare": "test_score_bench.py",
    "import --score --only ap": "test_import_scored.py",
    "import data/ytvis results.json --format ytvis -o runs/theirs --score --only ap": "test_import_scored.py",
    "score --only ap": "test_cli.py",
}
"""Documented command to the file of tests that runs it: it needs a server, a hub, or a browser, on the same machine."""
HOURS, REAL = "trains for hours; test_ablation.py runs a small file", "needs real video"
NOT_RUN = {
    "bench statistics --repetitions 1000 --pairs 0 --tables 0": "takes an hour",
    "bench statistics --repetitions 500 --pairs 0 --tables 0 --population KIND": "takes minutes for each population",
    "bench statistics --population KIND --repetitions 0 --pairs 4000 --tables 0 --videos N": (
        "takes an hour"
    ),
    "ablate configs/ablation-world.toml": HOURS,
    "ablate configs/ablation-world.toml --device cpu --parallel 2": HOURS,
    "association DAVIS/JPEGImages/480p --objects DAVIS/Annotations/480p -c gkc-world --names 'dog, car, horse, "
    "bicycle, person, grass, road, tree, building, sky, sand, fence'": REAL,
    "speed gkc two-stage,clip=random,clip_model=RN50-quickgelu -c random:RN50-quickgelu --regions 20 --size 854x480 "
    "--frames 1 --flops": "builds two large models; minutes on a processor",
    "suite configs/suite-camvid.toml": REAL,
    "train configs/camvid.toml --set data.labelled.raw=CAMVID --text-bank vitb16_cocostuff171.npy "
    "--set trunk_weights=efficientnet-lite0-57934424.pth -o camvid.safetensors": REAL,
}  # fmt: skip
"""Documented command to the reason why no test runs it as it stands."""


def story() -> list[tuple[str, str]]:
    """Documented command, and what is added to it."""
    return [(line.partition(" ++ ")[0], line.partition(" ++ ")[2]) for line in STORY.strip().splitlines()]


def words_of(command: str, extra: str) -> list[str]:
    """What is typed."""
    words = shlex.split(f"{command} {extra}")
    return [part for word in words for part in shlex.split(WORDS.get(word, shlex.quote(word)))]


def different() -> list[tuple[str, str]]:
    """The story without what was typed before, on another page in other words."""
    first: dict[str, tuple[str, str]] = {}
    for line in story():
        first.setdefault(shlex.join(words_of(*line)), line)
    return list(first.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """An empty folder that is the current one."""
    before, here = Path.cwd(), tmp_path_factory.mktemp("story")
    os.chdir(here)
    (here / "configs").symlink_to(ROOT / "configs")
    yield here
    os.chdir(before)


def typed(command: str, extra: str = "") -> None:
    """Types a command, and expects that it works."""
    done = CliRunner().invoke(app, words_of(command, extra))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def bring(command: str) -> None:
    """What a page takes for granted at a command: files of others, and what people write into theirs."""
    match command.split():
        case ["compare", *_]:
            shutil.copytree("runs/gkc", "runs/a")
            typed(f"run data/world -m two-stage -c gkc-world -o runs/two-stage {CPU}")
            shutil.copytree("runs/two-stage", "runs/b")
        case ["predict", "street.mp4", *_]:
            frames = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(22)]
            write_video(Path("street.mp4"), iter(frames), 1.0)
            shutil.copy("street.mp4", "street.webm")
            Path("words.txt").write_text("person\nroad\n")
        case ["submit", _, "--card", *_]:
            card = tomllib.loads(Path("card.toml").read_text())
            filled = {"title": "a test", "authors": ["me"], "licence": "MIT", "trained_on": ["x"], "saw_novel": "no"}
            Path("card.toml").write_text(
                "".join(f"{key} = {json.dumps(filled.get(key, value))}\n" for key, value in card.items())
            )
        case ["submit", "runs/mine", "--init"]:
            Path("card.toml").unlink()
        case ["data", "split", *_]:
            names = [category.name for category in load(Path("data/world")).vocabulary]
            np.save("names.npy", np.random.default_rng(0).normal(size=(len(names), 8)))
            about = {"schema": 1, "names": names, "model": "any", "prompt": "{}"}
            Path("names.json").write_text(json.dumps(about))
        case ["data", "build", "vipseg", *_]:
            trees.write_vipseg_720p(load(Path("data/world")), Path("raw/vipseg"))
        case ["import", "DATA", *_]:
            typed("export runs/gkc --format vipseg -o predicted")
        case ["data", "build", "ytvis", *_]:
            trees.write_tracks(load(Path("data/world")), Path(), "ytvis2021")
            labels = json.loads(Path("train.json").read_text())
            Path("gt.json").write_text(json.dumps(labels))
            answers = [{**one, "score": 0.5} for one in labels["annotations"] if not one["iscrowd"]]
            kept = ("video_id", "category_id", "segmentations", "score")
            Path("results.json").write_text(json.dumps([{key: one[key] for key in kept} for one in answers]))
        case ["suite", *_]:  # twelve methods on 160 videos
            plan = Path("configs/suite-world.toml").read_text().replace('build = "world"\n', "")
            Path("configs").unlink()
            Path("configs").mkdir()
            Path("configs/suite-world.toml").write_text(plan)
        case ["data", "check", "data/camvid", *_]:
            shutil.copytree("data/world", "data/camvid")
            shutil.copytree("data/train", "data/camvid-train")


@pytest.mark.parametrize(("command", "extra"), different(), ids=lambda words: words.partition(" -")[0] or " ")
def test_a_documented_command_runs(folder, command, extra):
    bring(command)
    typed(command, extra)


def test_every_documented_command_is_run_or_declared():
    known = {command for command, _ in story()} | set(ELSEWHERE) | set(NOT_RUN)
    shown = {shlex.join(parts_of(command)) for _, command in ALL}
    bare = {
        command
        for command in shown - known
        if re.fullmatch(r"[a-z0-9 -]+?( [A-Z]+)?", command) and " --" not in command
    }
    for verb in bare:  # a verb that a sentence speaks of
        words = verb.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ").strip()
        assert any(f"{command} ".startswith(f"{words} ") for command in known), f"{verb} is shown and nothing of it run"
    assert shown - bare - known == set(), "shown, and neither run nor declared"
    assert known - shown == set(), "no longer shown"
    for file in ELSEWHERE.values():
        assert (ROOT / "tests" / file).is_file(), file
