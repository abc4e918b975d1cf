"""Decide whether a refused call is worth another try elsewhere. No clock, no I/O."""

# Half of all answered calls may be asked twice: enough where one replica of two is full and the
# other is not. Where all are full hardly any is answered, and trying elsewhere adds a tenth at most
# to what they must refuse.
_EARNED = 0.5
_MOST = 50.0


class RetryBudget:
    """What answered calls earn, and tries after a refusal spend."""

    def __init__(self) -> None:
        self._tries = _MOST

    def earn(self) -> None:
        self._tries = min(_MOST, self._tries + _EARNED)

    def spend(self) -> bool:
        """Take one try, if there is one."""
        if self._tries < 1:
            return False
        self._tries -= 1
        return True
