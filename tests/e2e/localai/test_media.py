"""Videos, repainted, larger and moving images, and audio by LocalAI's contract, from tiny models of real classes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

import upscalers
from e2e.localai.conftest import Model
from localai_backend import Client, Message, failing, messages
from makers import pipelines
from makers.samples import content
from octabox.media import audio, video
from octabox.media.limits import MediaLimits
from octabox.media.metadata import chunks as metadata

pytestmark = pytest.mark.slow

#: Makes a tiny model of a class.
Make = Callable[[str], Model]


def load(backend: Client, model: Model, **fields: object) -> None:
    """Load a tiny model."""
    options = [*model.options, *fields.pop("Options", [])]  # type: ignore[misc] # a list of texts
    assert backend.load(model.folder, Options=options, **fields).success


def clip(path: Path) -> video.Video:
    """Return the video of a file."""
    return video.decode(path.read_bytes(), parameter="made", limits=MediaLimits())


def video_of(backend: Client, **fields: object) -> Message:
    """Make a video."""
    return backend.stub.GenerateVideo(messages.GenerateVideoRequest(prompt="waves", **fields), timeout=240)


def test_words_become_a_video(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """The size, the number of frames and the rate are as asked for; a suffix that is no video's makes MP4."""
    load(backend, tiny("WanPipeline"))
    assert video_of(backend, dst=str(tmp_path / "own.mp4")).success
    assert 5 == len(clip(tmp_path / "own.mp4").frames)
    fields = {"width": 32, "height": 32, "num_frames": 9, "fps": 8, "step": 2, "seed": 3, "cfg_scale": 1.5}
    for name in ("a.tmp", "b.mp4"):
        answer = video_of(backend, dst=str(tmp_path / name), params={"max_sequence_length": "8"}, **fields)
        assert answer.success

    made = clip(tmp_path / "a.tmp")
    assert (9, (32, 32), 8) == (len(made.frames), made.frames[0].size, made.fps)
    assert (tmp_path / "a.tmp").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert b"ftyp" == (tmp_path / "a.tmp").read_bytes()[4:8]


def test_a_parameter_that_the_model_has_not_is_named(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """A parameter of params that no pipeline takes is an error, and no file is left behind."""
    load(backend, tiny("WanPipeline"))
    with failing() as told:
        video_of(backend, dst=str(tmp_path / "none.mp4"), params={"num_frame": "5"})

    assert grpc.StatusCode.INVALID_ARGUMENT == told[0]
    assert "num_frame" in told[1]
    assert [] == list(tmp_path.iterdir())


def test_words_become_a_moving_image(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """A model of videos serves GenerateImage too: with an animated PNG of FRAMES frames, FPS a second."""
    load(backend, tiny("WanPipeline"))
    assert backend.image(tmp_path / "made.png", width=16, height=16).success

    with Image.open(tmp_path / "made.png") as picture:
        assert ("PNG", 5, 250) == (picture.format, getattr(picture, "n_frames", 1), picture.info["duration"])


def test_an_image_becomes_a_video(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """The image to begin with reaches the pipeline under its own name."""
    load(backend, tiny("WanImageToVideoPipeline"))
    (tmp_path / "start.png").write_bytes(content("image", 16, 16))

    assert video_of(backend, dst=str(tmp_path / "made.mp4"), start_image=str(tmp_path / "start.png"), seed=1).success
    assert 5 == len(clip(tmp_path / "made.mp4").frames)
    with failing() as told:
        video_of(backend, dst=str(tmp_path / "none.mp4"))
    assert grpc.StatusCode.INVALID_ARGUMENT == told[0]
    assert "image" in told[1]


def test_only_what_is_masked_is_repainted(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """The JSON file's mask reaches the pipeline: another mask makes another image."""
    load(backend, tiny("StableDiffusionInpaintPipeline"))
    picture = base64.b64encode(content("image", 32, 32)).decode()
    made = []
    for name, colour in (("all", 255), ("none", 0), ("again", 255)):
        Image.new("L", (32, 32), colour).save(tmp_path / "mask.png")
        mask = base64.b64encode((tmp_path / "mask.png").read_bytes()).decode()
        (tmp_path / "src.json").write_text(json.dumps({"image": picture, "mask_image": mask}), encoding="utf-8")
        references = [str(tmp_path / "mask.png")]
        assert backend.image(tmp_path / name, src=str(tmp_path / "src.json"), ref_images=references).success
        made.append((tmp_path / name).read_bytes())

    assert made[0] == made[2] != made[1]


@pytest.mark.parametrize(("scale", "side"), [(0, 64), (2, 32), (4, 64)])
def test_an_image_becomes_larger(backend: Client, tiny: Make, tmp_path: Path, scale: int, side: int) -> None:
    """The model's own pipeline makes it as many times as large as was asked for."""
    load(backend, tiny("StableDiffusionUpscalePipeline"))
    (tmp_path / "src.png").write_bytes(content("image", 16, 16))
    request = messages.UpscaleImageRequest(src=str(tmp_path / "src.png"), dst=str(tmp_path / "made.tmp"), scale=scale)

    assert backend.stub.UpscaleImage(request, timeout=240).success
    with Image.open(tmp_path / "made.tmp") as picture:
        assert ("PNG", (side, side)) == (picture.format, picture.size)


def test_a_network_in_a_file_makes_it_larger(backend: Client, tmp_path: Path) -> None:
    """A network of the ESRGAN kind is loaded by its file, as LocalAI names it, and asked as often as the scale needs."""
    file = upscalers.save(upscalers.nearest(2), tmp_path / "2x.pth")
    assert backend.load(file).success
    (tmp_path / "src.png").write_bytes(content("image", 16, 16))
    for scale in (2, 4):
        names = {"src": str(tmp_path / "src.png"), "dst": str(tmp_path / "made.png")}
        assert backend.stub.UpscaleImage(messages.UpscaleImageRequest(scale=scale, **names), timeout=240).success
        with Image.open(tmp_path / "src.png") as given, Image.open(tmp_path / "made.png") as made:
            expected = given.convert("RGB").resize((16 * scale, 16 * scale), Image.Resampling.NEAREST)
            assert expected.tobytes() == made.tobytes()


def test_what_enlarges_nothing_says_so(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """Nothing is enlarged by another way than a model that is made for it."""
    (tmp_path / "src.png").write_bytes(content("image", 16, 16))
    fields = {"src": str(tmp_path / "src.png"), "dst": str(tmp_path / "made.png")}
    for name in ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"):
        load(backend, tiny(name))
        with failing() as told:
            backend.stub.UpscaleImage(messages.UpscaleImageRequest(scale=2, **fields), timeout=240)
        assert grpc.StatusCode.INVALID_ARGUMENT == told[0]
    assert ["src.png"] == [path.name for path in tmp_path.iterdir()]


def test_words_become_an_audio(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """The duration is as asked for, and the suffix decides the format."""
    load(backend, tiny("AudioLDMPipeline"))
    for name in ("made.wav", "made.flac"):
        request = messages.SoundGenerationRequest(text="rain", dst=str(tmp_path / name), duration=0.1)
        assert backend.stub.SoundGeneration(request, timeout=240).success
        sound = audio.decode((tmp_path / name).read_bytes(), parameter="made", limits=MediaLimits())
        assert 0.05 < sound.samples.shape[-1] / sound.rate < 0.3

    assert b"fLaC" == (tmp_path / "made.flac").read_bytes()[:4]


def test_a_model_that_needs_no_words_is_served(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """Prompt, size and guidance reach only pipelines that have them, and what has no effect is told."""
    load(backend, tiny("DDPMPipeline"), CFGScale=7)
    answer = backend.image(tmp_path / "made.png", width=512, height=512)

    assert answer.success
    assert "width" in answer.message


def test_a_scheduler_a_type_and_a_folder_are_honoured(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """The scheduler of ModelOptions is the one that runs, and another class of the same weights can be asked for."""
    model = tiny("StableDiffusionPipeline")
    made = []
    for fields in ({}, {"SchedulerType": "euler_a"}, {"SchedulerType": "k_dpmpp_2m"}, {"CLIPSkip": 1}):
        load(backend, model, **fields)
        assert backend.image(tmp_path / "made.png", step=3).success
        made.append((tmp_path / "made.png").read_bytes())
    (tmp_path / "src.png").write_bytes(content("image", 32, 32))
    load(backend, model, PipelineType="StableDiffusionImg2ImgPipeline", Options=[])
    assert backend.image(tmp_path / "made.png", src=str(tmp_path / "src.png"), step=3).success

    assert 4 == len(set(made))
    with failing() as told:
        backend.load(model.folder, SchedulerType="no_such")
    assert grpc.StatusCode.INVALID_ARGUMENT == told[0]


def test_loras_are_applied(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """Each LoRA changes the image by its scale; none, and one that counts for nothing, change nothing."""
    model = tiny("StableDiffusionPipeline")
    unet = pipelines()["StableDiffusionPipeline"].make().unet
    unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    StableDiffusionPipeline.save_lora_weights(tmp_path / "lora", get_peft_model_state_dict(unet))
    file, made = "lora/pytorch_lora_weights.safetensors", []
    for fields in (
        {},
        {"LoraAdapter": file, "LoraScale": 0.5},
        {"LoraAdapters": [file], "LoraScales": [0.5]},
        {"LoraAdapters": [file], "LoraScales": [0.0]},
        {"LoraAdapters": [file]},
    ):
        load(backend, model, ModelPath=str(tmp_path), **fields)
        assert backend.image(tmp_path / "made.png", step=3).success
        with Image.open(tmp_path / "made.png") as picture:
            made.append(picture.tobytes())

    none, half, also_half, nothing, full = made
    assert none == nothing
    assert half == also_half
    assert 3 == len({none, half, full})


def test_a_controlnet_leads_the_image(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """With a ControlNet beside the model, the source is what leads it."""
    guided = tiny("StableDiffusionControlNetPipeline")
    (tmp_path / "src.png").write_bytes(content("image", 32, 32))
    load(backend, tiny("StableDiffusionPipeline"), ControlNet=str(guided.folder / "controlnet"))
    answer = backend.image(tmp_path / "made.png", src=str(tmp_path / "src.png"), width=32, height=32)

    assert answer.success
    assert (
        "StableDiffusionControlNetPipeline" in metadata.read_metadata((tmp_path / "made.png").read_bytes())["pipeline"]
    )


def test_engine_args_say_what_no_field_can(backend: Client, tiny: Make, tmp_path: Path) -> None:
    """What EngineArgs say of the model is done, and a component that there is none of is refused."""
    model, made = tiny("StableDiffusionPipeline"), []
    for arguments in ("", '{"dtype": "bfloat16"}'):
        load(backend, model, EngineArgs=arguments)
        assert backend.image(tmp_path / "made.png").success
        made.append((tmp_path / "made.png").read_bytes())
    with failing() as told:
        load(backend, model, EngineArgs='{"components": {"no_such_part": {"dtype": "bfloat16"}}}')

    assert made[0] != made[1]
    assert grpc.StatusCode.FAILED_PRECONDITION == told[0]
    assert "no_such_part" in told[1]
