"""The exceptions of the benchmarks.

```
BenchmarkError
├── NotReady       nothing can be measured: a program is missing, a server does not start
└── WrongAnswer    a measurement got a wrong response
```
"""


class BenchmarkError(Exception):
    """The base of all exceptions that the benchmarks raise."""


class NotReady(BenchmarkError):
    """Nothing can be measured; the message is one line for the terminal."""


class WrongAnswer(BenchmarkError):
    """A server gave a wrong response; the figure must not be reported."""


def expect(holds: bool, message: str) -> None:
    """Raise `WrongAnswer(message)` unless `holds`."""
    if not holds:
        raise WrongAnswer(message)
