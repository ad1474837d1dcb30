"""A vocoder that denoises a waveform conditioned on a mel spectrogram, after BDDM (arXiv 2203.13508).

A small network predicts the noise in a waveform from the noise level and the spectrogram. A few steps of a diffusers scheduler
turn noise into audio. In the paper a second network learns the steps; here the scheduler defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import AudioPipelineOutput, ConfigMixin, DDIMScheduler, DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor

#: Added to energies before the logarithm.
SILENCE = 1e-5


class SpectrogramDenoiser(ModelMixin, ConfigMixin):
    """Predicts the noise in a waveform.

    A first estimate distributes the energy of each band over its frequencies, column by column; a small network corrects it
    from the neighbouring bands. A Wiener filter then separates the noisy waveform into audio and noise.

    Args:
        sampling_rate: Samples per second.
        hop_length: Samples from one column of the spectrogram to the next.
        window_length: Samples in the window of one column.
        num_bands: Bands of the spectrogram.
        width: Width of the network's hidden layer.
    """

    @register_to_config
    def __init__(
        self,
        sampling_rate: int = 16_000,
        hop_length: int = 256,  # noqa: ARG002 (read from the configuration)
        window_length: int = 1024,
        num_bands: int = 64,
        width: int = 96,
    ) -> None:
        super().__init__()
        bins = window_length // 2 + 1
        self.register_buffer("bands", mel_bands(num_bands, bins, sampling_rate), persistent=False)
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)
        self.correction = torch.nn.Sequential(
            torch.nn.Linear(num_bands, width), torch.nn.SiLU(), torch.nn.Linear(width, bins)
        )

    def spectrogram(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of the mel energies, (batch, bands, columns), of audio in [-1, 1], (batch, samples)."""
        return (self.bands @ self.energies_of(waveform) + SILENCE).log()

    def energies_of(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the energy of each frequency of audio, (batch, frequencies, columns); white noise has 1."""
        return self._bins(waveform).abs().square() / self.window.square().sum()

    def forward(self, sample: torch.Tensor, noise_level: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return the noise in a waveform.

        Args:
            sample: Noisy waveform, (batch, samples).
            noise_level: Fraction of the energy that is noise, in (0, 1], (batch).
            spectrogram: Logarithms of the mel energies, (batch, bands, columns).
        """
        share = noise_level[:, None, None]
        target = self.energies(spectrogram)
        gain = (1 - share) * target / ((1 - share) * target + share)
        noise = self._bins(sample) * (1 - gain)
        length = sample.shape[-1]
        waveform = torch.istft(noise, self.window.numel(), self.config.hop_length, window=self.window, length=length)
        return waveform / noise_level[:, None].sqrt()

    def energies(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return the target energy of each frequency, (batch, frequencies, columns); white noise has 1."""
        spread = self.bands.T @ (spectrogram.exp() / self.bands.sum(1, keepdim=True))
        corrected = self.correction(spectrogram.transpose(1, 2) / 8).transpose(1, 2).exp()
        return spread * corrected + SILENCE

    def _bins(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.stft(
            waveform,
            self.window.numel(),
            self.config.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )


def mel_bands(num_bands: int, bins: int, sampling_rate: int) -> torch.Tensor:
    """Return the weight of each frequency in each band, (bands, bins): triangles of equal width on the mel scale."""
    top = 2595 * torch.log10(torch.tensor(1 + sampling_rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, top.item(), num_bands + 2) / 2595) - 1)
    frequencies = torch.linspace(0, sampling_rate / 2, bins)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((frequencies - low) / (centre - low), (high - frequencies) / (high - centre))
    return triangles.clamp(min=0)


class SpectrogramVocoderPipeline(DiffusionPipeline):
    """Generates audio from its mel spectrogram.

    Args:
        denoiser: Predicts the noise in a waveform.
        scheduler: Removes the noise step by step.
    """

    def __init__(self, denoiser: SpectrogramDenoiser, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        spectrogram: torch.Tensor,
        num_inference_steps: int = 4,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, int, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: list[str] = ["latents"],  # noqa: B006 (as diffusers has it)
    ) -> AudioPipelineOutput | tuple[Any]:
        """Generate audio.

        Args:
            spectrogram (`torch.Tensor`): Natural logarithms of the mel energies, `(bands, columns)` or `(batch, bands,
                columns)`, as the denoiser's method `spectrogram` makes them.
            num_inference_steps (`int`, *optional*, defaults to 4): Denoising steps. More follow the spectrogram more closely.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): Generates the initial noise.
            output_type (`str`, *optional*, defaults to `"np"`): `"np"` for an array, `"pt"` for a tensor.
            return_dict (`bool`, *optional*, defaults to `True`): Whether to return an `AudioPipelineOutput` or a tuple.
            callback_on_step_end (`Callable`, *optional*): Called after each step with the pipeline, the step, the timestep
                and the requested tensors.
            callback_on_step_end_tensor_inputs (`list[str]`, *optional*): Names of these tensors; `latents` is the current
                waveform.

        Returns:
            [`AudioPipelineOutput`] or `tuple`: The audio, `(batch, channels, samples)` in [-1, 1], of one channel.
        """
        mel = self._batch(spectrogram)
        samples = (mel.shape[-1] - 1) * self.denoiser.config.hop_length
        latents = randn_tensor((len(mel), samples), generator, mel.device, mel.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=mel.device)
        with self.progress_bar(total=len(self.scheduler.timesteps)) as bar:
            for step, timestep in enumerate(self.scheduler.timesteps):
                level = 1 - self.scheduler.alphas_cumprod[timestep.cpu()].to(mel).expand(len(mel))
                noise = self.denoiser(latents, level, mel)
                latents = self.scheduler.step(noise, timestep, latents, return_dict=False)[0]
                if callback_on_step_end is not None:
                    tensors = {"latents": latents} if "latents" in callback_on_step_end_tensor_inputs else {}
                    latents = callback_on_step_end(self, step, timestep, tensors).get("latents", latents)
                bar.update()
        audio: Any = latents[:, None].clamp(-1, 1).float().cpu()
        audio = audio.numpy() if output_type == "np" else audio
        self.maybe_free_model_hooks()
        return AudioPipelineOutput(audios=audio) if return_dict else (audio,)

    def _batch(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return a batch of spectrograms on the denoiser's device."""
        batch = spectrogram[None] if spectrogram.ndim == 2 else spectrogram  # noqa: PLR2004 (bands and columns)
        bands = self.denoiser.config.num_bands
        if batch.ndim != 3 or batch.shape[1] != bands or batch.shape[2] < 2:  # noqa: PLR2004 (with a batch)
            shape = list(spectrogram.shape)
            raise ValueError(f"`spectrogram` must be of shape ({bands}, columns) with 2 columns or more, not {shape}.")
        return batch.to(self._execution_device, self.denoiser.dtype)
