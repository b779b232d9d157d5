"""``torchrun`` that restarts after crashes only: what the user has to fix first would only happen again.

    python -m basicsr.engine.launch [flags of torchrun] SCRIPT [its flags]

``torchrun --max_restarts`` restarts all processes whatever ended one of them, and itself ends with code 1. Here a
process that ends with a code of :data:`FINAL_CODES` ends the run, on all machines, and its code is that of the command.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence

from torch.distributed import DistNetworkError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher import api
from torch.distributed.run import parse_args, parse_min_max_nnodes, run

from basicsr.engine.exits import INTERRUPTED, STOP_SIGNALS
from basicsr.utils.errors import DataError, OptionsError, TrainingError, WeightsError, first_line
from basicsr.utils.launcher import LAUNCHER_PID

FINAL_CODES = {error.exit_code for error in (OptionsError, DataError, WeightsError, TrainingError)} | {INTERRUPTED}


def find_final_code(failures: Iterable[ProcessFailure]) -> int | None:
    """The exit code that must not be tried again, if there is one among those of processes that ended together.

    When one process fails the others are told to stop, or crash for want of it: their codes say nothing.
    """
    codes = [failure.exitcode for failure in failures]
    told_to_stop = {INTERRUPTED, -signal.SIGTERM}
    if INTERRUPTED in codes and told_to_stop.issuperset(codes):
        return INTERRUPTED
    return next((code for code in codes if code in FINAL_CODES - told_to_stop), None)


class Agent(LocalElasticAgent):
    """Watches the processes of one machine; when it gives up, the run ends on the other machines too."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if find_final_code(result.failures.values()) is not None:
            self._remaining_restarts = 0
        return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs like ``torchrun``; returns the exit code."""
    # torchrun has no other way to be given an agent.
    api.LocalElasticAgent = Agent  # type: ignore[misc]
    try:
        args = parse_args(argv)
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
        sys.stderr.write(f"A process ended with code {code}; not restarted.\n" if code else f"{error}\n")
        return code or 1
    except RendezvousError as error:
        sys.stderr.write(f"The other machines have ended the run (see their messages) or cannot be reached: {error}\n")
        return 1
    except DistNetworkError as error:
        sys.stderr.write(f"The launchers cannot meet (--master_addr, --master_port): {first_line(error)}\n")
        return 1
    except SignalException:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
