"""Jobs that begin from pictures: kept until the job ends, sent with every attempt, and refused where they are none."""

from dataclasses import replace

import pytest
from media_jobs_fakes.bench import TENANT, Bench, answer, command, version
from media_jobs_fakes.images import jpeg, png

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_media_jobs.adapters.providers.openai_images import body_of, form_of
from tollgate_media_jobs.adapters.sql.rows import job_values
from tollgate_media_jobs.api.messages import command_of
from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import BlobsUnavailable, Failure, MediaError, Refused

pytestmark = pytest.mark.unit

FILES = (("image", png(2, 2)), ("image", jpeg()), ("mask", png(4, 4)))


def edit(**changes):
    return command(image=ImageRequest("a blue fox", "1024x1024", "low"), files=FILES, **changes)


def asked(kind, *sources):
    tenant = {"organization_id": "org_a", "project_id": "prj"}
    return media.CreateJobRequest(tenant=tenant, kind=kind, model="m", image={"prompt": "x"}, sources=sources)


async def test_pictures_wait_go_with_every_attempt_and_leave_with_the_job():
    bench = Bench()
    job = await bench.create(edit())
    assert [bench.blobs.kept[source.key] for source in job.image.sources] == [data for _, data in FILES]
    assert [source.content_type for source in job.image.sources] == ["image/png", "image/jpeg", "image/png"]
    busy = Refused(Failure(errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "busy"), again_seconds=1.0, detail="", status=429)
    bench.provider.script = [busy, answer()]
    await bench.work()
    bench.clock.advance(5)
    await bench.work()
    assert bench.provider.files == [tuple(data for _, data in FILES)] * 2
    assert bench.job().state is JobState.SUCCEEDED
    assert not [key for key in bench.blobs.kept if "source" in key]


async def test_a_variation_has_no_prompt_and_is_asked_as_one():
    bench = Bench()
    await bench.create(command(image=ImageRequest("", variation=True), files=FILES[:1]))
    bench.provider.script = [answer()]
    await bench.work()
    ((_, _, image),) = bench.provider.calls
    assert image.variation
    assert bench.provider.files == [(FILES[0][1],)]
    assert bench.job().state is JobState.SUCCEEDED


async def test_looking_at_pictures_is_held():
    bench = Bench()
    plain = await bench.create(command(image=ImageRequest("a blue fox", "1024x1024", "low")))
    held = await bench.create(edit(request_id="req_2"))
    assert held.hold_pico > plain.hold_pico


async def test_the_same_request_is_the_same_job_and_another_picture_another():
    bench = Bench()
    first = await bench.create(edit(idempotency_key="k"))
    assert (await bench.create(edit(idempotency_key="k", request_id="req_2"))).id == first.id
    with pytest.raises(MediaError) as conflict:
        await bench.create(replace(edit(idempotency_key="k", request_id="req_3"), files=FILES[:2]))
    assert conflict.value.kind == errors.ERROR_KIND_CONFLICT


@pytest.mark.parametrize("data", [b"", b"no picture", png()[:-4], b"\x89PNG\r\n\x1a\n"])
async def test_what_is_no_picture_is_refused_before_money_is_held(data):
    bench = Bench()
    with pytest.raises(MediaError) as refused:
        await bench.create(command(files=(("mask", data),)))
    assert (refused.value.kind, refused.value.param) == (errors.ERROR_KIND_INVALID_REQUEST, "mask")
    assert not bench.holds.held
    assert not bench.memory.jobs


async def test_money_goes_back_where_pictures_cannot_be_kept():
    bench = Bench()
    bench.blobs.away = True
    with pytest.raises(BlobsUnavailable):
        await bench.create(edit())
    assert not bench.holds.held


async def test_pictures_that_are_gone_end_the_job_without_a_charge():
    bench = Bench()
    await bench.create(edit())
    bench.blobs.kept.clear()
    await bench.work()
    assert (bench.job().state, bench.job().charge_pico) == (JobState.FAILED, 0)
    assert bench.provider.calls == []


async def test_a_job_survives_its_row():
    bench = Bench()
    job = await bench.create(edit())
    kept = job_values(job)["image"]
    assert [source["name"] for source in kept["sources"]] == ["image", "image", "mask"]


async def test_the_form_of_an_edit_and_of_a_variation():
    bench = Bench()
    target = version().levels(TENANT.route_group, "gpt-image-1")[0][0]
    job = await bench.create(edit())
    assert [(name, part[0], part[2]) for name, part in form_of(job.image, [data for _, data in FILES])] == [
        ("image[]", "image-0.png", "image/png"),
        ("image[]", "image-1.jpg", "image/jpeg"),
        ("mask", "mask-2.png", "image/png"),
    ]
    one = replace(job.image, sources=job.image.sources[1:2])
    assert [name for name, _ in form_of(one, [FILES[1][1]])] == ["image"]
    assert "prompt" not in body_of(target, ImageRequest("", variation=True))


def test_kinds_and_pictures_go_together():
    picture = media.ImageSource(name="image", data=png())
    assert command_of(asked(media.JOB_KIND_IMAGE_EDIT, picture)).files == (("image", png()),)
    assert command_of(asked(media.JOB_KIND_IMAGE_VARIATION, picture)).image.variation
    for broken in (
        asked(media.JOB_KIND_TEXT_TO_IMAGE, picture),
        asked(media.JOB_KIND_IMAGE_EDIT),
        asked(media.JOB_KIND_UNSPECIFIED),
    ):
        with pytest.raises(MediaError):
            command_of(broken)
