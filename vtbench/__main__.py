"""The command ``vtbench``, also as ``python -m vtbench``."""

import gc
import signal


def main() -> None:
    """Run the command; while modules still load, Ctrl-C ends the process without a traceback.

    Nor is garbage collected before a verb is called: what modules make while they load lives to the end.
    """
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vtbench.cli.main import run

    run()


if __name__ == "__main__":
    main()
