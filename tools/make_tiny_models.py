"""Write tiny models with random weights into a folder: one that makes videos with audio, one audio, one depth maps, one words.

What they make is noise. They show how models of each kind are called, on any machine and without a download.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import yaml
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from makers import pipelines
from makers.samples import content, is_marker

#: The class of each model, and what it is for.
MODELS = {
    "tiny-video": ("LTX2Pipeline", "Noise that moves, with audio: a tiny model with random weights."),
    "tiny-sound": ("StableAudioPipeline", "Noise to hear: a tiny model with random weights."),
    "tiny-depth": ("MarigoldDepthPipeline", "A guess at what is near: a tiny model with random weights."),
    "tiny-text": ("UniDiffuserPipeline", "Words without sense about an image: a tiny model with random weights."),
}


def main(folder: Path) -> None:
    """Write the models, their configurations, and an image to give them."""
    for library in (diffusers_logging, transformers_logging):
        # What they say to whoever makes and saves weights helps nobody who wants to try them.
        library.set_verbosity_error()
        library.disable_progress_bar()
    weights = folder / "weights"
    for name, (pipeline, description) in MODELS.items():
        tiny = pipelines()[pipeline]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiny.make().save_pretrained(str(weights / name))
        defaults = {key: value for key, value in tiny.params.items() if not is_marker(value) and key != "prompt"}
        model = {"name": name, "model": f"weights/{name}", "description": description, "defaults": defaults}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(model, sort_keys=False), encoding="utf-8")
        print(f"{folder / name}.yaml: {description}")
    (folder / "disc.png").write_bytes(content("image", 32, 32))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("models"))
