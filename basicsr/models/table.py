"""The table of model types: what each name in ``model_type:`` is composed of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One row.

    Attributes:
        degradation: How LQ comes from GT: ``paired`` (the data set has both), ``hard_gated``, ``simple_gated`` or
            ``second_order`` (see :mod:`basicsr.degradation`).
        objective: ``none``, ``standard``, ``relativistic``, ``wasserstein`` or ``spsr`` (see
            :mod:`basicsr.adversarial`).
        critics: Which critics it trains: ``d`` on images, ``spectral_d`` on spectra, ``grad_d`` on gradient maps.
        masks_flat_regions: The critics see detailed regions only (BebyGAN).
        trains_branch_first: The generator has a gradient branch that is trained alone at first (SPSR).
    """

    degradation: str = "paired"
    objective: str = "none"
    critics: tuple[str, ...] = ()
    masks_flat_regions: bool = False
    trains_branch_first: bool = False

    def on(self, degradation: str) -> Recipe:
        """The same recipe on another degradation."""
        return Recipe(degradation, self.objective, self.critics, self.masks_flat_regions, self.trains_branch_first)


_SRGAN = Recipe(objective="standard", critics=("d",))
_SRGAN_SPEC = Recipe(objective="standard", critics=("d", "spectral_d"))
_ESRGAN = Recipe(objective="relativistic", critics=("d",))
_ESRGAN_SPEC = Recipe(objective="relativistic", critics=("d", "spectral_d"))
_WGAN = Recipe("simple_gated", objective="wasserstein", critics=("d",))
_WGAN_SPEC = Recipe("simple_gated", objective="wasserstein", critics=("d", "spectral_d"))
_BEBYGAN = Recipe(objective="relativistic", critics=("d",), masks_flat_regions=True)
_BEBYGAN_SPEC = Recipe(objective="relativistic", critics=("d", "spectral_d"), masks_flat_regions=True)
_SPSR = Recipe(objective="spsr", critics=("d", "grad_d"), trains_branch_first=True)

TABLE: dict[str, Recipe] = {
    "SRModel": Recipe(),
    "SRHardGatedDegradationModel": Recipe("hard_gated"),
    "SRSimpleGatedDegradationModel": Recipe("simple_gated"),
    "RealESRNetModel": Recipe("second_order"),
    "SRGANModel": _SRGAN,
    "SRGANSpecModel": _SRGAN_SPEC,
    "SRGANHardGatedDegradationModel": _SRGAN.on("hard_gated"),
    "SRGANSimpleGatedDegradationModel": _SRGAN.on("simple_gated"),
    "RealESRGANModel": _SRGAN.on("second_order"),
    "ESRGANModel": _ESRGAN,
    "ESRGANSpecModel": _ESRGAN_SPEC,
    "ESRGANHardGatedDegradationModel": _ESRGAN.on("hard_gated"),
    "ESRGANHardGatedDegradationSpecModel": _ESRGAN_SPEC.on("hard_gated"),
    "ESRGANSimpleGatedDegradationWModel": _WGAN,
    "ESRGANSimpleGatedDegradationWSpecModel": _WGAN_SPEC,
    "BebyGANModel": _BEBYGAN,
    "BebyGANSpecModel": _BEBYGAN_SPEC,
    "BebyGANHardGatedDegradationModel": _BEBYGAN.on("hard_gated"),
    "BebyGANHardGatedDegradationSpecModel": _BEBYGAN_SPEC.on("hard_gated"),
    "SPSRModel": _SPSR,
    "SPSRHardGatedDegradationModel": _SPSR.on("hard_gated"),
}

NETWORK_OPTION = {"d": "network_d", "spectral_d": "net_spectral_d", "grad_d": "net_grad_d"}
"""Option key of each critic's network; its optimizer is ``train.optim_{critic}``, its file ``net_{critic}_*.pth``."""
