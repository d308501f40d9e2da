"""Weights of a hub, against a hub on this machine: what is fetched, what is refused and how, what needs no net."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local_hub import TOKEN, Hub, Repository, serving

pytest.importorskip("huggingface_hub")
from huggingface_hub import close_session, constants

from ovsbench.benchmark.errors import MethodError
from ovsbench.hub import connection, download
from ovsbench.hub.download import fetch, is_cached
from ovsbench.hub.models import models
from ovsbench.hub.references import Reference, parse
from ovsbench.hub.resolve import references

COMMIT = "a4edee47b1b2662241ceed627430aa22d0647bd0"


def safetensors(count: int = 4) -> bytes:
    """A file with one tensor of so many bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(count)


def files(folder: Path, **contents: bytes | str) -> Path:
    """Files by name, "__" for the dot."""
    folder.mkdir(parents=True)
    for name, content in {"config__json": "{}", **contents}.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, a cache that is empty, and nobody who is offline."""
    with serving(Hub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        nobody_is_offline(monkeypatch)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield hub


def nobody_is_offline(monkeypatch):
    """No such variable is set; what is set later is taken back after the test."""
    for name in ("OVSBENCH_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def no_sockets(monkeypatch):
    """From the moment that it is called, whoever connects fails."""

    def block():
        def refuse(*_):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return block


def sharded(folder: Path) -> Path:
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = {"metadata": {}, "weight_map": {"a": names[0], "b": names[1], "c": names[1]}}
    files(folder, preprocessor_config__json="{}", tokenizer__json="{}", README__md="hello", pytorch_model__bin=b"x",
          model__safetensors__index__json=json.dumps(index), flax_model__msgpack=b"x")  # fmt: skip
    for number, name in enumerate(names):
        (folder / name).write_bytes(safetensors(4 + number))
    return folder


def test_a_model_comes_with_its_config_and_shards_and_nothing_else(hub, tmp_path):
    hub.add("org/name", sharded(tmp_path / "repo"))
    got = fetch(parse("hf:org/name"))
    names = sorted(path.name for path in got.path.iterdir())
    assert names == [
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "preprocessor_config.json", "tokenizer.json",
    ]  # fmt: skip
    assert got.revision == hub.repositories["org/name"].commit("main") == got.path.name
    assert got.sha256 == {
        f"model-0000{n}-of-00002.safetensors": hashlib.sha256(safetensors(3 + n)).hexdigest() for n in (1, 2)
    }


def test_the_second_time_no_file_is_fetched_and_offline_no_socket_is_opened(hub, tmp_path, no_sockets, monkeypatch):
    hub.add("org/name", sharded(tmp_path / "repo"))
    reference = parse("hf:org/name")
    assert not is_cached(reference)
    first = fetch(reference)
    hub.asked.clear()
    assert fetch(reference) == first
    assert not [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    no_sockets()
    assert fetch(reference) == first
    assert is_cached(reference)
    assert not hub.asked


def test_where_the_hub_does_not_answer_the_cache_does(hub, tmp_path, monkeypatch):
    hub.add("org/name", sharded(tmp_path / "repo"))
    first = fetch(parse("hf:org/name"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch(parse("hf:org/name")) == first
    with pytest.raises(
        MethodError, match=r"hf:org/other is not in the cache, and http://127.0.0.1:9 cannot be reached"
    ):
        fetch(parse("hf:org/other"))


@pytest.mark.parametrize(
    ("part", "code", "headers", "said"),
    [
        ("/api/", 302, {"Location": "/api/models/org/name"}, "cannot be reached: Exceeded maximum allowed redirects."),
        ("/api/", 429, {"Retry-After": "100"}, "answers with 429."),
        ("/api/", 503, {}, "answers with 503."),
        ("/api/", 200, {}, "cannot be reached: Expecting value"),
        ("/resolve/", 302, {"Location": "file:///etc/passwd"}, "does not give config.json: "),
        ("/resolve/", 429, {"Retry-After": "100"}, "does not give config.json: .*429 Too Many Requests"),
        ("/resolve/", 503, {}, "does not give config.json: .*503 Service Unavailable"),
        ("/resolve/", 200, {}, "does not give config.json: .*does not seem to be served by a Hugging Face Hub"),
    ],
)
def test_a_hub_that_is_busy_or_odd_is_one_sentence_and_the_cache_answers(
    hub, tmp_path, monkeypatch, part, code, headers, said
):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    hub.add("org/name", sharded(tmp_path / "repo"))
    hub.faults = {part: (code, headers)}
    with pytest.raises(MethodError, match=said):
        fetch(parse("hf:org/name"))
    assert waited.count(101.0) == (5 if part == "/resolve/" and code == 429 else 0), "as long as the hub asks for"
    hub.faults = {}
    first = fetch(parse("hf:org/name"))
    hub.faults = {part: (code, headers)}
    assert fetch(parse("hf:org/name")) == first


def test_the_signature_of_an_address_is_not_repeated(hub, tmp_path):
    hub.add("org/name", sharded(tmp_path / "repo"))
    hub.faults = {"/blob": (403, {}), "/resolve/": (302, {"Location": f"{hub.url}/blob?X-Signature=secret&a=b"})}
    with pytest.raises(MethodError, match="403 Forbidden") as error:
        fetch(parse("hf:org/name"))
    assert "/blob" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_leads_to_itself_is_one_sentence(hub, tmp_path):
    hub.add("org/name", sharded(tmp_path / "repo"))
    hub.faults = {"/resolve/": (302, {"Location": "/org/name/resolve/main/config.json"})}
    with pytest.raises(MethodError, match=r"config.json did not arrive whole: Exceeded \d+ redirects"):
        fetch(parse("hf:org/name"))


def test_an_endpoint_with_a_path_and_a_proxy_are_used(hub, tmp_path, monkeypatch):
    hub.add("org/name", sharded(tmp_path / "repo"))
    hub.prefix = "/mirror"
    monkeypatch.setattr(constants, "ENDPOINT", f"{hub.url}/mirror")
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}/mirror{template}")
    first = fetch(parse("hf:org/name"))
    assert all(" /mirror/" in line for line in hub.asked)
    hub.asked.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"http://hub.invalid{template}")
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    close_session()  # the client reads the environment when it is made
    try:
        assert fetch(parse("hf:org/name")).sha256 == first.sha256
    finally:
        close_session()
    assert hub.asked
    assert all(" http://hub.invalid/" in line for line in hub.asked)


def test_a_file_with_another_content_than_the_hub_announced_is_refused(hub, tmp_path, monkeypatch):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors()))
    monkeypatch.setattr("local_hub.etag", lambda path: "a" * 64)
    with pytest.raises(
        MethodError, match=r"model.safetensors is cut off or damaged: \d+ bytes, sha256 .*fetch it again"
    ):
        fetch(parse("hf:org/name"))


@pytest.mark.parametrize("what", ["etag", "commit"])
def test_a_hub_cannot_name_places_outside_the_folder_of_a_repository(hub, tmp_path, monkeypatch, what):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors()))
    if what == "etag":
        monkeypatch.setattr("local_hub.etag", lambda path: f"../../../evil-{path.name}")
    else:
        monkeypatch.setattr(Repository, "commit", lambda self, revision: "../../evil")
        monkeypatch.setattr(Repository, "folder", lambda self, commit: tmp_path / "repo")
    with pytest.raises(MethodError, match=r"the hub calls it '\.\./.*evil.*', which is no name of a file"):
        fetch(parse("hf:org/name"))
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("names", [["config.json", "../../x.json", "/etc/y.json", "a/z.json"], [5, None, {}]])
def test_names_of_files_that_lead_elsewhere_or_are_none_are_not_asked_for(hub, tmp_path, monkeypatch, names):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors()))
    rows = [{"rfilename": name} for name in (*names, "model.safetensors")]
    monkeypatch.setattr("local_hub._listing", lambda repo, *_: {"id": repo, "sha": "a" * 40, "siblings": rows})
    if "config.json" in names:
        assert sorted(path.name for path in fetch(parse("hf:org/name")).path.iterdir()) == [
            "config.json", "model.safetensors",
        ]  # fmt: skip
    else:
        with pytest.raises(MethodError, match=r"with a config\.json, found none"):
            fetch(parse("hf:org/name"))
    assert not [line for line in hub.asked if ".json" in line and "config.json" not in line]


def test_a_file_that_is_too_large_to_be_read_whole_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MOST_BESIDE", 1000)
    folder = files(tmp_path / "repo", model__safetensors=safetensors(5000), tokenizer__json="[" * 1001)
    hub.add("org/name", folder)
    with pytest.raises(MethodError, match=r"expected tokenizer\.json of at most 0 MB, got 1001 bytes"):
        fetch(parse("hf:org/name"))


@pytest.mark.parametrize("length", [2**63, 10**8 + 1, 10**6, 1])
def test_a_header_that_claims_more_than_there_is_is_not_read(hub, tmp_path, length):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=length.to_bytes(8, "little") + b"{}"))
    with pytest.raises(MethodError, match="cut off or damaged"):
        fetch(parse("hf:org/name"))


def test_code_of_a_repository_and_files_of_other_folders_are_not_fetched(hub, tmp_path):
    folder = files(tmp_path / "repo", model__safetensors=safetensors(), modeling__py="raise SystemExit",
                   config__json='{"auto_map": {"AutoModel": "modeling.Model"}}')  # fmt: skip
    files(folder / "onnx", tokenizer__json="{}")
    hub.add("org/name", folder)
    assert sorted(path.name for path in fetch(parse("hf:org/name")).path.iterdir()) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip


def test_without_a_connection_a_cache_that_is_filled_in_part_is_said_to_be_so(hub, tmp_path, monkeypatch):
    hub.add("org/name", sharded(tmp_path / "repo"))
    folder = fetch(parse("hf:org/name")).path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("config.json", "model.safetensors.index.json"):
        (folder / name).unlink()
        assert not is_cached(parse("hf:org/name"))
        with pytest.raises(
            MethodError, match=r"hf:org/name is in part in the cache, and HF_HUB_OFFLINE is set\. Fetch"
        ):
            fetch(parse("hf:org/name"))


def test_without_a_connection_the_sentence_names_the_files_to_bring_and_where(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MethodError) as error:
        fetch(parse("hf:org/name"))
    said = str(error.value)
    assert "HF_HUB_OFFLINE is set" in said
    assert f"copy {tmp_path / 'cache' / 'models--org--name'} here" in said
    assert f"config.json, preprocessor_config.json and model.safetensors of {hub.url}/org/name" in said
    assert not hub.asked


def test_what_the_user_sets_wins_over_what_the_command_sets_for_libraries(hub, tmp_path, monkeypatch):
    hub.add("org/name", sharded(tmp_path / "repo"))
    nobody_is_offline(monkeypatch)
    connection.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # as it then is for every library
    assert fetch(parse("hf:org/name")).path.is_dir()
    assert constants.HF_HUB_OFFLINE, "closed again"
    with connection.connection("not now"):
        hub.asked.clear()
        with pytest.raises(MethodError, match="hf:org/other is not in the cache, and not now"):
            fetch(parse("hf:org/other"))
        assert not hub.asked
    monkeypatch.setenv("OVSBENCH_OFFLINE", "1")
    hub.asked.clear()
    with pytest.raises(MethodError, match="HF_HUB_OFFLINE is set"):
        fetch(parse("hf:org/other"))
    assert not hub.asked


def test_threads_that_fetch_at_once_leave_the_way_closed_as_it_was(hub, tmp_path, monkeypatch):
    nobody_is_offline(monkeypatch)
    connection.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for number in range(8):
        hub.add(f"org/name{number}", files(tmp_path / f"repo{number}", model__safetensors=safetensors(100 + number)))
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: fetch(parse(f"hf:org/name{number}")), range(8)))
    assert len({one.path for one in got}) == 8
    assert constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(("before", "after"), [(None, "0"), ("1", "1"), ("0", "0")])
def test_the_command_keeps_the_wish_of_the_user_beside_the_switch_of_libraries(monkeypatch, before, after):
    import os

    nobody_is_offline(monkeypatch)
    if before is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", before)
    connection.close()
    assert (os.environ["OVSBENCH_OFFLINE"], os.environ["HF_HUB_OFFLINE"]) == (after, "1")


def test_a_gated_repository_says_where_to_accept_its_licence(hub, tmp_path, monkeypatch):
    hub.add("facebook/sam3", sharded(tmp_path / "repo"), is_gated=True)
    with pytest.raises(MethodError, match=rf"Accept it at {hub.url}/facebook/sam3 and give the token .* HF_TOKEN"):
        fetch(parse("hf:facebook/sam3"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(MethodError, match="the owners have not granted it yet"):
        fetch(parse("hf:facebook/sam3"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(parse("hf:facebook/sam3")).sha256


def test_what_is_not_there_is_named(hub, tmp_path):
    hub.add("org/name", sharded(tmp_path / "repo"))
    for text, said in (
        ("hf:org/nane", "has no repository 'org/nane', or it is private. Check the name"),
        ("hf:org/name@v9", "the repository has no revision 'v9'"),
        ("hf:org/name:tokenizer.jsn", "no such file; did you mean 'tokenizer.json'?"),
    ):
        with pytest.raises(MethodError) as error:
            fetch(parse(text))
        assert said in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\0b", b"no such commit"])
def test_a_damaged_note_of_the_cache_is_as_good_as_none(hub, tmp_path, monkeypatch, content):
    hub.add("org/name", sharded(tmp_path / "repo"))
    fetch(parse("hf:org/name"))
    (tmp_path / "cache" / "models--org--name" / "refs" / "main").write_bytes(content)
    assert not is_cached(parse("hf:org/name"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MethodError, match="hf:org/name is not in the cache, and HF_HUB_OFFLINE is set"):
        fetch(parse("hf:org/name"))


def test_a_repository_without_hf_before_it_is_told_how_to_be_written():
    with pytest.raises(
        MethodError, match=r"expected weights of a hub as hf:ORG/NAME, got 'org/name'\. Write hf:org/name"
    ):
        list(references("org/name"))


@pytest.mark.parametrize("text", ["hf:name", "hf:org/name@", "hf:../name", "hf:org/name:../../x", "hf:org/a b", "hf:"])
def test_a_reference_of_another_form_is_refused(text):
    with pytest.raises(MethodError, match=r"expected weights of a hub as hf:ORG/NAME"):
        parse(text)


def test_pickles_are_refused_and_not_fetched(hub, tmp_path):
    hub.add("org/pickled", files(tmp_path / "repo", pytorch_model__bin=b"\x80", weights__ckpt=b"\x80"))
    for text in ("hf:org/pickled", "hf:org/pickled:weights.ckpt"):
        with pytest.raises(MethodError, match=r"expected weights as safetensors, got a pickle \(.*which can run code"):
            fetch(parse(text))
    assert not [line for line in hub.asked if "/resolve/" in line]


def test_a_clip_with_pickles_alone_is_refused(hub, tmp_path):
    hub.add("timm/clip", files(tmp_path / "repo", open_clip_pytorch_model__bin=b"\x80"))
    reference = Reference("open_clip:ViT-B-16/openai", "timm/clip", None, ("open_clip_model.safetensors",))
    with pytest.raises(MethodError, match=r"got a pickle \(open_clip_pytorch_model.bin\)"):
        fetch(reference)


def test_main_with_pickles_alone_gives_way_to_the_commit_that_is_known_to_have_safetensors(hub, tmp_path, monkeypatch):
    repo = "facebook/mask2former-swin-large-coco-panoptic"
    assert download.SAFE_REVISIONS[repo] == COMMIT
    hub.add(repo, files(tmp_path / "main", pytorch_model__bin=b"\x80"))
    hub.add(repo, files(tmp_path / "safe", model__safetensors=safetensors()), COMMIT)
    got = fetch(parse(f"hf:{repo}"))
    assert got.revision == COMMIT
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(parse(f"hf:{repo}")) == got
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(MethodError, match="got a pickle"):
        fetch(parse(f"hf:{repo}@main"))


def test_a_file_that_is_cut_off_on_the_way_is_not_used(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits a second before each of five tries
    repository = hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors(5000)))
    repository.cut["model.safetensors"] = 100
    with pytest.raises(MethodError, match=r"hf:org/name: model.safetensors did not arrive whole: .*again"):
        fetch(parse("hf:org/name"))
    assert not is_cached(parse("hf:org/name"))
    repository.cut.clear()
    assert fetch(parse("hf:org/name")).sha256


@pytest.mark.parametrize("how", ["cut", "changed", "pointer"])
def test_a_file_of_the_cache_that_is_damaged_is_named_with_what_to_remove(hub, tmp_path, monkeypatch, how):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors(5000)))
    blob = (fetch(parse("hf:org/name")).path / "model.safetensors").resolve()
    data = blob.read_bytes()
    blob.write_bytes({"cut": data[:-7], "changed": data[:-1] + b"x", "pointer": b"version https://git-lfs"}[how])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MethodError) as error:
        fetch(parse("hf:org/name"))
    assert f"model.safetensors is cut off or damaged: {blob.stat().st_size} bytes" in str(error.value)
    assert f"Remove {blob} and fetch it again" in str(error.value)


def test_a_cut_file_is_found_in_a_cache_that_was_copied_without_links(hub, tmp_path, monkeypatch):
    hub.add("org/name", files(tmp_path / "repo", model__safetensors=safetensors(5000)))
    fetch(parse("hf:org/name"))
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")  # follows links
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "copy"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    path = fetch(parse("hf:org/name")).path / "model.safetensors"
    assert not path.is_symlink()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MethodError, match="cut off or damaged"):
        fetch(parse("hf:org/name"))


def test_an_index_that_names_a_missing_or_an_odd_file_is_refused(hub, tmp_path, monkeypatch):
    folder = sharded(tmp_path / "repo")
    hub.add("org/whole", folder)
    part = fetch(parse("hf:org/whole")).path / "model-00002-of-00002.safetensors"
    assert is_cached(parse("hf:org/whole"))
    part.unlink()
    assert not is_cached(parse("hf:org/whole"))
    (folder / "model-00002-of-00002.safetensors").unlink()
    hub.add("org/name", folder)
    with pytest.raises(
        MethodError, match=r"index names 2 files of weights, model-00002-of-00002.safetensors is missing"
    ):
        fetch(parse("hf:org/name"))
    index = folder / "model.safetensors.index.json"
    for content, said in (
        ('{"weight_map": {"a": "../../evil.safetensors"}}', "expected names of safetensors files"),
        ("[]", "expected an index of safetensors"),
        ('{"weight_map": {}}', "expected names of safetensors files"),
    ):
        index.write_text(content)
        with pytest.raises(MethodError, match=said):
            fetch(parse("hf:org/name"))


def test_a_file_by_its_name_comes_alone(hub, tmp_path):
    hub.add("me/gkc", files(tmp_path / "repo", gkc__safetensors=safetensors(), other__safetensors=safetensors()))
    got = fetch(parse("hf:me/gkc:gkc.safetensors"))
    assert [path.name for path in got.path.parent.iterdir()] == ["gkc.safetensors"]
    (tmp_path / "repo" / "config.json").unlink()
    with pytest.raises(
        MethodError, match=r"with a config.json, found none. Give the file .* as hf:me/gkc:gkc.safetensors"
    ):
        fetch(parse("hf:me/gkc"))


def test_every_model_of_the_table_is_built_by_a_method_that_is_there_and_names_weights():
    pytest.importorskip("torch")
    from ovsbench.benchmark import methods
    from ovsbench.gkc_video.torchvision_shim import prepare

    prepare()
    assert next(iter(models())) == "m2f-clip"
    assert {"m2f-clip", "clip-dense", "owl-sam2", "sam3", "fc-clip-convnext"} <= set(models())
    known = {method.name for method in methods.available()}
    assert not known & set(models())
    for name, model in models().items():
        assert model.method in known, name
        assert model.references, name
        assert model.gated == (name == "sam3")
        takes = methods.Options.of(methods.find(model.method))
        assert takes.takes_any or set(model.options) <= set(takes.kinds), name
        for text in model.references:
            assert parse(text).text == text
