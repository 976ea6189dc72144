"""Asks OpenFeature's own provider for Python: a question in JSON on each line, and its answer on a line."""

import json
import os
import sys
import time

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

token = os.environ.get("RAMPD_TOKEN")
headers = {"authorization": f"Bearer {token}"} if token else {}
api.set_provider_and_wait(
    OFREPProvider(
        os.environ["OFREP_ENDPOINT"], headers_factory=headers.copy, timeout=int(os.environ["TIMEOUT_MS"]) / 1000
    )
)
client = api.get_client()
for line in sys.stdin:
    asked = json.loads(line)
    context = dict(asked["context"])
    began_s = time.monotonic()
    details = client.get_string_details(
        asked["component"], asked["default"], EvaluationContext(context.pop("targetingKey", None), context)
    )
    answer = {
        "value": details.value,
        "variant": details.variant,
        "reason": details.reason,
        "errorCode": details.error_code,
        "errorMessage": details.error_message,
        "metadata": details.flag_metadata,
        "ms": (time.monotonic() - began_s) * 1000,
    }
    print(json.dumps(answer), flush=True)
