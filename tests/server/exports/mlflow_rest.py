"""As much of an MLflow server as Mien asks for, over HTTP: MLflow's REST API 2.0, kept in memory.

It keeps what it is told as it is told: a value that is logged twice is there twice.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/api/2.0/mlflow/"


class MlflowRest:
    """A server on a free loopback port, until :meth:`close`."""

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, str] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.broken: tuple[int, str] | None = None
        """A status and a body that answer everything."""
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def only_run(self) -> dict[str, Any]:
        (run,) = self.runs.values()
        return run

    def history(self, metric: str) -> list[tuple[int, float]]:
        """Every value of the only run as it was logged: step and value."""
        return [
            (found["step"], found["value"]) for found in self.only_run()["metrics"] if found["key"] == metric
        ]

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        match path.removeprefix(API):
            case "experiments/get-by-name":
                name = asked["experiment_name"]
                if name not in self.experiments:
                    return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}
                return 200, {"experiment": {"experiment_id": self.experiments[name], "name": name}}
            case "experiments/create":
                self.experiments[asked["name"]] = str(len(self.experiments) + 1)
                return 200, {"experiment_id": self.experiments[asked["name"]]}
            case "runs/search":
                wanted = dict(
                    part.split(" = ") for part in asked["filter"].replace("tags.", "").split(" and ")
                )
                found = [
                    run
                    for run in self.runs.values()
                    if all(
                        run["tags"].get(key.strip("`")) == value.strip("'") for key, value in wanted.items()
                    )
                ]
                return 200, {"runs": [self._run(run) for run in found]}
            case "runs/create":
                made = {
                    **{"id": f"{len(self.runs):032x}", "name": asked["run_name"], "status": "RUNNING"},
                    **{"started": int(asked["start_time"]), "ended": None, "metrics": [], "params": []},
                    "tags": _pairs(asked.get("tags", [])),
                }
                self.runs[made["id"]] = made
                return 200, {"run": self._run(made)}
        run = self.runs.get(asked["run_id"])
        if run is None:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}
        match path.removeprefix(API):
            case "runs/get":
                return 200, {"run": self._run(run)}
            case "runs/update":
                run["status"] = asked["status"]
                run["ended"] = int(asked["end_time"]) if "end_time" in asked else None
                return 200, {"run_info": self._run(run)["info"]}
            case "runs/log-batch":
                for found in asked.get("metrics", []):
                    run["metrics"].append(
                        {**found, "step": int(found["step"]), "timestamp": int(found["timestamp"])}
                    )
                run["params"] += [(found["key"], found["value"]) for found in asked.get("params", [])]
                run["tags"] |= _pairs(asked.get("tags", []))
                return 200, {}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": path}

    def _run(self, run: dict[str, Any]) -> dict[str, Any]:
        info = {"run_id": run["id"], "run_name": run["name"], "experiment_id": "1", "status": run["status"]}
        info |= {"start_time": run["started"], "lifecycle_stage": "active"}
        tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
        return {"info": info, "data": {"tags": tags}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._reply(parts.path, {key: found[0] for key, found in parse_qs(parts.query).items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply(self.path, json.loads(body))

            def _reply(self, path: str, asked: dict[str, Any]) -> None:
                server.requests.append(path)
                server.headers.append(dict(self.headers))
                if server.broken is not None:
                    status, text = server.broken
                else:
                    status, found = server.answer(path, asked)
                    text = json.dumps(found)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status in (301, 302, 307):
                    self.send_header("Location", text)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Not on the tests' screen."""

        return Handler


def _pairs(found: list[dict[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in found}
