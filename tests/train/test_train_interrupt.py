"""The first signal only sets a flag, the second ends the process's work at once."""

import signal

import pytest

from prunus.train.interrupt import Interrupt

ENDS = {signal.SIGINT: (KeyboardInterrupt, r"^$"), signal.SIGTERM: (SystemExit, r"^143$")}


@pytest.mark.parametrize("number", ENDS)
def test_one_signal_asks_and_two_insist(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    kind, words = ENDS[number]
    with Interrupt() as interrupt:
        assert not interrupt.requested()
        signal.raise_signal(number)
        assert interrupt.requested()
        with pytest.raises(kind, match=words):
            signal.raise_signal(number)
        with pytest.raises(kind, match=words):
            interrupt.leave()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", ENDS)
def test_what_can_be_repeated_ends_with_the_first(number: signal.Signals) -> None:
    kind, words = ENDS[number]
    with Interrupt() as interrupt:
        with pytest.raises(kind, match=words), interrupt.at_once():
            signal.raise_signal(number)
        assert interrupt.requested()
    with Interrupt() as interrupt:
        with interrupt.at_once():
            pass
        signal.raise_signal(number)
        assert interrupt.requested()
