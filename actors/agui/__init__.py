"""AG-UI 1.0: the events of a thread as a frontend of that protocol takes them, whatever it has seen before."""

from actors.agui.endpoint import Endpoint, open_endpoint
from actors.agui.mapper import Mapper

__all__ = ["Endpoint", "Mapper", "open_endpoint"]
