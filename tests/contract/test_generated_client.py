"""A TypeScript client generated from the OpenAPI document, compiled strictly and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from cookcam.app.openapi_document import openapi_document
from tests.contract.app_calls import PHOTO
from tests.contract.server import ContractServer
from tests.support.external import NODE_MODULES, node_module, require_program

CLIENT = NODE_MODULES.parent / "generated_client.ts"
PACKAGE = {"type": "module", "private": True}
COMPILER = {
    "compilerOptions": {
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "target": "es2022",
        "module": "nodenext",
        "types": [],
        "lib": ["es2022", "dom", "dom.iterable"],
        "skipLibCheck": True,
        "outDir": "out",
        "noEmitOnError": True,
    },
    "files": ["client.ts", "process.d.ts"],
}
READ = ("scanned", "suggested", "generated", "kcal", "groups", "preview", "detailed", "part")
READ_LATER = ("stored", "variation", "nutrition", "past", "refused VALIDATION_ERROR")


async def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command. Fails the test with all output where it fails."""
    with trio.fail_after(120):
        done = await trio.run_process(
            [str(part) for part in command],
            cwd=cwd,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    output = done.stdout.decode()
    assert done.returncode == 0, output + done.stderr.decode()
    return output


@pytest.fixture
async def compiled(tmp_path: Path) -> Path:
    """The client's directory: `out/client.js` is the compiled program."""
    generator, compiler = node_module("openapi-typescript"), node_module("typescript")
    node_module("openapi-fetch")
    node = require_program("node")
    directory = tmp_path / "client"
    directory.mkdir()
    (directory / "node_modules").symlink_to(NODE_MODULES)
    (directory / "package.json").write_text(json.dumps(PACKAGE))
    (directory / "tsconfig.json").write_text(json.dumps(COMPILER))
    (directory / "process.d.ts").write_text("declare const process: { argv: string[] };\n")
    (directory / "openapi.json").write_text(await openapi_document())
    source = CLIENT.read_text().replace('"./schema"', '"./schema.js"')
    (directory / "client.ts").write_text(source)
    generate = generator / "bin" / "cli.js"
    await run(node, generate, "openapi.json", "-o", "schema.d.ts", cwd=directory)
    await run(node, compiler / "bin" / "tsc", "-p", ".", cwd=directory)
    return directory


@pytest.mark.external
async def test_generated_client_reads_results_without_a_cast(
    server: ContractServer, compiled: Path
) -> None:
    cora = await server.creator()
    node = require_program("node")
    arguments = (compiled / "out" / "client.js", server.server.url, str(cora.token), PHOTO)
    output = await run(node, *arguments, cwd=compiled)
    for expected in (*READ, *READ_LATER):
        assert any(line.startswith(expected) for line in output.splitlines()), (expected, output)
