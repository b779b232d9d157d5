"""Test as options say: images, one table, ``metrics.json`` and ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from basicsr.engine.folder_hold import hold_folder
from basicsr.engine.loaders import announce_skipped, build_evaluation_loaders
from basicsr.engine.loggers import announce, announce_options, write_own_report
from basicsr.engine.training import seed_networks
from basicsr.evaluation.results import Evaluation, describe_means, write_results
from basicsr.evaluation.workload import Workload
from basicsr.models import build_model
from basicsr.options import copy_opt_file
from basicsr.utils.atomic import remove_temporaries
from basicsr.utils.dist_util import barrier, get_dist_info
from basicsr.utils.errors import DataError
from basicsr.utils.folders import SCORE_FOLDERS, get_time_str, make_exp_dirs
from basicsr.utils.frozen import FrozenOptions
from basicsr.utils.logger import get_root_logger


def run_test(opt: FrozenOptions, opt_file: str, overrides: Sequence[str] = ()) -> list[Evaluation]:
    """Measures a generator on every data set of the options; in a distributed run every process calls this.

    Args:
        opt: Options from :func:`basicsr.options.parse_options` with ``is_train=False``.
        opt_file: The option file, a copy of which stays with the results.
        overrides: What ``--force_yml`` has changed in it.

    Returns:
        The results, which are also written to ``path.results_root``.

    Raises:
        DataError: If there is no data set, or none has an image.
        TrainingError: If another test of this name is at work.
    """
    folder = Path(opt["path"]["results_root"])
    with hold_folder(folder):
        return _test_in_folder(opt, opt_file, overrides, folder)


def _test_in_folder(opt: FrozenOptions, opt_file: str, overrides: Sequence[str], folder: Path) -> list[Evaluation]:
    if get_dist_info()[0] == 0:
        remove_temporaries(folder, passing_over=SCORE_FOLDERS)
        archived = make_exp_dirs(opt)
        copy_opt_file(opt_file, folder, overrides)
        get_root_logger(log_file=Path(opt["path"]["log"]) / f"test_{opt['name']}_{get_time_str()}.log")
        if archived is not None:
            announce("The results of an earlier test of this name are kept in %s", archived)
    barrier()
    announce_options(opt, opt_file)
    seed_networks(opt)
    loaders = build_evaluation_loaders(opt, "test")
    if not loaders:
        raise DataError("there is no data set to test on: name one datasets.test_1")
    model = build_model(opt)
    with ExitStack() as at_end:
        for loader in loaders:
            at_end.callback(loader.close)
        share = get_dist_info() if model.evaluator().share else (0, 1)
        workload = at_end.enter_context(Workload(loaders, "Test", share, model.val.pbar))
        results: list[Evaluation] = []
        for loader in loaders:
            asked = {"compare": True, "workload": workload}
            results.append(model.measure(loader, opt["name"], save_img=model.val.save_img, **asked))
            workload.end_set(loader)
            announce_skipped([loader])
            # A test that is ended early keeps what is done.
            if get_dist_info()[0] == 0:
                write_results(results, folder)
                announce("%s", describe_means(results[-1:]))
    if len(results) > 1:
        announce("%s", describe_means(results))
    announce("Results: %s", folder)
    write_own_report(opt, folder, loaders)
    return results
