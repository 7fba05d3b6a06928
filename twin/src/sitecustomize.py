"""Read by the base's Python before the base: corrects what MiniStack 1.5.33 forgets, and lets faults spoil functions.

When a nested stack is updated, what has not changed in it loses its attributes, and whoever asks for one (`!GetAtt
Role.Arn`) makes the update fail. A state machine's own `TimeoutSeconds` is not heeded: here it passes as fast as its waits. The
task under way when an execution is stopped may still fail it: here it stays as it ended.

Before a function runs, whoever invokes it, the proxy is asked for the faults that hit the invocation. `before`: it does not run and
fails. `after`: it runs, and then fails all the same. The error is the fault's `code`; without one the function crashed
(`before`) or timed out (`after`). `delay` and `twice` are what they are for calls.
"""

import contextvars
import json
import os
import threading
import time
import urllib.request

from ministack.core.lambda_runtime import ProvidedWorker
from ministack.services import cloudformation, stepfunctions
from ministack.services.cloudformation import provisioners

update = provisioners._update_resource
invoke = ProvidedWorker.invoke
run = stepfunctions._run_execution
fail = stepfunctions._fail_execution


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


def run_in_time(arn):
    execution = stepfunctions._executions[arn]
    machine = stepfunctions._state_machines[execution["stateMachineArn"]]
    seconds = json.loads(machine["definition"]).get("TimeoutSeconds")
    if not seconds:
        return run(arn)
    # What belongs to an account and a region is looked up in a thread's context.
    here = contextvars.copy_context()
    timer = threading.Timer(seconds * stepfunctions._SFN_WAIT_SCALE, here.run, [time_out, execution])
    timer.daemon = True
    timer.start()
    try:
        run(arn)
    finally:
        timer.cancel()


def time_out(execution):
    if execution["status"] == "RUNNING":
        execution["status"] = "TIMED_OUT"
        execution["stopDate"] = stepfunctions.now_iso()
        stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        stepfunctions._emit_execution_status_event(execution)


def fail_what_runs(execution, error, cause):
    if execution["status"] == "RUNNING":
        fail(execution, error, cause)


provisioners._update_resource = update_and_remember
ProvidedWorker.invoke = invoke_spoilt
stepfunctions._run_execution = run_in_time
stepfunctions._fail_execution = fail_what_runs
