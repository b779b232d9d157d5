"""Names that BasicSR publishes and downstream packages import: each is found where they look for it."""

from __future__ import annotations

import importlib

import pytest

NAMES = """
basicsr.archs.rrdbnet_arch: RRDBNet RRDB ResidualDenseBlock
basicsr.archs.arch_util: default_init_weights make_layer pixel_unshuffle ResidualBlockNoBN Upsample
basicsr.archs.arch_util: trunc_normal_ to_2tuple flow_warp resize_flow
basicsr.archs.srvgg_arch: SRVGGNetCompact
basicsr.archs.swinir_arch: SwinIR
basicsr.archs.vgg_arch: VGGFeatureExtractor
basicsr.archs.discriminator_arch: VGGStyleDiscriminator UNetDiscriminatorSN
basicsr.archs.srresnet_arch: MSRResNet
basicsr.archs: build_network
basicsr.data: build_dataset build_dataloader
basicsr.data.data_sampler: EnlargedSampler
basicsr.data.prefetch_dataloader: CPUPrefetcher CUDAPrefetcher PrefetchDataLoader
basicsr.data.degradations: circular_lowpass_kernel random_mixed_kernels random_add_gaussian_noise_pt
basicsr.data.degradations: random_add_poisson_noise_pt random_add_gaussian_noise random_add_poisson_noise
basicsr.data.degradations: random_generate_gaussian_noise_pt random_generate_poisson_noise_pt
basicsr.data.degradations: add_jpg_compression random_add_jpg_compression bivariate_Gaussian
basicsr.data.degradations: bivariate_generalized_Gaussian bivariate_plateau random_bivariate_Gaussian
basicsr.data.degradations: random_bivariate_generalized_Gaussian random_bivariate_plateau add_gaussian_noise
basicsr.data.degradations: add_poisson_noise generate_gaussian_noise generate_poisson_noise
basicsr.data.degradations: add_gaussian_noise_pt add_poisson_noise_pt generate_gaussian_noise_pt
basicsr.data.degradations: generate_poisson_noise_pt mesh_grid sigma_matrix2 cdf2 pdf2
basicsr.data.degradations: random_generate_gaussian_noise random_generate_poisson_noise
basicsr.data.transforms: augment paired_random_crop mod_crop img_rotate
basicsr.data.data_util: paired_paths_from_folder paired_paths_from_lmdb paired_paths_from_meta_info_file
basicsr.data.data_util: read_img_seq paths_from_folder paths_from_lmdb duf_downsample generate_gaussian_kernel
basicsr.data.realesrgan_dataset: RealESRGANDataset
basicsr.data.realesrgan_paired_dataset: RealESRGANPairedDataset
basicsr.data.paired_image_dataset: PairedImageDataset
basicsr.data.single_image_dataset: SingleImageDataset
basicsr.losses: build_loss
basicsr.losses.loss_util: get_refined_artifact_map weight_reduce_loss weighted_loss reduce_loss
basicsr.losses.loss_util: get_local_weights
basicsr.losses.losses: GANLoss L1Loss MSELoss CharbonnierLoss PerceptualLoss WeightedTVLoss MultiScaleGANLoss
basicsr.losses.losses: GANFeatLoss g_path_regularize gradient_penalty_loss r1_penalty
basicsr.losses.basic_loss: L1Loss MSELoss CharbonnierLoss PerceptualLoss WeightedTVLoss
basicsr.losses.gan_loss: GANLoss MultiScaleGANLoss gradient_penalty_loss r1_penalty g_path_regularize
basicsr.models: build_model
basicsr.models.base_model: BaseModel
basicsr.models.sr_model: SRModel
basicsr.models.srgan_model: SRGANModel
basicsr.models.esrgan_model: ESRGANModel
basicsr.models.realesrgan_model: RealESRGANModel
basicsr.models.swinir_model: SwinIRModel
basicsr.models.realesrnet_model: RealESRNetModel
basicsr.models.lr_scheduler: MultiStepRestartLR CosineAnnealingRestartLR
basicsr.utils: DiffJPEG USMSharp FileClient get_root_logger imfrombytes img2tensor imwrite tensor2img scandir
basicsr.utils: get_time_str make_exp_dirs set_random_seed mkdir_and_rename check_resume get_env_info
basicsr.utils: MessageLogger init_tb_logger init_wandb_logger AvgTimer crop_border sizeof_fmt bgr2ycbcr
basicsr.utils: rgb2ycbcr rgb2ycbcr_pt ycbcr2bgr ycbcr2rgb
basicsr.utils.dist_util: get_dist_info init_dist master_only
basicsr.utils.file_client: FileClient
basicsr.utils.lmdb_util: make_lmdb_from_imgs LmdbMaker
basicsr.utils.logger: AvgTimer MessageLogger get_env_info get_root_logger init_tb_logger init_wandb_logger
basicsr.utils.misc: get_time_str make_exp_dirs scandir set_random_seed mkdir_and_rename check_resume sizeof_fmt
basicsr.utils.img_util: crop_border imfrombytes img2tensor imwrite tensor2img tensor2img_fast
basicsr.utils.img_process_util: filter2D usm_sharp USMSharp
basicsr.utils.registry: ARCH_REGISTRY DATASET_REGISTRY LOSS_REGISTRY METRIC_REGISTRY MODEL_REGISTRY Registry
basicsr.utils.download_util: load_file_from_url
basicsr.utils.options: parse_options dict2str copy_opt_file yaml_load ordered_yaml
basicsr.train: train_pipeline init_tb_loggers create_train_val_dataloader load_resume_state
basicsr.version: __version__ __gitsha__
basicsr.test: test_pipeline
basicsr.metrics: calculate_metric calculate_psnr calculate_ssim calculate_niqe
basicsr.metrics.psnr_ssim: calculate_psnr calculate_ssim calculate_psnr_pt calculate_ssim_pt
basicsr.metrics.niqe: calculate_niqe
basicsr.metrics.fid: calculate_fid
basicsr.metrics.metric_util: reorder_image to_y_channel
basicsr.utils.matlab_functions: imresize rgb2ycbcr bgr2ycbcr ycbcr2rgb ycbcr2bgr
basicsr.utils.color_util: rgb2ycbcr bgr2ycbcr ycbcr2rgb ycbcr2bgr rgb2ycbcr_pt
basicsr.utils.diffjpeg: DiffJPEG quality_to_factor
"""


@pytest.mark.parametrize("line", NAMES.strip().splitlines(), ids=lambda line: line.split(":")[0])
def test_published_names_are_importable(line: str) -> None:
    module, names = line.split(": ")
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_utilities_are_published_under_star_and_by_module() -> None:
    found: dict[str, object] = {}
    exec("from basicsr.utils import *\nimport basicsr.utils\nhome = basicsr.utils.img_util", found)
    assert {"get_root_logger", "tensor2img", "imresize", "scandir"} <= set(found)
    assert found["home"] is importlib.import_module("basicsr.utils.img_util")
    assert not hasattr(importlib.import_module("basicsr.utils"), "no_such_name")


def test_re_exports_are_the_same_objects() -> None:
    utils = importlib.import_module("basicsr.utils")
    for home, names in (
        ("file_client", ["FileClient"]),
        ("logger", ["MessageLogger", "init_tb_logger"]),
        ("folders", ["scandir", "make_exp_dirs"]),
        ("seeding", ["set_random_seed"]),
    ):
        module = importlib.import_module(f"basicsr.utils.{home}")
        assert all(getattr(utils, name) is getattr(module, name) for name in names)
