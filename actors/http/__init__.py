"""The API for programs in every language, over HTTP; it needs the extra ``[http]``.

    async with open_runtime(…) as runtime, open_api(runtime, keys=read_keys(path)) as api:
        await serve(api, "127.0.0.1", 8766, private=False)

:class:`~actors.http.app.Api` is plain ASGI: a FastAPI application on Trio
mounts it.
"""

try:
    from actors.http.app import Api, open_api
    from actors.http.keys import BadKeys, Key, Keys, read_keys
    from actors.http.server import serve
except ModuleNotFoundError as _error:
    _text = f"actors.http needs the extra [http]: {_error.name} is not installed"
    raise ModuleNotFoundError(f"{_text}; in the checkout: pip install '.[http]'", name=_error.name) from None

__all__ = ["Api", "BadKeys", "Key", "Keys", "open_api", "read_keys", "serve"]
