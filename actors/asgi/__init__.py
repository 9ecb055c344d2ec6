"""The runtime in an ASGI application: FastAPI or Starlette, on Trio as on asyncio. It needs no other package.

realtime = Realtime(authenticate=who, on_message=assistant)
app = FastAPI(lifespan=realtime.lifespan)
app.mount("/live", realtime)
"""

from actors.asgi.realtime import Realtime

__all__ = ["Realtime"]
