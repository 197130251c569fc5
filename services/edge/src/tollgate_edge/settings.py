"""Process settings of edge: `TOLLGATE_EDGE_<NAME>`."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import Address, Addresses, EventLogUrl, HttpUrl, RedisUrl, ServiceSettings, SqlUrl


class EdgeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_EDGE_")

    host: str = Field(default="127.0.0.1", description="Address that the public port listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="The public port.")
    listen_fd: int = Field(
        default=-1, description="Descriptor of a listening socket that workers share; used instead of host and port."
    )
    grpc_address: Address = Field(description="Where the configuration service is served: `host:port` or `unix:PATH`.")
    router_addresses: Addresses = Field(description="Addresses of the routers, separated by commas.")
    billing_address: Address = Field(description="Address of billing.")
    media_address: Address = Field(description="Address of media-jobs.")
    database_url: SqlUrl = Field(description="SQLAlchemy URL of the database, SQLite or PostgreSQL (psycopg).")
    redis_url: RedisUrl = Field(description="`unix:///PATH` or `redis://[:PASSWORD@]HOST:PORT/0`.")
    event_log_url: EventLogUrl = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")
    spool_directory: Path = Field(description="Keeps witness events until the event log has them.")
    spool_max_bytes: int = Field(
        default=64 * 1024 * 1024,
        gt=64 * 1024,
        description="Size of the spool at which new requests are refused, in bytes, less 64 KiB that those which run "
        "may need. They are refused as well while its disk cannot be written; /readyz says so.",
    )
    spool_fsync: bool = Field(
        default=False,
        description="Wait until the disk has what is written to the spool, once for all that is written at a time. "
        "Without it events outlive a killed process, and not a machine that loses power in the seconds before the "
        "event log has them.",
    )

    config_paths: str = Field(
        default="", description="Files and directories of declared resources, separated as in PATH; applied by slot 0."
    )
    pepper_file: Path = Field(description="Secret that keys are hashed with; written (mode 0600) when it is absent.")
    bootstrap_file: Path | None = Field(
        default=None, description="Where slot 0 leaves the first keys as JSON (mode 0600); read and kept when there."
    )
    demo: bool = Field(default=True, description="Make organization `demo` with credit and a key on the first start.")
    demo_credit_usd: int = Field(default=100, ge=0, le=1_000_000, description="Credit of `demo`, in USD.")
    simulator_url: HttpUrl = Field(
        default="", description="Base URL of the simulated provider, used when nothing else is declared."
    )

    max_body_bytes: int = Field(default=32 * 1024 * 1024, gt=0, description="Largest request body, in bytes.")
    max_body_memory_bytes: int = Field(
        default=512 * 1024 * 1024, gt=0, description="All request bodies of a process together, in bytes."
    )
    max_reply_memory_bytes: int = Field(
        default=256 * 1024 * 1024,
        gt=0,
        description="All replies of a process together that wait for slow readers, in bytes; above it those are "
        "closed that took nothing for longest. Looked at once a second, and whenever so much was written since.",
    )
    max_header_bytes: int = Field(default=64 * 1024, gt=0, description="Largest request head, in bytes.")
    max_header_count: int = Field(default=100, gt=0, description="Most header fields of a request.")
    max_json_depth: int = Field(default=64, gt=0, description="Deepest nesting of a JSON body.")
    trusted_hops: int = Field(
        default=0,
        ge=0,
        le=20,
        description="How many proxies of ours stand before this port, each of which adds to X-Forwarded-For: the "
        "address of a caller, for keys with a list of addresses, is the entry so many from its end. 0 is the address "
        "of the connection.",
    )
    header_timeout_seconds: float = Field(default=20.0, gt=0, description="Time for a request's head to arrive.")
    body_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How far a request's body may fall behind 1,000 bytes a second; what came faster before does not "
        "count. So it is the longest silence, too.",
    )
    write_timeout_seconds: float = Field(
        default=60.0, gt=0, description="A caller that takes nothing of a reply for so long is closed."
    )
    keep_alive_seconds: int = Field(
        default=75, gt=0, description="How long an idle client connection is kept; up to a second longer."
    )
    request_timeout_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Longest an inference request may take, its reply included. The router keeps to it too; where it "
        "does not answer, edge ends the request one to two seconds later.",
    )
    router_wait_seconds: float = Field(
        default=5.0,
        gt=0,
        description="How long a request waits for a router to connect, or for one that reads nothing to read on.",
    )
    admission_timeout_seconds: float = Field(
        default=2.0,
        gt=0,
        description="How long a request waits for Redis before it is refused, looked at once a second. A hold that "
        "Redis places after that is given back.",
    )
    without_redis: Literal["refuse", "serve_postpaid"] = Field(
        default="refuse",
        description="What happens while Redis is away. `refuse`: whatever needs it is refused. `serve_postpaid`: "
        "organizations that pay later go on, within limits that each process counts by itself; prepaid ones are "
        "refused in any case.",
    )
    unverified_spend_cap: int = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="With `serve_postpaid`: the most that an organization may spend or begin to spend without Redis, "
        "in units of its currency, at each process.",
    )
    hold_ttl_seconds: int = Field(default=300, gt=0, description="Life of a hold; renewed while the request runs.")
    trimmed_hold_tokens: int = Field(
        default=0,
        ge=0,
        description="What a nearly empty wallet is good for: a request whose worst case it does not cover is admitted "
        "with what is left, when that covers its input and an answer of so many tokens. It may cost more than it held, "
        "and the wallet end below zero by that. 0: such requests are refused.",
    )
    slot_ttl_seconds: int = Field(
        default=60,
        gt=0,
        description="Life of a place within a limit of concurrent requests; renewed while the request runs.",
    )
    silence_seconds: float = Field(default=15.0, gt=0, description="Silence after which a keep-alive is sent.")
    exchange_pause_ms: float = Field(
        default=1.0,
        ge=0,
        description="Least time between two writes of a stream to a router, and between two admissions. "
        "Longer joins more requests into one message and costs latency. A stream whose writes carry several frames "
        "waits twice as long.",
    )

    drain_notice_seconds: float = Field(
        default=0.0,
        ge=0,
        description="After a stop signal everything is still served so long, while /readyz says that the process "
        "drains: at least the time that a balancer takes to notice, where nothing else tells it before.",
    )
    drain_idle_seconds: float = Field(
        default=1.0,
        ge=0,
        description="How long a draining process keeps a connection without a request, so that one on its way meets "
        "an answer (503, to be sent again) rather than a closed connection.",
    )

    caller_marks: bool = Field(
        default=True,
        description="Whether usage rows have the network of the caller (a /24, or a /48 of IPv6) and a keyed hash of "
        "the request, by which billing notices keys in other hands and programs that run in a loop.",
    )

    access_log: Literal["off", "sampled", "on"] = Field(
        default="off",
        description="Which inference requests become a line of JSON on standard output: `on` all, `sampled` a share "
        "and those whose trace is kept, `off` none; those that failed always do.",
    )
    access_log_sample_ratio: float = Field(default=0.01, ge=0, le=1, description="The share of `sampled`.")
    access_log_lines_per_second: int = Field(
        default=1000,
        gt=0,
        description="Most lines of the access log in a second; the next line says how many were left out.",
    )

    request_log_rows_per_second: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Most refused requests that a process writes to the request log in a second, a quarter of them of "
        "one key; more are counted. 0 writes none.",
    )

    sequence_poll_seconds: float = Field(
        default=0.25, gt=0, description="How often the database is asked for changes of keys and versions."
    )
    key_unchecked_seconds: float = Field(
        default=120.0,
        ge=1,
        description="How long keys that are remembered are accepted while the database does not say what has changed: "
        "a key that was revoked may work for so long at a process that is cut off from it. Then each is looked up "
        "anew, and refused with 503 where that fails. Shorter than a database takes to fail over, and a failover "
        "stops inference.",
    )
    key_cache_size: int = Field(default=100_000, gt=0, description="Most keys that are remembered.")
    key_reads_per_second: int = Field(
        default=20,
        gt=0,
        description="How often in a second the database is asked for keys that are not remembered, a hundred at once.",
    )
    unknown_key_cache_size: int = Field(default=10_000, gt=0, description="Most unknown keys that are remembered.")
    trace_sample_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of media requests whose span is kept besides failed ones; as media-jobs has it. Of "
        "inference, routers decide.",
    )
    trace_slow_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Inference requests that take longer by edge's clock have their span always: Redis, or a router to "
        "come, may have taken the time.",
    )
    media_timeout_seconds: float = Field(default=600.0, gt=0, description="Longest that images/generations waits.")
    link_seconds: int = Field(default=3600, gt=0, description="Life of a signed link to an asset.")
    public_url: HttpUrl = Field(
        default="",
        description="Address in links to assets and to the page of errors; the request's own Host when left empty.",
    )

    @property
    def config_path_list(self) -> list[Path]:
        return [Path(part) for part in self.config_paths.split(os.pathsep) if part]
