"""Lets in who has the key. During a change both keys are good: the secret has `key` and `previous`."""

import asyncio
import functools
import hmac
import os
import pathlib
import signal
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, SecretStr


class Keys(BaseModel):
    key: SecretStr
    previous: SecretStr


@functools.lru_cache
def keys() -> Keys:
    """The keys, read from the file once, and again after SIGHUP."""
    return Keys.model_validate_json(pathlib.Path(os.environ["KEYS_FILE"]).read_bytes())


def caller(keys: Annotated[Keys, Depends(keys)], x_api_key: Annotated[str, Header()]):
    good = [key.get_secret_value() for key in (keys.key, keys.previous)]
    if not any(key and hmac.compare_digest(key.encode(), x_api_key.encode()) for key in good):
        raise HTTPException(401, "this key is not known")


@asynccontextmanager
async def lifespan(_: FastAPI):
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keys.cache_clear)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/orders", dependencies=[Depends(caller)])
def orders():
    return {"orders": 3}
