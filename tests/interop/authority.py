"""Calls to the authority, without a library of its own."""

import json
import os
import urllib.request


class Authority:
    def __init__(self, url):
        self.base = url + "/api/v1"
        self.url = url

    def call(self, method, path, body=None, headers=None):
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": "Bearer " + os.environ["CP_BOOTSTRAP_TOKEN"],
                "Content-Type": "application/json",
                **(headers or {}),
            },
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def post(self, path, body):
        return self.call("POST", path, body)

    def get(self, path, headers=None):
        return self.call("GET", path, headers=headers)
