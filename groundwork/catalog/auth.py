"""The catalog's words for how an HTTP API knows us: one model for each ``kind``.

Every value that is secret is named, never written. What a kind obtains (tokens, session cookies) is renewed
before it runs out, and once when it is refused; the room for that is `groundwork.sources.rest`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from groundwork.durations import Duration
from groundwork.settings import Named

Value = str | Named


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _not_written(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError("is a secret: name it as {secret: …}, never write it")
    return value


def _is_secret(named: Named) -> Named:
    if not named.secret:
        raise ValueError("is a secret: name it as {secret: …}, not as a variable")
    return named


Secret = Annotated[Named, BeforeValidator(_not_written), AfterValidator(_is_secret)]
"""A value that must be named as a secret."""


class NoAuth(_Entry):
    """The API does not ask who we are."""

    kind: Literal["none"] = "none"


class BearerAuth(_Entry):
    """``Authorization: Bearer …`` with a token that does not run out."""

    kind: Literal["bearer"]
    token: Secret


class ApiKeyAuth(_Entry):
    """A key in a header or in the query."""

    kind: Literal["api_key"]
    token: Secret
    name: str = "X-API-Key"
    """Header or query parameter that carries the key."""
    place: Literal["header", "query"] = Field("header", alias="in")
    prefix: str = ""
    """Word before the key, e.g. ``Token``."""


class BasicAuth(_Entry):
    """``Authorization: Basic …`` (RFC 7617)."""

    kind: Literal["basic"]
    username: Value = ""
    password: Secret


class _Renewed(_Entry):
    """What all kinds share that obtain something and must renew it."""

    name: str = "Authorization"
    """Header that carries the token."""
    prefix: str = "Bearer"
    """Word before the token; "" for none."""
    lifetime: Duration | None = None
    """How long it holds, where the answer does not say; without either, until it is refused."""
    renew_before: Duration = timedelta(minutes=1)
    """Renewed this long before it runs out, or a tenth of its life before, if that is less."""
    renew_on: list[int] = [401]
    """Statuses by which this API says that a token is not valid any more; 302 where it leads to a login."""


class _Granted(_Renewed):
    """A token endpoint (RFC 6749 §3.2). Its secrets go to this address and to no other."""

    token_url: Value
    client_id: Value = ""
    client_secret: Secret | None = None
    client_auth: Literal["basic", "body", "private_key_jwt"] = "basic"
    """How the endpoint knows the client: by ``Authorization: Basic``, by fields of the body, or by a JWT that
    we sign (RFC 7523 §2.2)."""
    client_key: Secret | None = None
    """The private key as PEM, for ``private_key_jwt``."""
    client_key_id: Value = ""
    """``kid`` of that JWT's header."""
    client_key_algorithm: Literal["RS256", "ES256"] = "RS256"
    scope: str = ""
    token_request: dict[str, Value] = {}
    """More fields for the token request, e.g. ``audience``."""
    token: str = "access_token"
    """Path to the token in the endpoint's answer."""
    expires_in: str = "expires_in"
    """Path to the seconds it holds."""

    @model_validator(mode="after")
    def _client_is_known_in_one_way(self) -> Self:
        by_key = self.client_auth == "private_key_jwt"
        if by_key != (self.client_key is not None):
            raise ValueError("client_key: goes with 'client_auth: private_key_jwt'")
        if by_key and (self.client_secret or not self.client_id):
            raise ValueError("client_auth: 'private_key_jwt' needs a client_id and no client_secret")
        return self


class ClientCredentialsAuth(_Granted):
    """OAuth2 client credentials (RFC 6749 §4.4)."""

    kind: Literal["oauth2_client_credentials"]
    client_id: Value

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if not (self.client_secret or self.client_key):
            raise ValueError(
                "client_secret: is missing (or 'client_auth: private_key_jwt' with a client_key)"
            )
        return self


class RefreshTokenAuth(_Granted):
    """OAuth2 refresh token (RFC 6749 §6). A new refresh token is saved before the access token is used."""

    kind: Literal["oauth2_refresh_token"]
    client_id: Value
    refresh_token: Secret
    rotates: bool = True
    """The endpoint may give a new refresh token each time, so there must be a place to save it."""


class JwtAssertionAuth(_Granted):
    """A JWT we sign ourselves: exchanged for a token (RFC 7523 §2.1), or the token itself."""

    kind: Literal["jwt_assertion"]
    token_url: Value = ""
    """Where it is exchanged; without it the JWT itself goes to the API."""
    key: Secret
    """The private key as PEM (RS256, ES256), or the shared secret (HS256)."""
    algorithm: Literal["RS256", "ES256", "HS256"] = "RS256"
    key_id: Value = ""
    """``kid`` of the JWT's header."""
    issuer: Value = ""
    subject: Value = ""
    audience: Value = ""
    """``aud``; the token endpoint when empty and there is one."""
    claims: dict[str, str | int | bool | Named] = {}
    """More claims. ``iat``, ``exp`` and ``jti`` are made for each JWT."""
    lifetime: Duration = timedelta(minutes=5)
    """From ``iat`` to ``exp``."""

    @model_validator(mode="after")
    def _made_claims_are_not_given(self) -> JwtAssertionAuth:
        keys = {"iss": "issuer", "sub": "subject", "aud": "audience", "exp": "lifetime"}
        for claim in self.claims:
            if claim in keys:
                raise ValueError(f"claims.{claim}: has a key of its own, '{keys[claim]}'")
            if claim in ("iat", "jti"):
                raise ValueError(f"claims.{claim}: is made anew for each JWT")
        return self


class SessionLoginAuth(_Renewed):
    """Credentials are posted once; what comes back is a token in the body, or cookies."""

    kind: Literal["session_login"]
    login_url: Value
    """A path below ``base_url``, or a whole address; the credentials go nowhere else."""
    credentials: dict[str, Value] = Field(min_length=1)
    """Fields of the login, e.g. ``{username: ann, password: {secret: …}}``."""
    format: Literal["json", "form"] = "json"
    token: str = ""
    """Path to the token in the answer."""
    cookies: list[str] = []
    """Cookies that make up the session, instead of a token."""
    expires_in: str = ""
    """Path to the seconds the session lasts."""
    logout_url: Value = ""
    """Asked when the pull is over, if the API limits sessions."""
    logout_method: Literal["POST", "DELETE", "GET"] = "POST"

    @model_validator(mode="after")
    def _one_thing_comes_back(self) -> SessionLoginAuth:
        if bool(self.token) == bool(self.cookies):
            raise ValueError("token: what the login brings is either a 'token' or 'cookies'")
        if not any(isinstance(value, Named) and value.secret for value in self.credentials.values()):
            raise ValueError("credentials: the password is a secret: name it as {secret: …}")
        return self


class SignatureAuth(_Entry):
    """A function of the project signs each request; the contract stands in `signing`."""

    kind: Literal["signature"]
    hook: str = Field(pattern=r"^signing(\.[a-z_][a-z0-9_]*)+:[a-z_][a-z0-9_]*$")
    """``signing.<module>:<function>``; nothing outside of the package `signing` is called."""
    secrets: dict[str, Secret] = {}
    """What the function signs with."""
    options: dict[str, Value] = {}
    """What else it needs to know, e.g. a region."""


Auth = Annotated[
    NoAuth
    | BearerAuth
    | ApiKeyAuth
    | BasicAuth
    | ClientCredentialsAuth
    | RefreshTokenAuth
    | JwtAssertionAuth
    | SessionLoginAuth
    | SignatureAuth,
    Field(discriminator="kind"),
]
"""How a REST source knows us."""

Granted = ClientCredentialsAuth | RefreshTokenAuth | JwtAssertionAuth
Renewed = Granted | SessionLoginAuth
