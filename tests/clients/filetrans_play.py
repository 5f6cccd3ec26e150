"""Has Alibaba Cloud's SDK transcribe a recording, as its documents' sample does. Runs in the environment that
filetrans.txt describes, by itself.

Its one argument is JSON: `host`, `key`, `task` (fields of the task), `patience` (seconds). Prints what the SDK returns,
a line of JSON each: of SubmitTask, then of GetTaskResult as long as the task goes on, and once more. Or the error that
it raises.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest


def request(host: str, action: str, method: str) -> CommonRequest:
    made = CommonRequest()
    made.set_domain(host)
    made.set_version("2018-08-17")
    made.set_product("nls-filetrans")
    made.set_action_name(action)
    made.set_method(method)
    return made


def told(client: AcsClient, call: CommonRequest) -> dict[str, Any]:
    answer = json.loads(client.do_action_with_exception(call))
    print(json.dumps(answer, ensure_ascii=False), flush=True)
    return answer


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    client = AcsClient(given["key"], "a secret", "cn-shanghai")
    try:
        post = request(given["host"], "SubmitTask", "POST")
        post.add_body_params("Task", json.dumps(given["task"]))
        submitted = told(client, post)
        if submitted["StatusText"] != "SUCCESS":
            return
        deadline = time.monotonic() + given["patience"]
        while time.monotonic() < deadline:
            get = request(given["host"], "GetTaskResult", "GET")
            get.add_query_param("TaskId", submitted["TaskId"])
            if told(client, get)["StatusText"] not in ("RUNNING", "QUEUEING"):
                return
            time.sleep(0.5)
    except ServerException as error:
        raised = {"code": error.get_error_code(), "message": error.get_error_msg(), "status": error.get_http_status()}
        print(json.dumps({"raised": raised}))


main()
