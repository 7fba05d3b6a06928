#!PYTHON
"""A Lambda function that hands every call on to the pretended one of its name, and its answer back."""
import os
from urllib.request import Request, urlopen

runtime = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/"
function = f"http://127.0.0.1:PORT/2015-03-31/functions/{os.environ['AWS_LAMBDA_FUNCTION_NAME']}/invocations"
while True:
    call = urlopen(runtime + "next")
    request = call.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = urlopen(Request(function, call.read(), {"content-type": "application/json"}))
    kind = "error" if answer.headers["x-amz-function-error"] else "response"
    urlopen(Request(f"{runtime}{request}/{kind}", answer.read()))
