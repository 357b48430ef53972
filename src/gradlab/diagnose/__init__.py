"""What is wrong with a run: frames in, findings out.

`gradlab.diagnose` names this room and the function both, and the room takes the name as soon as
any of it is imported. So the room can be called.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `gradlab.diagnose.verdict.diagnose`."""
        from gradlab.diagnose.verdict import diagnose

        return diagnose(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
