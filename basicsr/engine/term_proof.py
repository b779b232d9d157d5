"""Proof that every term of a training step acts: what it is computed from, and what its gradient moves.

A gradient can be zero for good reasons: an image that is perfect already, a critic that is sure of itself, a last layer
that begins at zero. Content losses are therefore asked about the generator's output with noise on it, objectives about
logits within (-1, 1), and a critic that says nothing yet once more after a step of its own. What has no effect then
never has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from basicsr.adversarial import Critic
from basicsr.engine.gradients import Reach, list_gradients, project, reach
from basicsr.engine.model_copy import place_of, trainable
from basicsr.losses.content import ContentLosses
from basicsr.models import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.utils.batch import Batch, image_of

Note = Callable[[str, str], None]
"""Takes a fault: where it is in today's form of the options, and what it is."""

NOISE = 0.05
"""Standard deviation of what is added to the generator's images before content losses compare them with GT."""

CHANNEL_ARGUMENTS = {
    "in": ("num_in_ch", "in_chans", "in_channels", "in_nc"),
    "out": ("num_out_ch", "out_chans", "out_channels", "out_nc"),
}


def prove_terms(model: SRModel, note: Note) -> None:
    """Looks for terms of a step that do not act.

    Args:
        model: A copy that has been fed a batch, and whose step is this package's. It is changed.
        note: Is told every fault.
    """
    [part] = model.split_batch()
    outputs = model.net_g(part.lq)
    part.take_output(outputs)
    if not _prove_generator(model, part, note):
        return
    _prove_content(model, part, note)
    if model.critics:
        _prove_critics(model, part, note)


# --- the generator ----------------------------------------------------------------------------------------------------


def _prove_generator(model: SRModel, part: Batch, note: Note) -> bool:
    """Whether the generator makes images that can be compared with GT; notes what is wrong with it."""
    sr, gt = part.require("sr", "the step"), part.gt
    if sr.shape != gt.shape:
        lq = part.require("lq", "the step")
        text = f"makes images of {describe(sr)} of an LQ of {describe(lq)}, but GT has {describe(gt)}"
        remedy = "its scale must be the file's"
        if sr.ndim == 4 and sr.shape[1] != gt.shape[1]:
            remedy = advise_channels(model, "g", "out", gt.shape[1])
        note("network_g", f"{text}; {remedy}")
        return False
    outputs = [sr] if part.gradient_branch is None else [sr, part.gradient_branch]
    if not all(output.isfinite().all() for output in outputs):
        note("network_g", "its first images are not finite; look at its weights and initialisation")
        return False
    found = reach(project(*outputs), list(trainable(model.net_g).values()))
    if found is not Reach.FULL:
        note("network_g", f"cannot learn: the gradient of its images by its parameters {found.value}")
    return True


def describe(images: Tensor) -> str:
    """``3x32x32``: an image of a batch."""
    return "x".join(map(str, images.shape[1:]))


def advise_channels(model: BaseModel, name: str, side: str, channels: int) -> str:
    """What to set for a network to take (``in``) or make (``out``) images of so many channels."""
    options = model.options
    part = options.network_g if name == "g" else options.critics[name].network if name in options.critics else None
    key = next((key for key in CHANNEL_ARGUMENTS[side] if part is not None and part.takes(key)), None)
    return f"set {key}: {channels}" if key else f"it must be built for {channels} channels"


# --- content losses ---------------------------------------------------------------------------------------------------


def _prove_content(model: SRModel, part: Batch, note: Note) -> None:
    """Asks every content loss about images that are not perfect."""

    def disturb(images: Tensor) -> Tensor:
        return (images + NOISE * torch.randn_like(images)).detach().requires_grad_()

    leaves = [disturb(part.require("sr", "the step"))]
    if part.gradient_branch is not None:
        leaves.append(disturb(part.gradient_branch))
    asked = replace(part, sr=leaves[0], gradient_branch=leaves[1] if len(leaves) > 1 else None)
    if model.content.needs_ema and model.average is not None:
        with torch.no_grad():
            asked.ema_sr = part.ema_sr = image_of(model.average(part.lq)).float()
    parameters = list(trainable(model.net_g).values())
    for name, loss in model.content.losses.items():
        place, alone = f"losses.{name}", ContentLosses({name: loss})
        terms = list(alone(asked).values())
        if not all(term.isfinite().all() for term in terms):
            note(place, "is not finite on the first images; look at its arguments and at the range that it expects")
            continue
        found = reach(torch.stack([term.sum() for term in terms]).sum(), leaves) if terms else Reach.NONE
        if found in (Reach.NONE, Reach.ZERO):
            # It may read the generator's parameters, or its output in a way of its own.
            whole = [term.sum() for term in alone(part).values()]
            if whole and reach(torch.stack(whole).sum(), parameters) is Reach.FULL:
                continue
        if found is not Reach.FULL:
            note(place, _explain_loss(loss, found))
        if getattr(getattr(loss, "vgg", None), "range_norm", False) and part.gt.min() >= 0:
            note(f"{place}.range_norm", "expects images in [-1, 1], but they are in [0, 1]; set range_norm: false")


def _explain_loss(loss: torch.nn.Module, found: Reach) -> str:
    weights = {
        n: getattr(each, n) for each in (getattr(loss, "criterion", None), loss) for n in _WEIGHTS if hasattr(each, n)
    }
    zero = [name for name, weight in weights.items() if isinstance(weight, (int, float)) and weight == 0]
    if zero and len(zero) == len(weights):
        return f"acts on nothing, as {' and '.join(zero)} is 0: give it a weight, or take the block out"
    return f"acts on nothing: the gradient of the loss by the generator's images {found.value}"


_WEIGHTS = ("loss_weight", "perceptual_weight", "style_weight", "weight")


# --- critics ----------------------------------------------------------------------------------------------------------


def _prove_critics(model: SRModel, part: Batch, note: Note) -> None:
    with torch.no_grad():
        real, fake = model.critic_images(part)
    judged = fake.detach().requires_grad_()
    dead = {critic.name for critic in model.critics if not _prove_critic(model, critic, real, judged, note)}
    living = [critic for critic in model.critics if critic.name not in dead]
    for critic in living:
        with _moderate(critic):
            terms = model.objective.critic_terms(critic, real, judged, model.step_random).losses
            total = torch.stack([term.sum() for term in terms.values()]).sum()
            found = reach(total, critic.parameters)
        critic.forget()
        if found is not Reach.FULL:
            note(
                f"critics.{critic.name}",
                f"does not learn: the gradient of its own loss by its parameters {found.value}",
            )
    if dead:
        return
    with _moderate(*living):
        adversarial = model.objective.generator_terms(model.critics, real, judged)
        reaches = {name: reach(term, [judged]) for name, term in adversarial.items()}
    for critic in living:
        critic.forget()
    if all(found is Reach.ZERO for found in reaches.values()):
        weight = getattr(getattr(model.objective, "gan", None), "loss_weight", None)
        silent = weight == 0 or not any(critic.weight for critic in living)
        place = "objective.criterion.loss_weight" if weight == 0 else f"critics.{living[0].name}.weight"
        if silent:
            note(place, "is 0, so that no critic moves the generator: give it a weight, or take the critics out")
            return
    for critic in living:
        name = "l_g_gan" if "l_g_gan" in reaches else f"l_g_gan_{critic.name}"
        found = reaches.get(name, Reach.FULL)
        # A critic without weight beside others looks on: it is trained, logged and can be used for scores.
        if found is not Reach.FULL and (critic.weight != 0 or found is Reach.INFINITE):
            text = f"does not move the generator: the gradient of {name} by the generated images {found.value}"
            note(f"critics.{critic.name}", text)


def _prove_critic(model: SRModel, critic: Critic, real: Tensor, judged: Tensor, note: Note) -> bool:
    """Whether a critic's logits depend on the image and on its parameters."""
    place = place_of(model, critic.name)
    if not critic.parameters:
        note(place, "has nothing to train: no parameter requires a gradient")
        return False
    reaches = {}
    for is_last in (False, True):
        logits = critic.judge_unwrapped(judged)
        if not logits.isfinite().all():
            note(place, "its first logits are not finite; look at its weights and initialisation")
            return False
        root = project(logits)
        reaches = {"images": reach(root, [judged]), "parameters": reach(root, critic.parameters)}
        if is_last or Reach.ZERO not in reaches.values() or critic.optimizer is None:
            break
        # A last layer that begins at zero says nothing before its first step.
        grads = list_gradients(root, critic.parameters)
        for parameter, grad in zip(critic.parameters, grads, strict=True):
            parameter.grad = grad
        critic.optimizer.step()
        critic.net.zero_grad(set_to_none=True)
    for what, found in reaches.items():
        if found is not Reach.FULL:
            note(place, f"judges nothing: the gradient of its logits by the {what} {found.value}")
            return False
    return True


@contextmanager
def _moderate(*critics: Critic) -> Iterator[None]:
    """Scales critics' logits into (-1, 1), where no objective is saturated."""

    def scale(net: object, args: object, logits: Tensor) -> Tensor:
        return logits / (1 + logits.detach().abs().amax())

    hooks = [critic.bare_net.register_forward_hook(scale) for critic in critics]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
