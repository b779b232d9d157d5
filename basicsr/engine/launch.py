"""``torchrun`` that restarts after crashes only: what the user has to fix first would only happen again.

    python -m basicsr.engine.launch [--stop_timeout SECONDS] [flags of torchrun] SCRIPT [its flags]

``torchrun --max_restarts`` restarts all processes whatever ended one of them, and itself ends with code 1. Here a
process that ends with a code of :data:`FINAL_CODES` ends the run, on all machines, and its code is that of the command.
A run that is told to stop has ``--stop_timeout`` to write its checkpoint, and not torchrun's 30 seconds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from torch.distributed import DistNetworkError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher import api
from torch.distributed.run import get_args_parser, parse_min_max_nnodes, run

from basicsr.engine.exits import ABORTED, INTERRUPTED, STOP_SIGNALS, handle, ignore_signals
from basicsr.utils.errors import DataError, OptionsError, TrainingError, WeightsError, first_line
from basicsr.utils.launcher import LAUNCHER_PID

FINAL_CODES = {error.exit_code for error in (OptionsError, DataError, WeightsError, TrainingError)}
FINAL_CODES |= {INTERRUPTED, ABORTED}

STOP_TIMEOUT = 600
"""Seconds that processes have to stop: for an iteration, and a checkpoint on slow storage."""


def find_final_code(failures: Iterable[ProcessFailure]) -> int | None:
    """The exit code that must not be tried again, if there is one among those of processes that ended together."""
    return _choose_final([failure.exitcode for failure in failures])


def _choose_final(codes: Sequence[int]) -> int | None:
    # When one process fails the others are told to stop, or crash for want of it: their codes say nothing.
    told_to_stop = {INTERRUPTED, -signal.SIGTERM}
    if INTERRUPTED in codes and told_to_stop.issuperset(codes):
        return INTERRUPTED
    return next((code for code in codes if code in FINAL_CODES - told_to_stop), None)


class Agent(LocalElasticAgent):
    """Watches the processes of one machine; when it gives up, the run ends on the other machines too.

    Args:
        stop_timeout: Seconds that processes have to end once this one was told to.
        stopped: Takes their exit codes when they have.
    """

    def __init__(self, *args: Any, stop_timeout: int, stopped: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop_timeout = stop_timeout
        self._stopped = stopped

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if find_final_code(result.failures.values()) is not None:
            self._remaining_restarts = 0
        return result

    def _shutdown(self, *args: Any, **kwargs: Any) -> None:
        stop = sys.exc_info()[1]
        if isinstance(stop, SignalException) and self._pcontext is not None:
            # Further signals are for them to judge; here they would end the waiting, and later change the exit code.
            handle(STOP_SIGNALS, self._pass_on)
            self._pcontext.close(stop.sigval, timeout=self._stop_timeout)
            ignore_signals()
            processes = getattr(self._pcontext, "subprocess_handlers", {}).values()
            self._stopped[:] = [process.proc.returncode for process in processes]
        super()._shutdown(*args, **kwargs)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for process in self._pcontext.pids().values() if self._pcontext is not None else ():
            with suppress(ProcessLookupError):
                os.kill(process, number)


def describe_stop(codes: Sequence[int], stop_timeout: int) -> tuple[int, str]:
    """The exit code of a run that was told to stop, from those of its processes, and a line that explains it."""
    if codes and not any(codes):
        return 0, ""
    if not codes or _choose_final([code for code in codes if code]) == INTERRUPTED:
        return INTERRUPTED, ""
    code = _choose_final(codes) or ABORTED
    if -signal.SIGKILL in codes:
        return code, f"Killed after {stop_timeout} seconds (--stop_timeout), without a checkpoint of this moment."
    return code, f"Stopped without a checkpoint of this moment; the processes ended with codes {codes}."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs like ``torchrun``; returns the exit code."""
    parser = get_args_parser()
    stop_help = "seconds that processes have to write a checkpoint when told to stop, before they are killed"
    parser.add_argument("--stop_timeout", "--stop-timeout", type=int, default=STOP_TIMEOUT, help=stop_help)
    args = parser.parse_args(argv)
    if args.stop_timeout < 1:
        parser.error(f"--stop_timeout must be 1 or more, got {args.stop_timeout}")
    stopped: list[int] = []
    # torchrun has no other way to be given an agent.
    api.LocalElasticAgent = partial(Agent, stop_timeout=args.stop_timeout, stopped=stopped)  # type: ignore[assignment, misc]
    try:
        if hasattr(args, "signals_to_handle"):  # not in every version of torch
            heard = [
                number for number in (*STOP_SIGNALS, signal.SIGQUIT) if signal.getsignal(number) is not signal.SIG_IGN
            ]
            args.signals_to_handle = ",".join(number.name for number in heard)
        os.environ[LAUNCHER_PID] = str(os.getpid())
        if parse_min_max_nnodes(args.nnodes)[1] > 1:
            # Else torch has one store for all restarts, in which new processes find the addresses of dead ones.
            os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        run(args)
    except ChildFailedError as error:
        code = find_final_code(error.failures.values())
        if code is None:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            sys.stderr.write(f"The processes have failed and no restart is left. Exit codes by rank: {codes}.\n")
        elif code != INTERRUPTED:
            sys.stderr.write(f"A process ended with code {code}; not restarted.\n")
        return code or 1
    except RendezvousError as error:
        sys.stderr.write(f"The other machines have ended the run (see their messages) or cannot be reached: {error}\n")
        return 1
    except DistNetworkError as error:
        sys.stderr.write(f"The launchers cannot meet (--master_addr, --master_port): {first_line(error)}\n")
        return 1
    except SignalException:
        code, text = describe_stop(stopped, args.stop_timeout)
        sys.stderr.write(f"{text}\n" if text else "")
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
