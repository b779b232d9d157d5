"""Network architectures. Importing the package registers all of them; :func:`build_network` builds one by options."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from basicsr.archs.discriminator_arch import MLPMixer as MLPMixer
from basicsr.archs.discriminator_arch import UNetDiscriminatorSN as UNetDiscriminatorSN
from basicsr.archs.discriminator_arch import VggDiscriminatorYN as VggDiscriminatorYN
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator as VGGStyleDiscriminator
from basicsr.archs.ecbsr_arch import ECBSR as ECBSR
from basicsr.archs.edsr_arch import EDSR as EDSR
from basicsr.archs.rcan_arch import RCAN as RCAN
from basicsr.archs.ridnet_arch import RIDNet as RIDNet
from basicsr.archs.rrdbnet_arch import RRDBNet as RRDBNet
from basicsr.archs.rrdbnet_arch import RRDBNetS as RRDBNetS
from basicsr.archs.spandrel_arch import build_from_file as build_from_file
from basicsr.archs.spectral_discriminator_arch import SpectralDiscriminator as SpectralDiscriminator
from basicsr.archs.spectral_discriminator_arch import SpectralDiscriminator2D as SpectralDiscriminator2D
from basicsr.archs.spsr_arch import SPSRNet as SPSRNet
from basicsr.archs.srresnet_arch import MSRResNet as MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact as SRVGGNetCompact
from basicsr.archs.swin_transformer_arch import SwinTransformer as SwinTransformer
from basicsr.archs.swinir_arch import SwinIR as SwinIR
from basicsr.archs.vgg_arch import VGGFeatureExtractor as VGGFeatureExtractor
from basicsr.utils.errors import UserError
from basicsr.utils.registry import ARCH_REGISTRY

logger = logging.getLogger("basicsr")


def build_network(opt: Mapping[str, Any]) -> nn.Module:
    """Builds the network that a ``type:`` block describes.

    Args:
        opt: ``type``, a registered name, and the constructor's arguments. It is not changed.

    Raises:
        UserError: If there is no such network or its constructor has no such argument.
        ValueError: If the constructor refuses a value.
    """
    constructor, arguments = ARCH_REGISTRY.resolve(opt)
    try:
        inspect.signature(constructor).bind(**arguments)
    except TypeError as error:
        known = ", ".join(inspect.signature(constructor).parameters)
        raise UserError(f"network {opt['type']}: {error}; its arguments are {known}") from error
    net = constructor(**arguments)
    logger.info("Network %s is created.", type(net).__name__)
    return net
