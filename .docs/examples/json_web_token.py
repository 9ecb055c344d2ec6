"""Users who are known by a JSON Web Token."""

import os

import jwt

import actors

KEY = os.environ["JWT_KEY"]


async def who(credentials: actors.Credentials) -> str | None:
    try:
        claims = jwt.decode(
            credentials.token, KEY, algorithms=["HS256"], audience="chat", options={"require": ["exp", "sub"]}
        )
    except jwt.InvalidTokenError:
        return None
    return claims["sub"]
