"""The command line: the script `gradlab`, and `python -m gradlab`."""

# Until the imports are done, Ctrl-C ends the process, because Python would print a traceback. The
# module `signal` itself imports others, so that its part in C is used.
import _signal  # pyright: ignore[reportMissingImports]

_AT_START = _signal.getsignal(_signal.SIGINT)
if _AT_START is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from gradlab.cli.main import main  # noqa: E402


def script() -> int:
    """Run the command line; Ctrl-C now is an exception, which `main` reports."""
    _signal.signal(_signal.SIGINT, _AT_START)
    return main()


if __name__ == "__main__":
    raise SystemExit(script())
