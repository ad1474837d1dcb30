"""Train the denoiser for some seconds on tones, and save a pipeline that Octabox can serve.

Run it as ``python -m spectrogram_vocoder.make FOLDER [--tone HERTZ FILE.npy]``.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

from spectrogram_vocoder.pipeline import SpectrogramDenoiser, SpectrogramVocoderPipeline

#: Training: steps, waveforms per step, samples per waveform.
STEPS, BATCH, SAMPLES = 300, 8, 8192


def make(folder: Path) -> SpectrogramVocoderPipeline:
    """Train a pipeline, save it and return it."""
    torch.manual_seed(0)
    denoiser = SpectrogramDenoiser()
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    train(denoiser, scheduler.alphas_cumprod)
    pipe = SpectrogramVocoderPipeline(denoiser.eval(), scheduler)
    pipe.save_pretrained(folder)
    return pipe


def train(denoiser: SpectrogramDenoiser, signal_shares: torch.Tensor) -> None:
    """Train the denoiser to predict the noise that the scheduler adds to tones."""
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        audio = tones(BATCH, SAMPLES, denoiser.config.sampling_rate)
        share = signal_shares[torch.randint(len(signal_shares), (BATCH,))]
        noise = torch.randn_like(audio)
        noisy = share[:, None].sqrt() * audio + (1 - share[:, None]).sqrt() * noise
        predicted = denoiser(noisy, 1 - share, denoiser.spectrogram(audio))
        # The weight makes the error in the audio count equally at every noise level.
        loss = ((predicted - noise).square().mean(1) * (1 - share) / (share + 0.01)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def tones(batch: int, samples: int, sampling_rate: int) -> torch.Tensor:
    """Return waveforms of one to three tones of 60 to 6000 hertz, (batch, samples)."""
    time = torch.arange(samples) / sampling_rate
    hertz = 60 * 100 ** torch.rand(batch, 3, 1)
    volume = torch.rand(batch, 3, 1) * 0.3 * (torch.rand(batch, 3, 1) < torch.tensor([1, 0.5, 0.5])[:, None])
    return (volume * torch.sin(2 * math.pi * (hertz * time + torch.rand(batch, 3, 1)))).sum(1)


def main() -> None:
    """Train and save a pipeline as the command line specifies."""
    parser = argparse.ArgumentParser(description="Train a tiny vocoder and save it.")
    parser.add_argument("folder", type=Path, help="folder of the pipeline")
    parser.add_argument("--tone", nargs=2, metavar=("HERTZ", "FILE"), help="also save the spectrogram of a tone")
    options = parser.parse_args()
    denoiser = make(options.folder).denoiser
    if options.tone:
        rate = denoiser.config.sampling_rate
        tone = 0.3 * torch.sin(2 * math.pi * float(options.tone[0]) * torch.arange(rate) / rate)
        np.save(options.tone[1], denoiser.spectrogram(tone[None])[0].numpy())


if __name__ == "__main__":
    main()
