"""What can go wrong with a measurement.

```
BenchmarkError
├── NotReady       nothing can be measured: a program is missing, a server does not start
└── WrongAnswer    one measurement got an answer that is not the right one
```
"""


class BenchmarkError(Exception):
    """The root of everything the benchmarks raise on purpose."""


class NotReady(BenchmarkError):
    """Nothing can be measured; the message is one line for the person at the terminal."""


class WrongAnswer(BenchmarkError):
    """A server answered something else than it should; its figure must not be reported."""


def expect(holds: bool, message: str) -> None:
    """Raise `WrongAnswer(message)` unless `holds`."""
    if not holds:
        raise WrongAnswer(message)
