"""Which memory mode fits, by the sizes of weights."""

from __future__ import annotations

import pytest

from octabox.engine.worker.memory_modes.decision import MODES, DecodeEstimate, SizeHistory, WeightSizes, decide

GIB = 2**30


def sizes(denoiser: float, encoders: float, vae: float = 0.2) -> WeightSizes:
    """Return the sizes of a model in GiB."""
    parts = {"transformer": denoiser, "text_encoder": encoders, "vae": vae}
    components = {name: round(size * GIB) for name, size in parts.items()}
    return WeightSizes(components, frozenset({"text_encoder"}), frozenset({"transformer"}), GIB // 2)


#: Weights in half precision, and what a call needs: SDXL and FLUX.1 at 1024x1024, Wan 14B at 480p.
SDXL, FLUX, WAN = (sizes(4.8, 1.5), 1.6), (sizes(22.1, 9.1), 1.8), (sizes(53.2, 10.6), 7.0)


@pytest.mark.parametrize(
    ("model", "card", "mode"),
    [
        (SDXL, 24, "full"),
        (SDXL, 7.5, "encoder_offload"),
        (SDXL, 6.5, "model_cpu_offload"),
        (SDXL, 5, "group_offload"),
        (FLUX, 80, "full"),
        (FLUX, 32, "encoder_offload"),
        (FLUX, 24, "model_cpu_offload"),
        (FLUX, 16, "group_offload"),
        (WAN, 80, "full"),
        (WAN, 64, "encoder_offload"),
    ],
)
def test_the_fastest_mode_that_fits_is_selected(model: tuple[WeightSizes, float], card: float, mode: str) -> None:
    """Encoders leave the device first, then all components but one, then all layers but a few."""
    decision = decide(model[0], round(model[1] * GIB), round(card * GIB), "cuda:0")

    assert mode == decision.mode
    assert decision.fits
    assert f"cuda:0 has {card:.2f} GiB" in decision.reason


def test_each_mode_needs_no_more_than_the_one_before() -> None:
    """So that the next one is an alternative where memory runs out."""
    for model, working in (SDXL, FLUX, WAN):
        needs = [model.needed(mode, round(working * GIB)) for mode in MODES]
        assert sorted(needs, reverse=True) == needs


def test_a_mode_in_which_memory_has_run_out_is_not_selected() -> None:
    """Although it should fit."""
    decision = decide(SDXL[0], GIB, 80 * GIB, "cuda:0", {"full", "encoder_offload"})

    assert ("model_cpu_offload", True) == (decision.mode, decision.fits)
    assert "Memory has run out in the modes that need more." == decision.reason


def test_a_larger_call_needs_another_mode() -> None:
    """The same model on the same device."""
    modes = [decide(SDXL[0], round(working * GIB), 10 * GIB, "cuda:0").mode for working in (1, 4, 5.1, 9)]

    assert ["full", "encoder_offload", "model_cpu_offload", "group_offload"] == modes


def test_what_would_fit_is_advice_and_never_done() -> None:
    """The largest component in 8 bits, else in 4; a call that is too large for any mode does not fit."""
    in_8_bits = decide(*flux_on(24))
    assert "`storage: float8_e4m3fn` of 'transformer'" in in_8_bits.advice
    in_4_bits = decide(*flux_on(18))
    assert "a 4-bit `quantization` of 'transformer'" in in_4_bits.advice

    decision = decide(SDXL[0], 9 * GIB, 6 * GIB, "cuda:0")
    assert ("group_offload", False) == (decision.mode, decision.fits)
    assert "A smaller size needs less." == decision.advice


def flux_on(card: float) -> tuple[WeightSizes, int, int, str]:
    """Return the arguments of a decision about FLUX.1."""
    return FLUX[0], round(FLUX[1] * GIB), round(card * GIB), "cuda:0"


def test_an_unknown_device_gets_all_weights() -> None:
    """Where memory then runs out, the call is repeated."""
    decision = decide(SDXL[0], GIB, None, "mps:0")

    assert ("full", True) == (decision.mode, decision.fits)


def test_decoding_in_tiles_has_a_limit() -> None:
    """A decoder without tiles needs as much in any case."""
    tiles, none = DecodeEstimate(10, 100), DecodeEstimate(10)

    assert [10_000, 1250, 500] == [
        tiles.working_bytes(1000, tiled=False),
        tiles.working_bytes(1000, tiled=True),
        tiles.working_bytes(50, tiled=True),
    ]
    assert 10_000 == none.working_bytes(1000, tiled=True)


def test_a_small_call_after_a_large_one_changes_nothing() -> None:
    """The largest of the last calls counts."""
    history = SizeHistory(length=3)

    assert [5, 9, 9, 9, 4] == [history.largest(size) for size in (5, 9, 2, 3, 4)]
