"""Models as packages on BasicSR 1.4.2 write them, one for each way of extending; an option file imports this module.

Each class notes in ``CALLS`` which of its methods ran.
"""

from __future__ import annotations

import random
from collections import OrderedDict

import torch
from torch.nn import functional as F

from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.models.base_model import BaseModel
from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from basicsr.utils.registry import MODEL_REGISTRY

CALLS: set[str] = set()


@MODEL_REGISTRY.register()
class WindowModel(SRModel):
    """Pads to whole windows while testing, and walks through the validation set by itself."""

    def test(self):
        CALLS.add("test")
        window = self.opt["val"].get("window", 8)
        height, width = self.lq.shape[2:]
        padded = F.pad(self.lq, (0, -width % window, 0, -height % window), "reflect")
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.net_g
        net.eval()
        with torch.no_grad():
            output = net(padded)
        net.train(net is self.net_g)
        scale = self.opt["scale"]
        self.output = output[..., : height * scale, : width * scale]

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        CALLS.add("nondist_validation")
        dataset_name = dataloader.dataset.opt["name"]
        metrics = self.opt["val"].get("metrics")
        self._initialize_best_metric_results(dataset_name)
        self.metric_results = dict.fromkeys(metrics, 0)
        for index, data in enumerate(dataloader):
            self.feed_data(data)
            self.test()
            visuals = self.get_current_visuals()
            images = {"img": tensor2img([visuals["result"]]), "img2": tensor2img([visuals["gt"]])}
            del self.lq, self.gt, self.output
            if save_img:
                imwrite(images["img"], f"{self.opt['path']['visualization']}/own_{index}_{current_iter}.png")
            for name, block in metrics.items():
                self.metric_results[name] += calculate_metric(images, block)
        for name in self.metric_results:
            # Ten more than anybody else would measure, so that a test sees whose number is reported.
            self.metric_results[name] = self.metric_results[name] / (index + 1) + 10
            self._update_best_metric_result(dataset_name, name, self.metric_results[name], current_iter)
        self._log_validation_metric_values(current_iter, dataset_name, tb_logger)


@MODEL_REGISTRY.register()
class OwnStepModel(SRGANModel):
    """Takes the training step by itself, with the parts that its base class has built."""

    def __init__(self, opt):
        super().__init__(opt)
        if self.is_train:
            self.usm_weight = opt["train"].pop("usm_weight", 0.5)

    def get_optimizer(self, optim_type, params, lr, **kwargs):
        CALLS.add("get_optimizer")
        return torch.optim.Adam([p for p in params if p.requires_grad], lr, **kwargs)

    def optimize_parameters(self, current_iter):
        CALLS.add("optimize_parameters")
        for parameter in self.net_d.parameters():
            parameter.requires_grad = False
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        total, losses = 0, OrderedDict()
        if current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters:
            if self.cri_pix:
                losses["l_g_pix"] = self.cri_pix(self.output, self.gt)
                total += losses["l_g_pix"]
            if self.cri_perceptual:
                percep, _ = self.cri_perceptual(self.output, self.gt)
                total += percep
            losses["l_g_gan"] = self.cri_gan(self.net_d(self.output), True, is_disc=False)
            total += losses["l_g_gan"]
            total.backward()
            self.optimizer_g.step()
        for parameter in self.net_d.parameters():
            parameter.requires_grad = True
        self.optimizer_d.zero_grad()
        for kind, image in (("real", self.gt), ("fake", self.output.detach())):
            logits = self.net_d(image)
            losses[f"l_d_{kind}"] = self.cri_gan(logits, kind == "real", is_disc=True)
            losses[f"out_d_{kind}"] = logits.detach().mean()
            losses[f"l_d_{kind}"].backward()
        self.optimizer_d.step()
        self.log_dict = self.reduce_loss_dict(losses)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        CALLS.add("nondist_validation")
        self.is_train = False
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
        self.is_train = True


@MODEL_REGISTRY.register()
class BlindModel(ESRGANModel):
    """Makes LQ in ``feed_data``, by options that only this class knows."""

    def feed_data(self, data):
        CALLS.add("feed_data")
        if self.is_train and self.opt.get("high_order_degradation", True):
            self.gt = data["gt"].to(self.device)
            mode = random.choices(["up", "down", "keep"], self.opt["resize_prob"])[0]
            size = [side // self.opt["scale"] for side in self.gt.shape[2:]]
            self.lq = F.interpolate(self.gt, size=size, mode="area" if mode == "down" else "bicubic").clamp(0, 1)
        else:
            self.lq = data["lq"].to(self.device)
            if "gt" in data:
                self.gt = data["gt"].to(self.device)

    def optimize_parameters(self, current_iter):
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        loss = self.cri_pix(self.output, self.gt)
        loss.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(OrderedDict(l_g_pix=loss))

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        self.is_train = False
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
        self.is_train = True

    def get_current_visuals(self):
        CALLS.add("get_current_visuals")
        visuals = super().get_current_visuals()
        visuals["result"] = visuals["result"] * 0 + 0.5
        return visuals


@MODEL_REGISTRY.register()
class TwoNetworksModel(BaseModel):
    """Builds, trains and saves everything by itself; no running average, and no recipe of ours."""

    def __init__(self, opt):
        super().__init__(opt)
        self.net_g = self.model_to_device(build_network(opt["network_g"]))
        self.net_t = self.model_to_device(build_network(opt["network_t"]))
        load_path = self.opt["path"].get("pretrain_network_g", None)
        if load_path is not None:
            key = self.opt["path"].get("param_key_g", "params")
            self.load_network(self.net_g, load_path, self.opt["path"].get("strict_load_g", True), key)
        if self.is_train:
            self.init_training_settings()

    def init_training_settings(self):
        self.net_g.train()
        train_opt = self.opt["train"]
        self.cri_pix = build_loss(train_opt["pixel_opt"]).to(self.device)
        self.cri_fft = build_loss(train_opt["fft_opt"]).to(self.device)
        kind = train_opt["optim_g"].pop("type")
        self.optimizer_g = self.get_optimizer(kind, self.net_g.parameters(), **train_opt["optim_g"])
        self.optimizers.append(self.optimizer_g)
        self.optimizers.append(self.get_optimizer("Adam", self.net_t.parameters(), lr=1e-3))
        self.setup_schedulers()
        get_root_logger().info("initial rates: %s", self._get_init_lr())

    def feed_data(self, data):
        self.lq = data["lq"].to(self.device)
        if "gt" in data:
            self.gt = data["gt"].to(self.device)

    def optimize_parameters(self, current_iter):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.output = self.net_g(self.lq)
        losses = {"l_pix": self.cri_pix(self.output, self.gt)}
        losses["l_t"] = self.cri_fft(self.net_t(self.lq), self.gt)
        sum(losses.values()).backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.log_dict = self.reduce_loss_dict(losses)

    def test(self):
        CALLS.add("test" if not hasattr(self, "net_g_ema") else "test with an average")
        self.net_g.eval()
        with torch.no_grad():
            self.output = self.net_g(self.lq)
        self.net_g.train()

    def save(self, epoch, current_iter):
        CALLS.add("save")
        self.save_network(self.net_g, "net_g", current_iter)
        self.save_network(self.net_t, "net_teacher", current_iter)
        self.save_training_state(epoch, current_iter)
