"""`ovsbench fetch`: the weights of a public model brought here, such as for a cluster without a connection."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ovsbench.cli.console import finish, print_json, say
from ovsbench.cli.options import Json


def fetch(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name of list models, hf:ORG/NAME[@REVISION][:FILE] or open_clip:M/TAG."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Fetch everything a public model needs into the cache of huggingface_hub; later runs need no connection.

    Nothing else is fetched. HF_HOME, HF_TOKEN, HF_ENDPOINT and the proxies of the environment are respected. On a
    machine without a connection, copy the folder that this prints into the same place of its cache.

    \b
    [bold]Examples[/bold]
      ovsbench fetch m2f-clip
      ovsbench fetch hf:facebook/mask2former-swin-tiny-coco-panoptic
      ovsbench fetch open_clip:ViT-B-16/openai
    """
    from ovsbench.plans.models import fetch_all

    def told(name: str) -> None:
        if not as_json:
            say(name)

    here = fetch_all(model, lambda one: told(f"{one.name}: revision {one.revision[:12]}, {one.path}"))
    if as_json:
        print_json([{**dataclasses.asdict(one), "path": str(one.path)} for one in here])
    elif ":" in model:
        finish(here[0].path)
    else:
        finish(model, ["ovsbench", "predict", "VIDEO", "--names", "person, dog, grass", "-m", model])
