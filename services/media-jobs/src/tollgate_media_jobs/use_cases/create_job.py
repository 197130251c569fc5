"""Creates a job: checked, priced, its money held, stored once."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from random import Random

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids
from tollgate_kit.tracing import new_span_id, parse_traceparent
from tollgate_media_jobs.domain.ability import Abilities
from tollgate_media_jobs.domain.channels import Version
from tollgate_media_jobs.domain.images import inspect_image
from tollgate_media_jobs.domain.job import ImageRequest, Job, Source, Tenant
from tollgate_media_jobs.domain.pricing import expected_tokens, worst_case
from tollgate_media_jobs.errors import BlobsUnavailable, Invalid, MediaError, NotAnImage
from tollgate_media_jobs.ports import Blobs, Books, Failpoints, Held, Holds, HoldState, Jobs, Versions
from tollgate_media_jobs.use_cases.moves import staging_prefix
from tollgate_rating import AmountOutOfRange, ModelPrice, NoRate, PriceBook

_KEY_CHARACTERS = 255
_MOST_PIXELS = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CreateCommand:
    tenant: Tenant
    model: str
    image: ImageRequest
    request_id: str
    idempotency_key: str = ""
    traceparent: str = ""
    # In which the organization pays; empty is the price book's.
    currency: str = ""
    # What the caller named, where a budget turns the job to `model`.
    requested_model: str = ""
    # By which billing notices a stolen key or a loop: where it came from, and the hash of what was asked; 0 is none.
    client_network: str = ""
    prompt_hash: int = 0
    # Pictures to begin from: image or mask, and the bytes.
    files: tuple[tuple[str, bytes], ...] = ()
    # False: the organization pays later.
    prepaid: bool = True
    # Who asks is told of want of money by a verdict, where the job has limits.
    money_told: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """A job, None where it was refused. `verdict` is of its hold; empty without limits and for an earlier job."""

    job: Job | None
    verdict: tuple[int, ...] = ()
    # What it counts as among the tokens of a minute.
    tokens: int = 0


class CreateJob:
    """Money comes before the row: a crash between the two leaves a hold that expires, never work without money."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        books: Books,
        holds: Holds,
        versions: Versions,
        abilities: Abilities,
        clock: Clock,
        ids: Ids,
        random_source: Random,
        blobs: Blobs,
        failpoints: Failpoints,
        deadline_seconds: float,
        on_created: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._books = books
        self._holds = holds
        self._versions = versions
        self._abilities = abilities
        self._clock = clock
        self._ids = ids
        self._random = random_source
        self._blobs = blobs
        self._failpoints = failpoints
        self._deadline_us = round(deadline_seconds * 1e6)
        self._on_created = on_created

    async def __call__(self, command: CreateCommand) -> Admission:
        """Returns the job, or the one that an earlier call with the same key or request id created.

        Raises MediaError and Unavailable.
        """
        _check_envelope(command)
        command = replace(command, image=replace(command.image, sources=_sources(command.files)))
        request_hash = _hash(command)
        earlier = await self._jobs.find_earlier(
            command.tenant.organization_id, command.request_id, command.idempotency_key
        )
        if earlier is not None:
            return Admission(_same(earlier, request_hash))
        version = self._served(command)
        job, book = self._draft(command, version, request_hash)
        held = await self._hold(job, command)
        if held.state is not HoldState.HELD:
            return Admission(None, held.verdict, job.counted_tokens)
        job = replace(job, counted_second=held.second)
        self._failpoints.reach("after_hold")
        await self._stage(job, command)
        if book is not None:
            await self._books.keep(book)
        created = await self._jobs.create(job)
        self._failpoints.reach("after_create")
        if not created.is_new:
            if command.files:
                await self._blobs.remove_below(staging_prefix(job.id))
            if created.job.request_id != job.request_id:
                await self._holds.release(job)
            return Admission(_same(created.job, request_hash))
        self._on_created()
        return Admission(created.job, held.verdict, job.counted_tokens)

    def _served(self, command: CreateCommand) -> Version:
        version = self._versions.current()
        if version is None:
            raise MediaError(errors.ERROR_KIND_UNAVAILABLE, "The configuration has not arrived yet; try again shortly.")
        if not version.levels(command.tenant.route_group, command.model):
            raise MediaError(
                errors.ERROR_KIND_MODEL_NOT_FOUND, f"The model {command.model[:200]!r} does not exist.", param="model"
            )
        # The catalogue does not know the kind of an operator's own model.
        if version.kinds.get(command.model) not in {"image", "", None}:
            raise MediaError(
                errors.ERROR_KIND_INVALID_REQUEST,
                f"The model {command.model[:200]!r} makes no images; choose one that does.",
                param="model",
            )
        try:
            self._abilities.of(command.model).check(command.image)
        except Invalid as error:
            raise MediaError(errors.ERROR_KIND_INVALID_REQUEST, error.message, param=error.param) from None
        return version

    def _draft(self, command: CreateCommand, version: Version, request_hash: str) -> tuple[Job, PriceBook | None]:
        now = self._clock.now_us()
        price, amount = self._priced(command, version, now)
        traced = parse_traceparent(command.traceparent) is not None
        job_id = self._ids.new("job")
        sources = tuple(
            replace(source, key=f"{staging_prefix(job_id)}source/{index}")
            for index, source in enumerate(command.image.sources)
        )
        job = Job(
            id=job_id,
            request_id=command.request_id,
            tenant=command.tenant,
            model=command.model,
            image=replace(command.image, sources=sources),
            created_at_us=now,
            deadline_at_us=now + self._deadline_us,
            next_at_us=now,
            idempotency_key=command.idempotency_key,
            request_hash=request_hash,
            traceparent=command.traceparent if traced else "",
            span_id=new_span_id(self._random),
            config_digest=version.digest,
            requested_model=command.requested_model,
            client_network=command.client_network,
            prompt_hash=f"{command.prompt_hash:016x}" if command.prompt_hash else "",
            price_digest=price.digest,
            currency=price.currency,
            exchange_rate=price.exchange.canonical().decode() if price.exchange is not None else "",
            hold_pico=amount,
        )
        if any(scope.tokens for scope in command.tenant.limits):
            job = replace(job, counted_tokens=expected_tokens(command.image, self._abilities.of(command.model)))
        return job, version.books.get(price.digest)

    def _priced(self, command: CreateCommand, version: Version, now_us: int) -> tuple[ModelPrice, int]:
        try:
            price = version.price_table.find(command.model, command.tenant.price_group, now_us, command.currency)
        except NoRate as error:
            raise MediaError(
                errors.ERROR_KIND_UNAVAILABLE,
                f"The organization pays in {error.quote}, and {error}, so nothing is served that is priced in "
                f"{error.base}. An operator declares one under exchange_rates.",
                code="no_exchange_rate",
            ) from None
        try:
            amount = worst_case(price, command.image, self._abilities.of(command.model)) if price is not None else None
        except AmountOutOfRange as error:
            raise MediaError(
                errors.ERROR_KIND_INVALID_REQUEST,
                f"The pictures may cost too much: {error}. Ask for fewer at once.",
                param="n",
                code="request_too_dear",
            ) from None
        if price is None or amount is None:
            raise MediaError(
                errors.ERROR_KIND_MODEL_NOT_FOUND,
                f"The model {command.model[:200]!r} has no price, so it is not served. "
                "An operator sets one in a price book; 0 is a price.",
                param="model",
                code="model_not_priced",
            )
        return price, amount

    async def _stage(self, job: Job, command: CreateCommand) -> None:
        """Stores the pictures that came along; they go with all else that is staged for the job when it ends."""
        try:
            for source, (_, data) in zip(job.image.sources, command.files, strict=True):
                await self._blobs.put(source.key, data, source.content_type)
        except BlobsUnavailable:
            await self._holds.release(job)
            raise

    async def _hold(self, job: Job, command: CreateCommand) -> Held:
        held = await self._holds.hold(job, prepaid=command.prepaid)
        if held.state in {HoldState.HELD, HoldState.OVER_LIMIT}:
            return held
        if command.money_told and held.verdict and held.state in {HoldState.INSUFFICIENT, HoldState.NO_WALLET}:
            return held
        if held.state is HoldState.INSUFFICIENT:
            raise MediaError(
                errors.ERROR_KIND_INSUFFICIENT_QUOTA,
                "The balance does not cover this request; add credit and try again.",
            )
        if held.state is HoldState.NO_WALLET:
            # By its code edge knows that billing is to be asked for the wallet.
            raise MediaError(
                errors.ERROR_KIND_UNAVAILABLE, "The balance is being rebuilt; try again shortly.", code="no_wallet"
            )
        raise MediaError(errors.ERROR_KIND_CONFLICT, "This request id was used before.")


def _check_envelope(command: CreateCommand) -> None:
    if not command.tenant.organization_id or not command.tenant.project_id or not command.request_id:
        raise MediaError(errors.ERROR_KIND_INTERNAL, "The request names no organization, project or request id.")
    key = command.idempotency_key
    if len(key) > _KEY_CHARACTERS or not key.isprintable():
        raise MediaError(
            errors.ERROR_KIND_INVALID_REQUEST,
            f"An idempotency key has at most {_KEY_CHARACTERS} printable characters.",
            param="idempotency_key",
        )
    if "\x00" in command.image.prompt + command.image.user + command.model:
        raise MediaError(errors.ERROR_KIND_INVALID_REQUEST, "The prompt holds a NUL character.", param="prompt")


def _sources(files: tuple[tuple[str, bytes], ...]) -> tuple[Source, ...]:
    """Returns what the pictures are. Raises MediaError for what is none."""
    found = []
    for name, data in files:
        try:
            facts = inspect_image(data, max_pixels=_MOST_PIXELS)
        except NotAnImage as error:
            raise MediaError(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: {error}.", param=name) from None
        found.append(Source(name, facts.content_type, facts.extension, hashlib.sha256(data).hexdigest()))
    return tuple(found)


def _hash(command: CreateCommand) -> str:
    image = asdict(command.image)
    if not command.image.sources:
        # As it was before there were any, so that a request may be repeated across releases.
        del image["sources"], image["variation"]
    # As the caller asked: a budget that turns a repetition to another model does not make another request of it.
    model = command.requested_model or command.model
    body = {"project": command.tenant.project_id, "model": model, "image": image}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _same(earlier: Job, request_hash: str) -> Job:
    if earlier.request_hash != request_hash:
        raise MediaError(
            errors.ERROR_KIND_CONFLICT,
            "This idempotency key was used with another request; use a new key.",
            param="idempotency_key",
        )
    return earlier
