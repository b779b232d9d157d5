"""Models that repeat whole methods of BasicSR 1.4.2's, as its forks do; an option file imports this module.

Each class notes in ``CALLS`` which of its methods ran.
"""

from __future__ import annotations

import os.path as osp
import random
from collections import OrderedDict

import torch
from torch.nn import functional as F
from tqdm import tqdm

from basicsr.archs import build_network
from basicsr.data.degradations import random_add_gaussian_noise_pt, random_add_poisson_noise_pt
from basicsr.data.transforms import paired_random_crop
from basicsr.losses import build_loss
from basicsr.losses.gan_loss import r1_penalty
from basicsr.metrics import calculate_metric
from basicsr.models.base_model import BaseModel
from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from basicsr.utils.img_process_util import filter2D
from basicsr.utils.registry import MODEL_REGISTRY

CALLS: set[str] = set()


class Validation:
    """The loop over a validation set, with everything that 1.4.2's takes for granted."""

    def dist_validation(self, dataloader, current_iter, tb_logger, save_img):
        if self.opt["rank"] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        CALLS.add("nondist_validation")
        dataset_name = dataloader.dataset.opt["name"]
        with_metrics = self.opt["val"].get("metrics") is not None
        if with_metrics:
            if not hasattr(self, "metric_results"):
                self.metric_results = dict.fromkeys(self.opt["val"]["metrics"], 0)
            self._initialize_best_metric_results(dataset_name)
            self.metric_results = dict.fromkeys(self.metric_results, 0)
        bar = tqdm(total=len(dataloader)) if self.opt["val"].get("pbar", False) else None
        for data in dataloader:
            name = osp.splitext(osp.basename(data["lq_path"][0]))[0]
            self.feed_data(data)
            self.test()
            visuals = self.get_current_visuals()
            images = {"img": tensor2img([visuals["result"]])}
            if "gt" in visuals:
                images["img2"] = tensor2img([visuals["gt"]])
                del self.gt
            del self.lq, self.output
            if save_img:
                suffix = current_iter if self.opt["is_train"] else self.opt["val"]["suffix"] or self.opt["name"]
                imwrite(
                    images["img"], osp.join(self.opt["path"]["visualization"], dataset_name, f"{name}_{suffix}.png")
                )
            if with_metrics:
                for metric, block in self.opt["val"]["metrics"].items():
                    self.metric_results[metric] += calculate_metric(images, block)
            if bar:
                bar.update(1)
        if bar:
            bar.close()
        if with_metrics:
            for metric in self.metric_results:
                self.metric_results[metric] /= len(dataloader)
                self._update_best_metric_result(dataset_name, metric, self.metric_results[metric], current_iter)
            self._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def get_current_visuals(self):
        out = OrderedDict(lq=self.lq.detach().cpu(), result=self.output.detach().cpu())
        if hasattr(self, "gt"):
            out["gt"] = self.gt.detach().cpu()
        return out


@MODEL_REGISTRY.register()
class OwnLoopModel(Validation, SRModel):
    """Sets rates and optimizers by itself, beside the validation."""

    def setup_optimizers(self):
        CALLS.add("setup_optimizers")
        train_opt = self.opt["train"]
        groups = [p for p in self.net_g.parameters() if p.requires_grad]
        optim_type = train_opt["optim_g"].pop("type")
        lr = train_opt["optim_g"].pop("lr")
        self.optimizer_g = self.get_optimizer(optim_type, groups, lr, **train_opt["optim_g"])
        self.optimizers.append(self.optimizer_g)

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        CALLS.add("update_learning_rate")
        if current_iter > 1:
            for scheduler in self.schedulers:
                scheduler.step()
        if current_iter < warmup_iter:
            rates = self._get_init_lr()
            self._set_lr([[v / warmup_iter * current_iter for v in group] for group in rates])


@MODEL_REGISTRY.register()
class OwnSettingsModel(ESRGANModel):
    """Builds all that training needs by itself, and takes the step of its base class."""

    def init_training_settings(self):
        CALLS.add("init_training_settings")
        train_opt = self.opt["train"]
        self.ema_decay = train_opt.get("ema_decay", 0)
        if self.ema_decay > 0:
            self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
            load_path = self.opt["path"].get("pretrain_network_g", None)
            if load_path is not None:
                self.load_network(self.net_g_ema, load_path, self.opt["path"].get("strict_load_g", True), "params_ema")
            else:
                self.model_ema(0)
            self.net_g_ema.eval()
        self.net_d = self.model_to_device(build_network(self.opt["network_d"]))
        self.print_network(self.net_d)
        self.net_g.train()
        self.net_d.train()
        self.cri_pix = build_loss(train_opt["pixel_opt"]).to(self.device)
        self.cri_ldl = self.cri_perceptual = None
        self.cri_gan = build_loss(train_opt["gan_opt"]).to(self.device)
        self.net_d_iters = train_opt.get("net_d_iters", 1)
        self.net_d_init_iters = train_opt.get("net_d_init_iters", 0)
        self.setup_optimizers()
        self.setup_schedulers()


@MODEL_REGISTRY.register()
class OwnFeedModel(RealESRGANModel):
    """Degrades by itself, with what its base class has for that."""

    @torch.no_grad()
    def feed_data(self, data):
        if not (self.is_train and self.opt.get("high_order_degradation", True)):
            self.lq = data["lq"].to(self.device)
            if "gt" in data:
                self.gt = data["gt"].to(self.device)
                self.gt_usm = self.usm_sharpener(self.gt)
            return
        CALLS.add("feed_data")
        self.gt = data["gt"].to(self.device)
        self.gt_usm = self.usm_sharpener(self.gt)
        out = filter2D(self.gt_usm, torch.full((1, 3, 3), 1 / 9).expand(len(self.gt), 3, 3))
        mode = random.choice(["area", "bilinear", "bicubic"])
        out = F.interpolate(out, scale_factor=random.uniform(*self.opt["resize_range"]), mode=mode)
        if random.random() < self.opt["gaussian_noise_prob"]:
            out = random_add_gaussian_noise_pt(
                out, sigma_range=self.opt["noise_range"], clip=True, rounds=False, gray_prob=0.4
            )
        else:
            out = random_add_poisson_noise_pt(
                out, scale_range=self.opt["poisson_scale_range"], gray_prob=0.4, clip=True, rounds=False
            )
        quality = out.new_zeros(out.size(0)).uniform_(*self.opt["jpeg_range"])
        out = self.jpeger(out.clamp(0, 1), quality=quality)
        height, width = self.gt.shape[2:]
        out = F.interpolate(out, size=(height // 4, width // 4), mode=mode)
        self.lq = torch.clamp((out * 255.0).round(), 0, 255) / 255.0
        (self.gt, self.gt_usm), self.lq = paired_random_crop(
            [self.gt, self.gt_usm], self.lq, self.opt["gt_size"], self.opt["scale"]
        )
        self._dequeue_and_enqueue()
        self.gt_usm = self.usm_sharpener(self.gt)
        self.lq = self.lq.contiguous()
        if self.pool is not None and len(self.pool) == self.queue_size:
            CALLS.add("full pool")

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img):
        self.is_train = False
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
        self.is_train = True


@MODEL_REGISTRY.register()
class ComponentsModel(Validation, BaseModel):
    """A generator, its average and a critic for the image and one for each of two regions; all by itself."""

    def __init__(self, opt):
        super().__init__(opt)
        self.net_g = build_network(opt["network_g"])
        self.net_g = self.model_to_device(self.net_g)
        self.print_network(self.net_g)
        load_path = self.opt["path"].get("pretrain_network_g", None)
        if load_path is not None:
            self.load_network(self.net_g, load_path, self.opt["path"].get("strict_load_g", True))
        if self.is_train:
            self.init_training_settings()

    def init_training_settings(self):
        train_opt = self.opt["train"]
        self.net_d = self.model_to_device(build_network(self.opt["network_d"]))
        self.use_regions = "network_d_left" in self.opt and "network_d_right" in self.opt
        for side in ("left", "right"):
            net = self.model_to_device(build_network(self.opt[f"network_d_{side}"]))
            load_path = self.opt["path"].get(f"pretrain_network_d_{side}")
            if load_path is not None:
                self.load_network(net, load_path, True, "params")
            setattr(self, f"net_d_{side}", net.train())
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        self.model_ema(0)
        self.net_g.train()
        self.net_d.train()
        self.net_g_ema.eval()
        self.cri_pix = build_loss(train_opt["pixel_opt"]).to(self.device)
        self.cri_gan = build_loss(train_opt["gan_opt"]).to(self.device)
        self.cri_component = build_loss(train_opt["gan_component_opt"]).to(self.device)
        self.r1_reg_weight = train_opt["r1_reg_weight"]
        self.net_d_iters = train_opt.get("net_d_iters", 1)
        self.net_d_init_iters = train_opt.get("net_d_init_iters", 0)
        self.setup_optimizers()
        self.setup_schedulers()

    def setup_optimizers(self):
        train_opt = self.opt["train"]
        normal, logits = [], []
        for name, parameter in self.net_g.named_parameters():
            (logits if "last" in name else normal).append(parameter)
        optim_params_g = [
            {"params": normal, "lr": train_opt["optim_g"]["lr"]},
            {"params": logits, "lr": train_opt["optim_g"]["lr"] * 0.1},
        ]
        optim_type = train_opt["optim_g"].pop("type")
        lr = train_opt["optim_g"]["lr"]
        betas = (0.9, 0.99)
        self.optimizer_g = self.get_optimizer(optim_type, optim_params_g, lr, betas=betas)
        self.optimizers.append(self.optimizer_g)
        optim_type = train_opt["optim_d"].pop("type")
        for name in ("d", "d_left", "d_right"):
            params = getattr(self, f"net_{name}").parameters()
            optimizer = self.get_optimizer(optim_type, params, train_opt["optim_component"]["lr"], betas=betas)
            setattr(self, f"optimizer_{name}", optimizer)
            self.optimizers.append(optimizer)

    def feed_data(self, data):
        self.lq = data["lq"].to(self.device)
        if "gt" in data:
            self.gt = data["gt"].to(self.device)

    def optimize_parameters(self, current_iter):
        CALLS.add("optimize_parameters")
        regions = {"d": slice(None), "d_left": slice(0, 16), "d_right": slice(16, 32)}
        self.optimizer_g.zero_grad()
        losses = OrderedDict()
        self.output = self.net_g(self.lq)
        total = losses["l_g_pix"] = self.cri_pix(self.output, self.gt)
        for name, region in regions.items():
            criterion = self.cri_gan if name == "d" else self.cri_component
            losses[f"l_g_{name}"] = criterion(
                getattr(self, f"net_{name}")(self.output[..., region]), True, is_disc=False
            )
            total = total + losses[f"l_g_{name}"]
        total.backward()
        self.optimizer_g.step()
        self.model_ema(decay=0.5 ** (32 / (10 * 1000)))
        for name, region in regions.items():
            net, optimizer = getattr(self, f"net_{name}"), getattr(self, f"optimizer_{name}")
            optimizer.zero_grad()
            real = self.gt[..., region].detach().requires_grad_()
            judged = net(real)
            loss = self.cri_gan(judged, True, is_disc=True)
            loss = loss + self.cri_gan(net(self.output[..., region].detach()), False, is_disc=True)
            losses[f"l_{name}"] = loss
            losses[f"l_r1_{name}"] = r1_penalty(judged, real)
            (loss + self.r1_reg_weight / 2 * losses[f"l_r1_{name}"]).backward()
            optimizer.step()
        self.log_dict = self.reduce_loss_dict(losses)
        get_root_logger().debug("real score %s", float(judged.detach().mean()))

    def test(self):
        with torch.no_grad():
            if hasattr(self, "net_g_ema"):
                self.net_g_ema.eval()
                self.output = self.net_g_ema(self.lq)
            else:
                get_root_logger().warning("Do not have self.net_g_ema, use self.net_g.")
                self.net_g.eval()
                self.output = self.net_g(self.lq)
                self.net_g.train()

    def save(self, epoch, current_iter):
        CALLS.add("save")
        assert self.get_bare_model(self.net_g) is self.net_g
        self.save_network([self.net_g, self.net_g_ema], "net_g", current_iter, param_key=["params", "params_ema"])
        for name in ("d", "d_left", "d_right"):
            self.save_network(getattr(self, f"net_{name}"), f"net_{name}", current_iter)
        self.save_training_state(epoch, current_iter)
