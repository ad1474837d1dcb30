"""IP-Adapters of the embedded model: what they change, that nothing of them stays, and which are refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from calling import Watcher, call, run
from control import OTHER, PARAMS, PLAIN, SCENE, differ, drawn, embedded, made, outline, runner
from ip_adapters import WIDTH, save_all, save_encoder, save_ip_adapter
from octabox.engine.worker.conditions.ip_adapter import load_ip_adapters
from octabox.engine.worker.runner import Runner
from octabox.errors import IncompatibleAdapterError, IncompatibleWeightsError, LoadError, OctaboxError, RemoteCodeError
from octabox.types import AdapterChoice
from trained import EDGES, FRAME, shows

pytestmark = pytest.mark.slow

IMAGES, SCALE = "ip_adapter_image", "ip_adapter_scale"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two IP-Adapters and their image encoder."""
    return save_all(tmp_path_factory.mktemp("adapters"))


def entry(folder: Path, name: str = "first", **fields: Any) -> dict[str, Any]:
    """Return an IP-Adapter as a configuration names it."""
    return {"model": str(folder), "subfolder": "models", "weight_name": f"{name}.safetensors", **fields}


@pytest.fixture(scope="module")
def one(folder: Path) -> Runner:
    """Return the embedded model with one IP-Adapter, and a ControlNet for a sibling."""
    return runner(ip_adapters=[entry(folder)], components={"controlnet": {"model": str(EDGES)}})


@pytest.fixture(scope="module")
def without() -> Image.Image:
    """Return the image of the embedded model itself."""
    return made(runner())


def shown(*images: Image.Image) -> dict[str, Any]:
    """Return the images of a call, one for each IP-Adapter."""
    return {IMAGES: images}


def test_an_image_changes_the_result_as_strongly_as_was_asked(one: Runner, without: Image.Image) -> None:
    """At 0 it changes nothing, and the more the stronger; another image changes it otherwise."""
    results = [made(one, PLAIN, shown(drawn()), **{SCALE: scale}) for scale in (0, 0.1, 1.0)]
    changes = [differ(without, each) for each in results]

    assert 0 == changes[0] < changes[1]
    assert changes[2] > 20
    assert differ(results[2], made(one, PLAIN, shown(drawn(OTHER)), **{SCALE: 1})) > 5


def test_a_call_without_images_is_that_of_the_model_itself(one: Runner, without: Image.Image) -> None:
    """Before, between and after calls with images, whichever class makes them, and nothing is loaded again."""
    unet = one.pipelines[0].unet
    for count in range(6):
        assert 0 == differ(without, made(one))
        made(one, PLAIN, shown(drawn(SCENE if count % 2 else OTHER)), **{SCALE: count / 2}, num_inference_steps=2)

    assert unet is one.pipelines[0].unet
    assert 0 == differ(without, made(one))


def test_an_error_and_a_cancel_leave_no_trace(one: Runner, without: Image.Image) -> None:
    """A call that ends amid its steps takes them out too."""
    watcher = Watcher(error=RuntimeError("enough"), step=2)
    with pytest.raises(RuntimeError, match="enough"):
        run(one, call(PLAIN, {**PARAMS, SCALE: 1.0}, inputs=shown(drawn())), watcher)

    assert 0 == differ(without, made(one))
    with pytest.raises(ValueError, match="same length"):
        made(one, PLAIN, shown(drawn(), drawn()), **{SCALE: 1.0})
    assert 0 == differ(without, made(one))


def test_siblings_take_images_too(one: Runner) -> None:
    """A ControlNet says where, an image what; each has its own strength."""
    guided, with_control = "StableDiffusionControlNetPipeline", {"image": (outline(),)}
    plain = made(one, guided, with_control)
    both = {**with_control, **shown(drawn())}

    assert 0 == differ(plain, made(one, guided, both, **{SCALE: 0}))
    assert differ(plain, made(one, guided, both, **{SCALE: 1})) > 20
    assert 0 == differ(plain, made(one, guided, with_control))
    started = {"image": (drawn(),)}
    again = "StableDiffusionImg2ImgPipeline"
    assert differ(made(one, again, started), made(one, again, {**started, **shown(drawn(OTHER))}, **{SCALE: 1})) > 5


def test_two_have_an_image_and_a_strength_each(folder: Path, without: Image.Image, one: Runner) -> None:
    """One of strength 0 is as good as none; one number is for both; what the configuration says is not called for here."""
    two = runner(ip_adapters=[entry(folder), entry(folder, "second")])
    first = made(two, PLAIN, shown(drawn(), drawn(OTHER)), **{SCALE: [0.5, 0]})

    assert differ(first, made(one, PLAIN, shown(drawn()), **{SCALE: 0.5})) <= 1
    assert differ(first, made(two, PLAIN, shown(drawn(), drawn(OTHER)), **{SCALE: [0, 0.5]})) > 5
    assert 0 == differ(
        made(two, PLAIN, shown(drawn(), drawn(OTHER)), **{SCALE: 0.5}),
        made(two, PLAIN, shown(drawn(), drawn(OTHER)), **{SCALE: [0.5, 0.5]}),
    )
    assert 0 == differ(without, made(two))


def test_several_images_for_one(one: Runner) -> None:
    """They are a list inside the list."""
    alone = made(one, PLAIN, shown(drawn()), **{SCALE: 1})

    assert differ(alone, made(one, PLAIN, {IMAGES: ([[drawn(), drawn(OTHER)]],)}, **{SCALE: 1})) > 5


def framed(model: Runner, inputs: Any = None) -> Image.Image:
    """Return the image of a call with a LoRA that draws a frame."""
    wanted = call(PLAIN, {**PARAMS, SCALE: 0.3}, inputs=inputs)
    runs = tuple(replace(each, adapters=(AdapterChoice(FRAME),)) for each in wanted.runs)
    image = run(model, replace(wanted, runs=runs)).outputs[0][0].value
    assert isinstance(image, Image.Image)
    return image


def test_loras_and_ip_adapters_together(folder: Path) -> None:
    """Each works, is gone with its own request, and comes again; a LoRA of the configuration stays."""
    model = runner(ip_adapters=[entry(folder)])
    plain, prompted = made(model), made(model, PLAIN, shown(drawn()), **{SCALE: 0.3})
    lora, both = framed(model), framed(model, shown(drawn()))

    assert "black" == shows(lora)[2]
    assert all(differ(both, each) > 5 for each in (plain, prompted, lora))
    assert 0 == differ(lora, framed(model))
    assert 0 == differ(prompted, made(model, PLAIN, shown(drawn()), **{SCALE: 0.3}))
    assert 0 == differ(both, framed(model, shown(drawn())))
    assert 0 == differ(plain, made(model))
    configured = runner(ip_adapters=[entry(folder)], adapters=[{"lora": FRAME}])
    assert differ(both, framed(configured, shown(drawn()))) <= 1
    assert differ(prompted, made(configured, PLAIN, shown(drawn()), **{SCALE: 0.3})) <= 1


def test_a_single_file_and_an_encoder_of_its_own(folder: Path, one: Runner) -> None:
    """A component of the configuration is used before the adapter's own folder."""
    file = str(folder / "models" / "first.safetensors")
    encoder = {"image_encoder": {"model": str(folder / "models" / "image_encoder")}}
    apart = runner(ip_adapters={"model": file, "image_encoder_folder": None}, components=encoder)
    beside = runner(ip_adapters={"model": file})
    result = made(one, PLAIN, shown(drawn()), **{SCALE: 1})

    assert 0 == differ(result, made(apart, PLAIN, shown(drawn()), **{SCALE: 1}))
    assert 0 == differ(result, made(beside, PLAIN, shown(drawn()), **{SCALE: 1}))


def test_a_pickle_is_read_for_its_weights_alone(folder: Path, one: Runner, tmp_path: Path) -> None:
    """As most are published; one that would run code is refused, and does not."""
    tensors = load_file(folder / "models" / "first.safetensors")
    nested: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        nested[part][rest] = value
    torch.save(nested, tmp_path / "first.bin")
    save_encoder(tmp_path / "image_encoder")
    pickled = runner(ip_adapters={"model": str(tmp_path)})

    assert 0 == differ(made(one, PLAIN, shown(drawn())), made(pickled, PLAIN, shown(drawn())))
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    error = refused(ip_adapters={"model": str(tmp_path / "evil.bin")})
    assert isinstance(error, RemoteCodeError)
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_weights_that_are_kept_small(folder: Path) -> None:
    """Those of the model are; those of an IP-Adapter keep the dtype that they compute in."""
    small = {"components": {"unet": {"storage": "float8_e4m3fn"}}}
    both, model = runner(ip_adapters=[entry(folder)], **small), runner(**small)
    plain = made(model)

    assert 0 == differ(plain, made(both))
    assert 0 == differ(plain, made(both, PLAIN, shown(drawn()), **{SCALE: 0}))
    assert differ(plain, made(both, PLAIN, shown(drawn()), **{SCALE: 1})) > 5
    assert 0 == differ(plain, made(both))


def refused(**fields: Any) -> OctaboxError:
    """Return the error for a model that cannot be loaded."""
    with pytest.raises(LoadError) as caught:
        runner(**fields)
    return caught.value


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    """Adapters of other models, of more layers or of other words."""
    save_ip_adapter(tmp_path / "wide.safetensors", words_width=96)
    save_ip_adapter(tmp_path / "many.safetensors", layers=16)
    save_ip_adapter(tmp_path / "few.safetensors", layers=2)
    save_encoder(tmp_path / "image_encoder")
    tensors = load_file(folder / "models" / "first.safetensors")
    del tensors["image_proj.norm.bias"]
    save_file(tensors, tmp_path / "lacking.safetensors")
    for name, said in (
        ("lacking", "no weights for encoder_hid_proj"),
        ("wide", "96"),
        ("many", "16 layers, and this model has 4"),
        ("few", "to_k_ip"),
    ):
        error = refused(ip_adapters={"model": str(tmp_path), "weight_name": f"{name}.safetensors"})

        assert isinstance(error, IncompatibleAdapterError)
        assert f"IP-Adapter {name}.safetensors does not fit" in error.message
        assert said in error.message
        assert "steered" == error.model


def test_files_that_cannot_be_read_are_named(folder: Path, tmp_path: Path) -> None:
    """Cut short, of another kind, for faces, missing, or one of several."""
    whole = (folder / "models" / "first.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[:-100])
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    faces = {"image_proj.norm.weight": torch.ones(4), "ip_adapter.1.to_k_lora.down.weight": torch.zeros(1, 4)}
    save_file(faces, tmp_path / "faces.safetensors")

    short = refused(ip_adapters={"model": str(tmp_path / "short.safetensors")})
    assert isinstance(short, IncompatibleWeightsError)
    assert "truncated" in str(short)
    for name, said in (("other", "is not an IP-Adapter"), ("faces", "Face ID"), ("missing", "no IP-Adapter")):
        error = refused(ip_adapters={"model": str(tmp_path), "weight_name": f"{name}.safetensors"})
        assert said in error.message
    error = refused(ip_adapters={"model": str(tmp_path)})
    assert "has several files: faces.safetensors, other.safetensors, short.safetensors" in error.message
    assert "weight_name" in error.hint
    assert "There is no IP-Adapter at /nowhere" in refused(ip_adapters={"model": "/nowhere"}).message


def test_the_image_encoder_must_be_there_and_fit(folder: Path, tmp_path: Path) -> None:
    """Without one no image can be looked at; one of another width gives what the adapter does not take."""
    save_ip_adapter(tmp_path / "alone.safetensors")
    error = refused(ip_adapters={"model": str(tmp_path)})

    assert "image encoder" in error.message
    assert "components: {image_encoder:" in error.hint
    assert "has no image encoder" in refused(ip_adapters={"model": str(tmp_path), "image_encoder_folder": None}).message
    save_encoder(tmp_path / "image_encoder", width=20)
    assert f"of width {WIDTH}, and this one has 20 or 24" in refused(ip_adapters={"model": str(tmp_path)}).message


def test_an_image_encoder_without_some_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    """The library would draw them at random, so that each process would see other things in an image."""
    save_ip_adapter(tmp_path / "alone.safetensors")
    save_encoder(tmp_path / "image_encoder")
    file = tmp_path / "image_encoder/model.safetensors"
    save_file(dict(sorted(load_file(file).items())[1:]), file, {"format": "pt"})

    error = refused(ip_adapters={"model": str(tmp_path)})

    assert "lack 1 of the" in error.message
    assert f"{tmp_path}/image_encoder" in error.message


def test_a_class_that_takes_no_images_as_prompts_is_refused(folder: Path) -> None:
    """A T2I-Adapter's class has no place for them."""
    with pytest.raises(LoadError, match="object does not support IP-Adapters"):
        load_ip_adapters(object(), embedded(ip_adapters=[entry(folder)]), torch.float32)
    assert load_ip_adapters(object(), embedded(), torch.float32) is None
