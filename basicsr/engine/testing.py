"""From options to test results: images, one table, ``metrics.json`` and ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from basicsr.engine.loaders import announce_skipped, build_evaluation_loaders
from basicsr.engine.loggers import announce
from basicsr.engine.summary import Comparison, compare_with_baseline
from basicsr.engine.training import seed_networks
from basicsr.evaluation.validation import evaluate_model
from basicsr.models import build_model
from basicsr.options import copy_opt_file, dict2str
from basicsr.utils.dist_util import barrier, get_dist_info
from basicsr.utils.errors import DataError
from basicsr.utils.folders import get_time_str, make_exp_dirs
from basicsr.utils.logger import get_env_info, get_root_logger
from basicsr.utils.tables import format_table, write_csv, write_json


def run_test(opt: Mapping[str, Any], opt_file: str) -> list[Comparison]:
    """Measures a generator on every data set of the options; in a distributed run every process calls this.

    Args:
        opt: Options from :func:`basicsr.options.parse_options` with ``is_train=False``.
        opt_file: The option file, a copy of which stays with the results.

    Returns:
        The results, which are also written to ``path.results_root``.

    Raises:
        DataError: If there is no data set, or none has an image.
    """
    _prepare_folder(opt, opt_file)
    announce("%s", get_env_info())
    announce("%s", dict2str(opt))
    seed_networks(opt)
    loaders = build_evaluation_loaders(opt, "test")
    if not loaders:
        raise DataError("there is no data set to test on: name one datasets.test_1")
    model = build_model(opt)
    with ExitStack() as at_end:
        for loader in loaders:
            at_end.callback(loader.close)
        results = [_test_one(model, loader) for loader in loaders]
    announce_skipped(loaders)
    if get_dist_info()[0] == 0:
        _write(results, Path(opt["path"]["results_root"]))
    return results


def _prepare_folder(opt: Mapping[str, Any], opt_file: str) -> None:
    if get_dist_info()[0] == 0:
        archived = make_exp_dirs(opt)
        root = Path(opt["path"]["results_root"])
        copy_opt_file(opt_file, root)
        get_root_logger(log_file=Path(opt["path"]["log"]) / f"test_{opt['name']}_{get_time_str()}.log")
        if archived is not None:
            announce("The results of an earlier test of this name are kept in %s", archived)
    barrier()


def _test_one(model: Any, loader: Any) -> Comparison:
    val = model.opt.get("val") or {}
    evaluation = evaluate_model(model, loader, model.opt["name"], save_img=bool(val.get("save_img", False)))
    return compare_with_baseline(model.opt, loader, evaluation)


def _write(results: Sequence[Comparison], folder: Path) -> None:
    write_json({result.dataset: _to_plain(result) for result in results}, folder / "metrics.json")
    metrics = list(dict.fromkeys(name for result in results for name in result.protocols))
    rows = [
        [result.dataset, image, method, *(scores.get(metric) for metric in metrics), _protocol_line(result)]
        for result in results
        for image, methods in result.by_image().items()
        for method, scores in methods.items()
    ]
    write_csv(["dataset", "image", "method", *metrics, "protocol"], rows, folder / "metrics.csv")
    announce("%s", describe_results(results))
    announce("Results: %s", folder)


def _to_plain(result: Comparison) -> dict[str, Any]:
    return {
        "num_images": max(evaluation.num_images for evaluation in result.methods.values()),
        "protocols": result.protocols,
        "mean": {method: evaluation.means for method, evaluation in result.methods.items()},
        "images": result.by_image(),
    }


def _protocol_line(result: Comparison) -> str:
    return "; ".join(f"{metric}: {line}" for metric, line in result.protocols.items())


def describe_results(results: Sequence[Comparison]) -> str:
    """One table with the means of every data set and method, and how the metrics were measured."""
    protocols = {name: line for result in results for name, line in result.protocols.items()}
    rows: list[list[object]] = []
    for result in results:
        for method, evaluation in result.methods.items():
            means = evaluation.means
            rows.append([result.dataset, method, evaluation.num_images, *(means.get(metric) for metric in protocols)])
    table = format_table(["data set", "method", "images", *protocols], rows)
    return "\n".join(["Means over images:", table, *(f"{metric}: {line}" for metric, line in protocols.items())])
