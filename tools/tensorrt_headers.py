"""Compile the TensorRT plugin with headers of several TensorRT versions, and try each build on this machine.

    tools/tensorrt_headers.py FOLDER[=LIBRARY] ...

FOLDER holds NvInfer.h, or `include/NvInfer.h`; LIBRARY is NVIDIA's libnvinfer of the same major version (a
lean runtime, or TensorRT-RTX for 11, will do): then the plugin is also loaded into its registry. No GPU is
needed: the plugin is linked with the CUDA kernels for the host, as `make setup` builds them. Prints a row of
a table for each version.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ros_environment import ROOT

PLUGIN = ROOT / "dcnv3_plugin"
KERNELS = ROOT / "build" / "native" / "libdcnv3_cuda_on_host.so"
CORE = ("exports", "fields", "operator", "dcnv3_operator", "attention_operator")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
NVIDIA_SYMBOLS = re.compile(r"\b(getPluginRegistry|getLogger|createInfer\w*|_ZN8nvinfer1\w*)")


class ProbeError(Exception):
    """What cannot be tried, and why."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers of one TensorRT version, and NVIDIA's library to try them with."""

    folder: Path
    version: tuple[int, ...]
    library: Path | None

    @classmethod
    def find(cls, argument: str) -> "Headers":
        """Read `FOLDER[=LIBRARY]`. Raises ProbeError."""
        name, _, library = argument.partition("=")
        for folder in (Path(name), Path(name) / "include"):
            if (folder / "NvInferVersion.h").is_file():
                text = (folder / "NvInferVersion.h").read_text(encoding="utf-8")
                break
        else:
            raise ProbeError(f"no NvInferVersion.h in {name} or {name}/include")
        parts = [
            re.search(rf"(?:NV_TENSORRT_{part}|TRT_{part}_ENTERPRISE) +(\d+)", text)
            for part in ("MAJOR", "MINOR", "PATCH")
        ]
        numbers = tuple(int(part[1]) for part in parts if part)
        if len(numbers) != len(parts):
            raise ProbeError(f"{folder}/NvInferVersion.h says no version")
        if library and not Path(library).is_file():
            raise ProbeError(f"there is no {library}")
        return cls(folder.resolve(), numbers, Path(library).resolve() if library else None)

    @property
    def interface(self) -> str:
        """The source of the plugin interface this version takes: TensorRT 8 knows V2 alone, 11 V3 alone."""
        return "plugin_v2" if self.version[0] == 8 else "plugin_v3"

    @property
    def registers_itself(self) -> bool:
        """TensorRT 8.5 loads no plugins: the library refers to NVIDIA's."""
        return self.version < (8, 6)


def call(words: Sequence[str | Path]) -> tuple[int, str]:
    """Run a command; return its status and all it wrote."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def compiled(
    headers: Headers, cuda: Path, sources: Sequence[Path], output: Path, extra: Sequence[str | Path]
) -> str:
    """Compile and link; return the compiler's warnings. Raises ProbeError."""
    includes: list[str | Path] = [
        f"-I{PLUGIN / 'include'}",
        f"-I{PLUGIN / 'src'}",
        "-isystem",
        headers.folder,
        "-isystem",
        cuda,
    ]
    status, text = call([os.environ.get("CXX", "c++"), *FLAGS, *includes, *sources, "-o", output, *extra])
    if status:
        raise ProbeError(f"it does not compile:\n{text}")
    return text


def probed(program: Path, plugin: Path, library: Path | None) -> str:
    """Run the probe; return how many checks passed. Raises ProbeError."""
    loaded = [library] if library else []
    status, text = call([program, plugin, *loaded])
    if status:
        raise ProbeError(f"the probe failed ({status}):\n{text}")
    return f"{text.count('ok    ')} checks"


def row_of(headers: Headers, cuda: Path, folder: Path) -> str:
    """Build and try one version; return its row. Raises ProbeError."""
    plugin, program = folder / f"libdcnv3_tensorrt{headers.version[0]}.so", folder / "probe"
    sources = [PLUGIN / "src" / "tensorrt" / f"{name}.cpp" for name in (headers.interface, *CORE)]
    needed = [headers.library] if headers.registers_itself and headers.library else []
    warnings = compiled(
        headers, cuda, sources, plugin, ["-shared", KERNELS, *needed, f"-Wl,-rpath,{KERNELS.parent}"]
    )
    warnings += compiled(headers, cuda, [PLUGIN / "test" / "tensorrt_probe.cpp"], program, ["-ldl"])
    if warnings:
        raise ProbeError(f"it compiles with warnings:\n{warnings}")
    open_symbols = sorted(set(NVIDIA_SYMBOLS.findall(call(["nm", "-D", "--undefined-only", plugin])[1])))
    if open_symbols and not headers.registers_itself:
        raise ProbeError(f"it refers to {', '.join(open_symbols)}")
    alone = "needs libnvinfer" if headers.registers_itself else probed(program, plugin, None)
    loaded = (
        f"{probed(program, plugin, headers.library)} in {headers.library.name}"
        if headers.library
        else "not tried"
    )
    interface = "IPluginV2DynamicExt" if headers.interface == "plugin_v2" else "IPluginV3"
    version = ".".join(map(str, headers.version))
    return f"| {version} | {interface} | none | {', '.join(open_symbols) or 'none'} | {alone} | {loaded} |"


def main() -> int:
    """Run as a program; return how many versions failed."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="the table is that of docs/plugin.md"
    )
    parser.add_argument(
        "headers", nargs="+", metavar="FOLDER[=LIBRARY]", help="headers, and NVIDIA's library"
    )
    parser.add_argument(
        "--cuda-include",
        type=Path,
        default=Path("/usr/local/cuda/include"),
        help="folder of cuda_runtime_api.h",
    )
    options = parser.parse_args()
    failed = 0
    if not KERNELS.is_file():
        sys.exit(f"there is no {KERNELS.relative_to(ROOT)}; `make setup` builds it")
    if not (options.cuda_include / "cuda_runtime_api.h").is_file():
        sys.exit(f"there is no cuda_runtime_api.h in {options.cuda_include}; --cuda-include names its folder")
    print("| headers | interface | warnings | open NVIDIA symbols | by itself | in NVIDIA's registry |")
    print("|---|---|---|---|---|---|")
    for argument in options.headers:
        try:
            with tempfile.TemporaryDirectory() as folder:
                print(row_of(Headers.find(argument), options.cuda_include, Path(folder)), flush=True)
        except ProbeError as error:
            print(f"{argument}: {error}", file=sys.stderr)
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
