"""Published model types: classes that name a preset, for option files and for subclassing."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from basicsr.degradation import PairPool
from basicsr.models.presets import PRESETS, Preset
from basicsr.models.sr_model import SRModel
from basicsr.processing.diffjpeg import DiffJPEG
from basicsr.processing.filters import USMSharp
from basicsr.utils.batch import Batch
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SRGANModel(SRModel):
    """Standard objective with a critic of images; base of all model types with critics."""

    preset: ClassVar[Preset] = PRESETS["SRGANModel"]


@MODEL_REGISTRY.register()
class ESRGANModel(SRGANModel):
    """ESRGAN (arXiv 1809.00219): relativistic average objective with a critic of images; LDL with ``train.ldl_opt``."""

    preset: ClassVar[Preset] = PRESETS["ESRGANModel"]


class _SecondOrderModel(SRModel):
    """What subclasses of Real-ESRGAN's models find for a ``feed_data`` of their own; ours needs none of it."""

    @cached_property
    def jpeger(self) -> DiffJPEG:
        return DiffJPEG(differentiable=False).to(self.device)

    @cached_property
    def usm_sharpener(self) -> USMSharp:
        return USMSharp().to(self.device)

    @cached_property
    def queue_size(self) -> int:
        """Pairs in the pool that :meth:`_dequeue_and_enqueue` makes, a multiple of the batch size."""
        return int(self.opt.get("queue_size", 180))

    def _dequeue_and_enqueue(self) -> None:
        """Puts ``lq`` and ``gt`` into the pool of pairs and takes a batch that mixes degradations out of it."""
        assert self.gt is not None
        if self.pool is None:
            self.pool = PairPool(self.queue_size)
        pair = self.pool.exchange(Batch(self.gt, self.lq), self.step_random)
        self.lq, self.gt = pair.require("lq", "the pool"), pair.gt


@MODEL_REGISTRY.register()
class RealESRNetModel(_SecondOrderModel):
    """Real-ESRGAN's pixel-loss start (arXiv 2107.10833): second-order degradations, no critic."""

    preset: ClassVar[Preset] = PRESETS["RealESRNetModel"]


@MODEL_REGISTRY.register()
class RealESRGANModel(_SecondOrderModel, SRGANModel):
    """Real-ESRGAN (arXiv 2107.10833): second-order degradations, standard objective with a critic of images."""

    preset: ClassVar[Preset] = PRESETS["RealESRGANModel"]


@MODEL_REGISTRY.register()
class SwinIRModel(SRModel):
    """SwinIR (arXiv 2108.10257): a generator with content losses, fed with images that its windows divide."""

    preset: ClassVar[Preset] = PRESETS["SwinIRModel"]


def _define(name: str, preset: Preset) -> type[SRModel]:
    base = SRGANModel if preset.get("critics") else SRModel
    doc = f"{name}: see its row in :data:`basicsr.models.presets.PRESETS`."
    return MODEL_REGISTRY.register(type(name, (base,), {"preset": preset, "__doc__": doc, "__module__": __name__}))


_CLASSES = (SRModel, SRGANModel, ESRGANModel, RealESRNetModel, RealESRGANModel, SwinIRModel)
MODEL_TYPES: dict[str, type[SRModel]] = {cls.__name__: cls for cls in _CLASSES}
MODEL_TYPES |= {name: _define(name, preset) for name, preset in PRESETS.items() if name not in MODEL_TYPES}
"""Every published model type; ``basicsr.models`` has them as attributes."""
