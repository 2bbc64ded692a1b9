"""As much of W&B's server as its client needs: GraphQL, the stream of a run's files, uploads. Runs in a thread."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StubRun:
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    asked: dict[str, Any] = field(default_factory=dict)  # the newest request that made or changed it
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]


class Stub:
    """`runs` by id. `refuse` answers everything with 401; `silent` keeps every request waiting."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.runs: dict[str, StubRun] = {}
        self.uploads: dict[str, bytes] = {}
        self.authorizations: set[str] = set()
        self.refuse = refuse
        self.silent = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Stub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        if path == "/graphql":
            request = json.loads(body)
            # `query Viewer {…}`, or `{ viewer {…} }` of older clients.
            name = re.search(r"(?:query|mutation)\s+(\w+)|\A\s*\{\s*(\w+)", request["query"])
            answer = getattr(self, f"_on_{name[1] or name[2].capitalize()}", None) if name else None
            return {"data": answer(request.get("variables") or {}) if answer else {}}
        if found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            self._take_files(self.runs[found[1]], json.loads(body))
        elif path.startswith("/upload/"):
            self.uploads[path.removeprefix("/upload/")] = body
        return {}

    def _take_files(self, run: StubRun, body: dict[str, Any]) -> None:
        files = body.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            run.history.append(json.loads(line))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.summary = json.loads(line)
        if body.get("complete"):
            run.exit_code = body.get("exitcode")

    def _on_RunResumeStatus(self, v: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(v["name"])
        bucket = run and {
            "id": "b",
            "name": v["name"],
            "summaryMetrics": json.dumps(run.summary),
            "displayName": v["name"],
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
            "eventsTail": "[]",
            "config": json.dumps(run.config),
            "tags": [],
            "notes": "",
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {"id": "p", "name": v["project"], "entity": {"id": "e", "name": "me"}, "bucket": bucket}}

    def _on_UpsertBucket(self, v: dict[str, Any]) -> dict[str, Any]:
        inserted = v["name"] not in self.runs
        run = self.runs.setdefault(v["name"], StubRun())
        run.config |= json.loads(v["config"]) if v.get("config") else {}
        run.group, run.asked = v.get("groupName") or run.group, v
        project = {"id": "p", "name": v["project"], "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": v["name"], "displayName": v.get("displayName"), "description": "", "config": "{}"}
        bucket |= {"sweepName": None, "project": project, "historyLineCount": len(run.history)}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _on_CreateRunFiles(self, v: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._upload(f"{v['run']}/{name}")} for name in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def _on_Viewer(self, v: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer}

    def _on_ArtifactType(self, v: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _on_CreateArtifact(self, v: dict[str, Any]) -> dict[str, Any]:
        sequence = {"id": "s", "latestArtifact": None}
        name = v["input"]["artifactCollectionName"]
        return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}}

    def _on_CreateArtifactManifest(self, v: dict[str, Any]) -> dict[str, Any]:
        url = self._upload(f"{v['artifactID']}/manifest")
        file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_CreateArtifactFiles(self, v: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": "x",
                "uploadUrl": self._upload(f"{file['artifactID']}/{file['name']}"),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in v["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _on_CommitArtifact(self, v: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": "d"}}}

    def _upload(self, name: str) -> str:
        return f"{self.url}/upload/{name}"


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if authorization := self.headers.get("Authorization"):
                stub.authorizations.add(authorization)
            while stub.silent.is_set():
                time.sleep(0.1)
            if stub.refuse:
                status, answer = 401, {"errors": [{"message": "user is not logged in"}]}
            else:
                status, answer = 200, stub.answer(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do

    return Handler
