"""Read by the base's Python before the base: corrects what MiniStack 1.5.33 forgets, and lets faults spoil functions.

When a nested stack is updated, what has not changed in it loses its attributes, and whoever asks for one (`!GetAtt
Role.Arn`) makes the update fail.

Before a function runs, whoever invokes it, the proxy is asked for the faults that hit the invocation. `before`: it does not run and
fails. `after`: it runs, and then fails all the same. The error is the fault's `code`; without one the function crashed
(`before`) or timed out (`after`). `delay` and `twice` are what they are for calls.
"""

import json
import os
import time
import urllib.request

from ministack.core.lambda_runtime import ProvidedWorker
from ministack.services import cloudformation
from ministack.services.cloudformation import provisioners

update = provisioners._update_resource
invoke = ProvidedWorker.invoke


def update_and_remember(kind, physical_id, old, new, stack_name, logical_id=None, attributes=None):
    if attributes is None:
        stack = cloudformation._stacks.get(stack_name) or {}
        attributes = stack.get("_resources", {}).get(logical_id, {}).get("Attributes")
    return update(kind, physical_id, old, new, stack_name, logical_id, attributes)


def invoke_spoilt(worker, event, request_id, **context):
    url = f"{os.environ['AWS_ENDPOINT_URL']}/_twin/invocations/{worker.func_name}"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
        faults = {fault["kind"]: fault for fault in json.load(answer)}
    if "delay" in faults:
        time.sleep(faults["delay"].get("seconds", 1))
    if "before" in faults:
        return failed(faults["before"].get("code", "Runtime.ExitError"))
    if "twice" in faults:
        invoke(worker, event, request_id, **context)
    result = invoke(worker, event, request_id, **context)
    return failed(faults["after"].get("code", "Sandbox.Timedout")) if "after" in faults else result


def failed(error):
    message = f"The twin was told to fail this function with {error}."
    return {"status": "error", "error": message, "error_payload": {"errorMessage": message, "errorType": error}, "cold_start": False, "log": ""}


provisioners._update_resource = update_and_remember
ProvidedWorker.invoke = invoke_spoilt
