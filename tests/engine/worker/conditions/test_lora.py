"""LoRAs in a loaded model: what they do to its images, alone and together, and that nothing is left of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import makers
from octabox.engine.worker.conditions.lora import Loras
from octabox.engine.worker.placement.process_memory import measure_memory
from octabox.errors import (
    AdapterNotFoundError,
    IncompatibleAdapterError,
    IncompatibleWeightsError,
    InvalidParameterError,
    RemoteCodeError,
    UnknownParameterError,
)
from octabox.types import AdapterChoice
from trained import FRAME, HEARTS, LORAS, distance, image, pipeline, shows


@pytest.fixture(scope="module")
def pipe() -> Any:
    """Return the embedded model, which all tests share: each must leave it as it was."""
    return pipeline()


@pytest.fixture
def loras(pipe: Any) -> Any:
    """Return what applies LoRAs to the model; in the end it holds none."""
    loras = Loras(pipe, max_loaded=2)
    yield loras
    loras.clear()


def chosen(*files: str, weight: float = 1.0) -> list[AdapterChoice]:
    """Return LoRAs of one strength."""
    return [AdapterChoice(file, weight, name=Path(file).stem) for file in files]


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ((), ("circle", "red", "white")),
        ((HEARTS,), ("heart", "red", "white")),
        ((FRAME,), ("circle", "red", "black")),
        ((HEARTS, FRAME), ("heart", "red", "black")),
    ],
)
def test_each_does_what_its_name_says(
    pipe: Any, loras: Loras, files: tuple[str, ...], seen: tuple[str, str, str]
) -> None:
    """One makes every shape a heart, one draws a black frame, and together they do both."""
    reports, warnings = loras.apply(chosen(*files))

    assert [seen] * 3 == [shows(image(pipe, seed=seed)) for seed in range(3)]
    assert ([], True) == (warnings, all(0 < each.used == each.keys for each in reports))


@pytest.mark.slow
@pytest.mark.parametrize("file", [HEARTS, FRAME])
def test_strength_goes_from_nothing_to_all(pipe: Any, loras: Loras, file: str) -> None:
    """At 0 the image is the plain one, at 0.5 it is changed less than at 1."""
    plain = image(pipe)
    made = []
    for weight in (0, 0.5, 1):
        loras.apply(chosen(file, weight=weight))
        made.append(image(pipe))

    assert plain.tobytes() == made[0].tobytes()
    assert 0 < distance(plain, made[1]) < distance(plain, made[2])


@pytest.mark.slow
def test_each_has_its_own_strength(pipe: Any, loras: Loras) -> None:
    """One at full strength and the other at none is the one alone."""
    loras.apply(chosen(HEARTS))
    alone = image(pipe)
    loras.apply([AdapterChoice(HEARTS, 1), AdapterChoice(FRAME, 0)])

    assert alone.tobytes() == image(pipe).tobytes()


@pytest.mark.slow
def test_strength_by_component(pipe: Any, loras: Loras) -> None:
    """The text encoder's part and the UNet's part are two changes; without both of them nothing is changed."""
    plain = image(pipe)
    made = []
    for text, unet in ((1, 0), (0, 1), (1, 1), (0, 0)):
        loras.apply([AdapterChoice(HEARTS, 1, {"text_encoder": text, "unet": unet})])
        made.append(image(pipe).tobytes())

    assert made[3] == plain.tobytes()
    assert 4 == len(set(made))


def test_a_strength_for_a_part_that_takes_none_is_refused(loras: Loras) -> None:
    """The error names those that do."""
    with pytest.raises(InvalidParameterError, match="'vae'") as caught:
        loras.apply([AdapterChoice(HEARTS, 1, {"vae": 1})])

    assert ("text_encoder", "unet") == caught.value.choices


@pytest.mark.slow
@pytest.mark.parametrize("count", [24, 200])
def test_no_trace_over_many_calls(pipe: Any, loras: Loras, count: int) -> None:
    """In many calls with one LoRA, another, both and none by turns those with none are all alike, and memory stays."""
    plain = image(pipe, steps=1).tobytes()
    held = 0
    kinds = [(HEARTS,), (), (FRAME,), (), (HEARTS, FRAME), ()]
    seen: dict[tuple[str, ...], set[bytes]] = {}
    for number in range(count):
        files = kinds[number % len(kinds)]
        loras.apply(chosen(*files, weight=0.5 + number % 3 / 4 if files else 1))
        seen.setdefault(files, set()).add(image(pipe, steps=1).tobytes())
        if number == 2 * len(kinds):
            held = measure_memory("cpu").bytes["host"]

    assert {plain} == seen[()]
    assert plain not in seen[(HEARTS,)] | seen[(FRAME,)]
    assert measure_memory("cpu").bytes["host"] < 1.05 * held


def test_with_the_last_one_the_layers_are_what_they_were(pipe: Any) -> None:
    """Nothing of a LoRA is left in the modules once it has been taken out of memory."""
    loras, before = Loras(pipe, max_loaded=1), names(pipe)
    loras.apply(chosen(HEARTS), unmerged=True)
    assert before != names(pipe)
    loras.clear()

    assert before == names(pipe)
    assert not hasattr(pipe.unet, "peft_config")


def names(pipe: Any) -> list[str]:
    """Return the names of everything in the model that may take a LoRA."""
    return [name for part in (pipe.unet, pipe.text_encoder) for name, _ in part.named_modules()]


@pytest.mark.slow
def test_those_not_needed_for_longest_are_dropped(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """No more are kept than may be, and the same file again is not loaded again."""
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(HEARTS).read_bytes())
    loras.apply(chosen(HEARTS))
    first = image(pipe)
    loras.apply(chosen(FRAME))
    kept = next(iter(loras._loaded.values()))
    loras.apply(chosen(HEARTS))
    assert kept in loras._loaded.values()
    loras.apply(chosen(str(copy)))

    assert {HEARTS, str(copy)} == {key[0] for key in loras._loaded}
    assert first.tobytes() == image(pipe).tobytes()


@pytest.mark.slow
def test_a_file_that_has_changed_is_read_again(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """What counts is what the file holds now."""
    file = tmp_path / "style.safetensors"
    file.write_bytes(Path(HEARTS).read_bytes())
    loras.apply(chosen(str(file)))
    assert "heart" == shows(image(pipe))[0]
    file.write_bytes(Path(FRAME).read_bytes())
    loras.apply(chosen(str(file)))

    assert ("circle", "red", "black") == shows(image(pipe))
    assert 1 == len(loras._loaded)


def test_kohyas_layout(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """The same weights under kohya's names, with its alphas, make the same image."""
    weights = load_file(HEARTS)
    renamed = {kohya(name): value for name, value in weights.items()}
    downs = {name: value for name, value in renamed.items() if name.endswith("lora_down.weight")}
    alphas = {name.replace("lora_down.weight", "alpha"): torch.tensor(len(value)) for name, value in downs.items()}
    save_file(renamed | alphas, tmp_path / "kohya.safetensors")
    loras.apply(chosen(HEARTS))
    expected = image(pipe)
    reports, warnings = loras.apply(chosen(str(tmp_path / "kohya.safetensors")))

    assert (len(weights), len(weights), []) == (reports[0].keys, reports[0].used, warnings)
    assert 1 > distance(expected, image(pipe))


def kohya(name: str) -> str:
    """Return what kohya's trainer would call a tensor of PEFT's layout."""
    place, _, matrix = name.partition(".lora_")
    prefix = "lora_te_text_model_" if place.startswith("text_encoder.") else "lora_unet_"
    place = place.partition(".")[2].replace(".", "_")
    return f"{prefix}{place}.{'lora_down' if matrix.startswith('A') else 'lora_up'}.weight"


@pytest.mark.slow
def test_a_layout_of_two_minds(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """Trainers of diffusers write attention in one layout and convolutions in another: nothing of it is lost."""
    weights = load_file(FRAME)
    mixed = {older_matrix(name) if ".attn" in name else name: value for name, value in weights.items()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    loras.apply(chosen(FRAME))
    expected = image(pipe)
    reports, _ = loras.apply(chosen(str(tmp_path / "mixed.safetensors")))

    assert len(weights) == reports[0].used
    assert expected.tobytes() == image(pipe).tobytes()


def older_matrix(name: str) -> str:
    """Return what diffusers calls a matrix behind the name of its layer."""
    return name.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up.")


def test_what_makes_a_dora_is_told_to_be_lost(loras: Loras, tmp_path: Path) -> None:
    """The library reads it as a LoRA."""
    renamed = {kohya(name): value for name, value in load_file(FRAME).items()}
    first = next(name for name in renamed if name.endswith("lora_up.weight")).partition(".")[0]
    save_file(renamed | {f"{first}.dora_scale": torch.ones(1, 48)}, tmp_path / "dora.safetensors")
    reports, warnings = loras.apply(chosen(str(tmp_path / "dora.safetensors")))

    assert (len(renamed) + 1, len(renamed)) == (reports[0].keys, reports[0].used)
    assert "dora_scale" in warnings[0]


@pytest.mark.slow
def test_diffusers_older_layout(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """Layers for attention alone, under the names of diffusers' first years."""
    weights = {name: value for name, value in load_file(FRAME).items() if ".attn" in name}
    turned = {older(name): value for name, value in weights.items()}
    save_file(weights, tmp_path / "new.safetensors")
    save_file(turned, tmp_path / "old.safetensors")
    loras.apply(chosen(str(tmp_path / "new.safetensors")))
    expected = image(pipe)
    reports, _ = loras.apply(chosen(str(tmp_path / "old.safetensors")))

    assert len(weights) == reports[0].used
    assert expected.tobytes() == image(pipe).tobytes()


def older(name: str) -> str:
    """Return what diffusers first called a tensor of attention."""
    place, _, matrix = name.partition(".lora_")
    block, _, part = place.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{part}_lora.{'down' if matrix.startswith('A') else 'up'}.weight"


def test_tensors_without_a_place_are_told(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """Those of a second text encoder are counted and named, and the rest is applied."""
    weights = load_file(HEARTS)
    first = next(name for name in weights if name.startswith("text_encoder."))
    pair = [first, first.replace("lora_A", "lora_B")]
    more = weights | {name.replace("text_encoder.", "text_encoder_2."): weights[name].clone() for name in pair}
    save_file(more, tmp_path / "more.safetensors")
    reports, warnings = loras.apply(chosen(str(tmp_path / "more.safetensors")))

    assert (len(more), len(weights)) == (reports[0].keys, reports[0].used)
    assert "2 of its" in warnings[0]
    assert "text_encoder_2." in warnings[0]
    assert "heart" == shows(image(pipe))[0]


def test_a_lora_without_any_place_is_an_error(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """It would change nothing."""
    weights = {f"text_encoder_2.{name.partition('.')[2]}": value for name, value in load_file(HEARTS).items()}
    save_file(weights, tmp_path / "other.safetensors")

    with pytest.raises(IncompatibleAdapterError, match="does not fit"):
        loras.apply(chosen(str(tmp_path / "other.safetensors")))
    assert not loras._loaded


def broken(folder: Path) -> dict[str, Path]:
    """Write files that no model can take."""
    weights = load_file(HEARTS)
    wide = {name: torch.zeros(4, 768) if "attn2.to_k.lora_A" in name else value for name, value in weights.items()}
    save_file(wide, folder / "wide.safetensors", {"ss_base_model_version": "sd_v1"})
    foreign = {
        f"transformer.single_transformer_blocks.0.attn.to_q.lora_{each}.weight": torch.zeros(4, 4) for each in "AB"
    }
    save_file(foreign, folder / "foreign.safetensors")
    (folder / "short.safetensors").write_bytes(Path(HEARTS).read_bytes()[:-100])
    save_file({"model.weight": torch.zeros(4)}, folder / "whole.safetensors")
    place = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file({f"{place}.oft_blocks": torch.zeros(4, 4, 4)}, folder / "oft.safetensors")
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
    save_file({f"{place}.{name}": torch.zeros(4, 4) for name in names}, folder / "tucker.safetensors")
    torch.save({"call": print}, folder / "pickle.pt")
    (folder / "text.pt").write_text("no weights at all")
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("wide", IncompatibleAdapterError, "trained for sd_v1"),
        ("foreign", IncompatibleAdapterError, "does not fit"),
        ("short", IncompatibleWeightsError, "truncated"),
        ("whole", IncompatibleWeightsError, "is not a LoRA"),
        ("oft", IncompatibleAdapterError, "of type OFT"),
        ("tucker", IncompatibleAdapterError, "Tucker decompositions are not"),
        ("pickle", RemoteCodeError, "would run code"),
        ("text", IncompatibleWeightsError, "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_leaves_no_trace(
    pipe: Any, loras: Loras, tmp_path: Path, name: str, kind: type[Exception], said: str
) -> None:
    """The error says what is wrong, and the next call is as if nothing had been asked, also beside a LoRA that is held."""
    plain = image(pipe, steps=2)
    file = str(broken(tmp_path)[name])
    for held in ((), (HEARTS,)):
        loras.apply(chosen(*held))
        with pytest.raises(kind) as caught:
            loras.apply(chosen(*held, file))
        assert said in str(caught.value)
        loras.apply([])
        assert plain.tobytes() == image(pipe, steps=2).tobytes()


def test_a_lora_that_is_not_there(loras: Loras) -> None:
    """The error says where it was looked for."""
    with pytest.raises(AdapterNotFoundError, match="/nowhere/style"):
        loras.apply(chosen("/nowhere/style.safetensors"))


def test_a_folder_with_one_lora(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """As diffusers saves it; of several files none is chosen."""
    pipe.save_lora_weights(tmp_path / "one", unet_lora_layers=unet_layers(), safe_serialization=True)
    loras.apply(chosen(str(tmp_path / "one")))
    assert "black" == shows(image(pipe))[2]
    with pytest.raises(AdapterNotFoundError, match=r"frame\.safetensors, hearts\.safetensors"):
        loras.apply(chosen(str(LORAS)))


def unet_layers() -> dict[str, torch.Tensor]:
    """Return the layers of the frame, without the name of their component."""
    return {name.removeprefix("unet."): value for name, value in load_file(FRAME).items()}


def test_a_pipeline_without_loras_says_so() -> None:
    """It has no way to load one."""
    pipe = makers.pipelines()["DDPMPipeline"].make()

    assert ([], []) == Loras(pipe).apply([])
    with pytest.raises(UnknownParameterError, match="does not support LoRAs"):
        Loras(pipe).apply(chosen(HEARTS))
