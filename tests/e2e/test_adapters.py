"""LoRAs, embeddings and a ControlNet on a real server and the embedded model; what the images show is checked."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import pickle
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo_pictures import Scene, draw
from octabox import demo
from serving import running_server
from train_demo_adapters import edges_of
from trained import EDGES, EMBEDDINGS, FRAME, LORAS, PROMPT, overlap, shows

PATH = "/v1/generations"

PARAMS = {"prompt": PROMPT, "num_inference_steps": 12, "guidance_scale": 3}

#: Layers of models of other families, and their widths.
FOREIGN = {
    "flux": ("transformer.single_transformer_blocks.0.attn.to_q", 3072),
    "large": ("unet.mid_block.attentions.0.proj_in", 1280),
}

#: What a pickle makes where it is run.
CAUGHT = Path(tempfile.gettempdir()) / f"octabox-caught-{os.getpid()}"


class Evil:
    """What is no weights, and makes a file if it is unpickled without care."""

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call."""
        return Path.touch, (CAUGHT,)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server whose folders hold the trained adapters."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(LORAS, models / "loras")
    shutil.copytree(EMBEDDINGS, models / "embeddings")
    save_file({"emb_params": torch.zeros(1, 768)}, models / "embeddings" / "wide.safetensors")
    spoil(models)
    for name, line in (("day", "__night__"), ("night", "__day__")):
        (models / "wildcards").mkdir(exist_ok=True)
        (models / "wildcards" / f"{name}.txt").write_text(line)
    (models / "framed.yaml").write_text(f"model: {demo.FOLDER}\nadapters: [{{lora: frame}}]\n")
    (models / "outlined.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n")
    wildcards = {"OCTABOX_WILDCARDS": str(models / "wildcards")}
    with (
        running_server(models, environment=wildcards) as address,
        httpx.Client(base_url=address, timeout=240, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def before(http: httpx.Client) -> bytes:
    """Return what the embedded model makes while nothing else is asked."""
    return content(ask(http))


def spoil(models: Path) -> None:
    """Write adapters that the model cannot take: cut short, of other families, and no weights at all."""
    (models / "loras" / "short.safetensors").write_bytes(Path(FRAME).read_bytes()[:-100])
    for name, (layer, width) in FOREIGN.items():
        halves = {f"{layer}.lora_A.weight": torch.ones(4, width), f"{layer}.lora_B.weight": torch.ones(width, 4)}
        save_file(halves, models / "loras" / f"{name}.safetensors")
    for folder in ("loras", "embeddings"):
        (models / folder / "evil.pt").write_bytes(pickle.dumps(Evil()))


def ask(http: httpx.Client, prompt: str = PROMPT, **change: Any) -> httpx.Response:
    """Ask for an image."""
    body = {"model": "demo", "params": {**PARAMS, "prompt": prompt}, "seed": 0, "output": {"response": "b64_json"}}
    # As text, for httpx refuses to write what is no number, and other clients do not.
    text = json.dumps({**body, **change})
    return http.post(PATH, content=text, headers={"content-type": "application/json"})


def opened(answer: httpx.Response) -> Image.Image:
    """Return the image of an answer."""
    assert answer.is_success, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["outputs"][0]["b64_json"])))


def content(answer: httpx.Response) -> bytes:
    """Return the file of an answer, the metadata taken out."""
    return opened(answer).tobytes()


def shown(answer: httpx.Response) -> tuple[str, str, str]:
    """Return what the image of an answer shows."""
    return shows(opened(answer))


@pytest.mark.slow
def test_by_field_and_by_tag(http: httpx.Client) -> None:
    """Both together; the answer and the metadata tell which, how strong and how much of each was used."""
    answer = ask(http, f"{PROMPT} <lora:hearts:0.9>", adapters=["frame"])
    (output,) = answer.json()["outputs"]

    assert ("heart", "red", "black") == shown(answer)
    assert [("frame", 1.0, 128, 128), ("hearts", 0.9, 144, 144)] == [
        (each["lora"], each["weight"], each["keys"], each["used"]) for each in answer.json()["adapters"]
    ]
    assert [{"lora": "frame", "weight": 1.0}, {"lora": "hearts", "weight": 0.9}] == output["metadata"]["adapters"]
    assert PROMPT == output["metadata"]["params"]["prompt"]


def test_each_prompt_of_a_list_has_its_own(http: httpx.Client) -> None:
    """A tag holds for the prompt that it stands in."""
    answer = ask(http, [f"{PROMPT} <lora:hearts>", f"{PROMPT} <lora:frame>", PROMPT])  # type: ignore[arg-type]
    files = [base64.b64decode(each["b64_json"]) for each in answer.json()["outputs"]]

    assert [("heart", "white"), ("circle", "black"), ("circle", "white")] == [
        shows(Image.open(io.BytesIO(each)))[::2] for each in files
    ]
    assert ["hearts", "frame"] == [each["lora"] for each in answer.json()["adapters"]]


def test_a_models_own(http: httpx.Client) -> None:
    """It is applied unless the request says otherwise, and again in the next request."""
    for weight, border in ((None, "black"), (0, "white"), (None, "black")):
        adapters = [] if weight is None else [{"lora": "frame", "weight": weight}]
        assert border == shown(ask(http, model="framed", adapters=adapters))[2]


def test_other_wires_read_tags_too(http: httpx.Client) -> None:
    """A tag is part of a prompt, wherever that comes from."""
    body = {"model": "demo", "prompt": f"{PROMPT} <lora:hearts>", "response_format": "b64_json", "seed": 0}
    answer = http.post("/v1/images/generations", json=body).raise_for_status().json()

    assert "heart" == shows(Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))))[0]


def test_words_of_the_embeddings_folder(http: httpx.Client) -> None:
    """They are ready in any prompt, together with a LoRA too."""
    answer = ask(http, "a ruby square on a white background", adapters=["frame"])

    assert ("square", "red", "black") == shown(answer)


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        ({"adapters": ["flux"]}, 400, "incompatible_adapter", "none of its 2 tensors belongs to a layer"),
        ({"adapters": ["hearts", "large"]}, 400, "incompatible_adapter", "'large' does not fit this model"),
        ({"adapters": ["evil"]}, 403, "remote_code_refused", "it would call pathlib.Path.touch"),
        ({"adapters": [{"lora": "hearts", "weight": math.nan}]}, 400, "invalid_request", "NaN is not a JSON number"),
        ({"prompt": "a __day__ star", "prompt_syntax": "a1111"}, 400, "invalid_value", "day -> night -> day"),
        (
            {"prompt": "a (star:1000000000)", "prompt_syntax": "a1111"},
            400,
            "invalid_value",
            "must be between -10 and 10",
        ),
        ({"prompt": "(" * 2000, "prompt_syntax": "a1111"}, 400, "invalid_value", "more than 1000 opening brackets"),
        ({"adapters": ["heart"]}, 400, "adapter_not_found", "Did you mean hearts"),
        ({"adapters": ["short"]}, 500, "incompatible_weights", "truncated"),
        ({"adapters": [{"lora": "hearts", "weight": 1e9}]}, 400, "invalid_value", "at most 10"),
        ({"adapters": [{"lora": "hearts", "weights": {"vae": 1}}]}, 400, "invalid_value", "'vae'"),
        ({"adapters": [{"lora": "hearts", "scale": 1}]}, 400, "invalid_value", "adapters"),
        ({"adapters": [{"lora": str(FRAME)}]}, 400, "forbidden_path", "by its path"),
        ({"adapters": {"lora": "hearts"}}, 400, "invalid_value", "must be a list"),
        ({"prompt": "<hypernet:x:1>"}, 400, "invalid_value", "is not a known tag"),
        ({"prompt": "<lora:hearts:nan>"}, 400, "invalid_value", "not nan"),
        ({"prompt": "<lora:nothing:1>"}, 400, "adapter_not_found", "'nothing'"),
    ],
)
def test_what_is_wrong_is_told_and_leaves_no_trace(
    http: httpx.Client, before: bytes, change: dict[str, Any], status: int, code: str, said: str
) -> None:
    """The error names it, and the next image is as if nobody had asked."""
    answer = ask(http, **change)

    assert (status, code) == (answer.status_code, answer.json()["error"]["code"]), answer.text
    assert said in answer.json()["error"]["message"]
    assert before == content(ask(http))
    assert not CAUGHT.exists()


@pytest.mark.parametrize("syntax", ["a1111", "compel", "plain"])
def test_brackets_that_do_not_match_harm_nothing(http: httpx.Client, before: bytes, syntax: str) -> None:
    """Each makes an image, and the next one without is as ever."""
    odd = ["a (red star", "a red) star]", "((((", "a [red (star]:1.2", "a (red:", '("a", "b', "{red|green"]
    answer = ask(http, params={**PARAMS, "prompt": odd, "num_inference_steps": 2}, prompt_syntax=syntax)

    assert answer.is_success, answer.text
    assert len(odd) == len(answer.json()["outputs"])
    assert before == content(ask(http))


def test_cancelling_leaves_no_trace(http: httpx.Client, before: bytes) -> None:
    """A request with a LoRA that is cancelled amid its steps changes nothing in the next one without."""
    params = {**PARAMS, "num_inference_steps": 500}
    body = {"model": "demo", "params": params, "adapters": ["hearts", "frame"], "id": "long"}
    asking = threading.Thread(target=http.post, args=(PATH,), kwargs={"json": body})
    asking.start()
    end = time.monotonic() + 240
    while time.monotonic() < end:
        told = http.get(f"{PATH}/long")
        if told.is_success and told.json()["progress"]["step"] > 2:
            break
        time.sleep(0.02)
    http.delete(f"{PATH}/long").raise_for_status()
    asking.join()

    assert before == content(ask(http))


def test_what_there_is(http: httpx.Client) -> None:
    """All adapters are listed, and for a model whether each fits it."""
    rows = {row["name"]: row for row in http.get("/v1/adapters?model=demo").raise_for_status().json()["data"]}

    unfit = {"short", "wide", "evil", "flux", "large"}
    assert {"frame", "hearts", "plumstar", "ruby"} | unfit == set(rows)
    assert unfit == {name for name, row in rows.items() if not row["fits"]}
    assert ("truncated" in rows["short"]["problem"], "768" in rows["wide"]["reason"]) == (True, True)
    assert 404 == http.get("/v1/adapters?model=nothing").status_code


@pytest.mark.parametrize(("shape", "dx", "dy"), [("star", 0.12, 0.1), ("square", -0.12, -0.1), ("triangle", 0.1, -0.1)])
def test_a_controlnet_draws_the_outline_it_is_shown(http: httpx.Client, shape: str, dx: float, dy: float) -> None:
    """Where the prompt says only `shape`, the outline decides which and where; at scale 0 it decides nothing."""
    scene = Scene(shape, "red", "white", radius=0.25, dx=dx, dy=dy)
    file = io.BytesIO()
    edges_of(draw(scene)).save(file, "PNG")
    made = {}
    for scale in (1.0, 0.0):
        params = {**PARAMS, "prompt": "a red shape on a white background", "controlnet_conditioning_scale": scale}
        params["image"] = base64.b64encode(file.getvalue()).decode()
        answer = ask(http, model="outlined", params=params)
        made[scale] = overlap(opened(answer), draw(scene))

    assert made[1.0] > 0.8 > made[0.0]
