"""Makes the fakes importable as `media_jobs_fakes`: the hyphen of this folder's name fits no import statement."""

import importlib
import sys

sys.modules.setdefault("media_jobs_fakes", importlib.import_module("services.media-jobs.tests.fakes"))
