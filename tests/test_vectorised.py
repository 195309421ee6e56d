"""The loops are vector code: the compiled engines are disassembled and every loop's own function is looked into.

A lost vectorisation changes no result and shows in no other test, yet costs a factor of up to thirty.
"""
from __future__ import annotations

import platform
import re
import struct
import sys
from functools import cache
from pathlib import Path

import capstone
import pytest

from cnn_core import Activation, Loss, Optimizer, _engine

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="reads ELF files with x86-64 code"
)

REGISTERS = {"_engine": "xmm", "_engine_v3": "ymm", "_engine_v4": "zmm"}
PACKED = r"v?(?:add|sub|mul|div|sqrt|min|max|cmp\w*|fn?m(?:add|sub)\d+)p"
# What each of the loops of one function has once, and how many loops there are: plain, Nesterov, amsgrad and so on.
VARIANTS = {"sgd": (r"v?(?:sub|fnmadd\d+|fn?msub\d+)p", 3), "rmsprop": (r"v?sqrtp", 2), "adam": (r"v?sqrtp", 2)}
LOOPS = [
    *(("activations", f"{kind.name.lower()}_{way}") for kind in Activation for way in ("forward", "backward")
      if kind != Activation.IDENTITY),  # copies or does nothing
    *(("losses", f"{loss.name.lower()}_loop") for loss in Loss if loss != Loss.CROSS_ENTROPY),  # row by row
    *(("few_dense", name) for name in ("add_8_rows", "add_4_rows", "add_1_row")), ("few", "normalise_channels"),
    *(("links", name) for name in ("softmax_exponentials", "softmax_quotients")),
    *(("optimizers", optimizer.name.lower()) for optimizer in Optimizer),
    *(("scale", name) for name in ("scale_units", "scale_gradient")),
    ("stairs", "sum_below"),
    ("add", "add_units"),
    *(("prelu", name) for name in ("prelu_units", "prelu_back", "negative_products")),
    *(("parametric", name) for name in ("blend", "blend_slopes")),
    ("gaussian_noise", "add_scaled"),
    ("random", "normal_block"),
    *(("numeric_embedding", name)
      for name in ("cosines_of", "cosines_back", "add_terms", "sum_terms", "add_multiple")),
    *(("piecewise_embedding", name) for name in ("count_edges", "bin_slope")),
    *(("layer_norm", name) for name in ("normalise", "gain_and_bias", "normalise_back")),
    ("batch_norm", "inverse_deviations"),
    *(("norm_cells", name) for name in ("distance_cell", "square_cell", "normalise_cell", "slope_cell", "turn_cell")),
    *(("pool", name) for name in ("max_of_four", "max_with", "first_of_four", "first_with", "take_tap", "add_tap",
                                  "take_share", "add_share")),
    *(("update", name) for name in ("add_2", "add_4", "add_decay", "take_off")),
]


def symbols(image: bytes) -> dict[str, bytes]:
    """The code of each function that a 64-bit ELF file names."""
    start, = struct.unpack_from("<Q", image, 0x28)
    size, count = struct.unpack_from("<HH", image, 0x3A)
    # type, address, offset, size and link of each section
    sections = [struct.unpack_from("<4xI8xQQQI", image, start + i * size) for i in range(count)]
    functions = {}
    for kind, _, offset, length, link in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][2]
        for entry in range(offset, offset + length, 24):
            name, info, section, value, extent = struct.unpack_from("<IBxHQQ", image, entry)
            if info & 15 == 2 and 0 < section < count:  # STT_FUNC, defined here
                _, address, place, _, _ = sections[section]
                text = image[names + name : image.index(b"\0", names + name)].decode()
                functions[text] = image[place + value - address : place + value - address + extent]
    return functions


@cache
def functions_of(engine: str) -> dict[str, bytes]:
    path = Path(_engine.__file__)
    return symbols(path.with_name(path.name.replace("_engine", engine, 1)).read_bytes())


def instructions(engine: str, pattern: str) -> list[str]:
    """Those of the functions whose name matches, with the suffixes that the compiler's clones carry."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    whole = re.compile(rf"(?:{pattern})(?:\.(?:constprop|isra|part)\.\d+)*")
    code = [body for name, body in functions_of(engine).items() if whole.fullmatch(name)]
    assert code, f"{engine} has no function {pattern}: is it inlined, or the file stripped?"
    return [f"{mnemonic} {operands}" for body in code for _, _, mnemonic, operands in decoder.disasm_lite(body, 0)]


def packed(lines: list[str], operation: str, register: str) -> int:
    """How many instructions work on whole vectors of the widest kind."""
    return sum(bool(re.match(operation, line)) and register in line for line in lines)


@pytest.fixture(params=REGISTERS)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize(("module", "name"), LOOPS, ids=lambda v: v)
def test_loop_is_vector_code(engine: str, module: str, name: str, real: str) -> None:
    fuse, suffix = (0, "s") if real == "float" else (1, "d")
    lines = instructions(engine, rf"__pyx_fuse_{fuse}__pyx_f_8cnn_core_\d+{module}_{name}")
    assert packed(lines, PACKED + suffix, REGISTERS[engine]), "no packed arithmetic"
    if real == "float" and "gelu_tanh" not in name:  # its argument is made in float64 on purpose
        assert not packed(lines, r"v?cvtps2pd", ""), "float arithmetic is done in double"
    calls = [line for line in lines if line.startswith("call")]
    assert not calls, "what a loop calls must be inlined"
    if name in VARIANTS:
        operation, count = VARIANTS[name]
        assert packed(lines, operation + suffix, REGISTERS[engine]) >= count, "one of the variants is scalar"


def test_random_numbers_are_vector_code(engine: str) -> None:
    lines = instructions(engine, r"__pyx_f_8cnn_core_\d+random_philox")
    assert packed(lines, r"v?pmul(?:udq|lq)", REGISTERS[engine]) >= 2


@pytest.mark.parametrize("fuse", [0, 1])
def test_rows_of_sparse_x_are_fetched_ahead(engine: str, fuse: int) -> None:
    """The compiler once left all of it out: what only fetches has no effect that it sees."""
    lines = instructions(engine, rf"__pyx_fuse_{fuse}__pyx_f_8cnn_core_\d+sparse_sparse_forward")
    assert any(line.startswith("prefetch") for line in lines)


@pytest.mark.parametrize("name", ["cnn_matmulf", "cnn_matmul"])
def test_sums_of_the_widest_tile_stay_in_their_registers(name: str) -> None:
    """GCC 12 once moved three of the 24 in each round: a tenth of the time of all products on Intel's processors.

    There are loops that fetch a line ahead in each round, and loops that don't.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [(address, f"{mnemonic} {operands}")
             for address, _, mnemonic, operands in decoder.disasm_lite(functions_of("_engine_v4")[name], 0)]
    index = {address: i for i, (address, _) in enumerate(lines)}
    jumps = [(index.get(int(line.split()[1], 16), len(lines)), i) for i, (_, line) in enumerate(lines)
             if re.match("j[a-z]+ 0x", line)]
    loops = [[line for _, line in lines[first:last]] for first, last in jumps if first < last]
    widest = [loop for loop in loops if len(loop) < 60 and packed(loop, r"vfn?madd\d+p", "zmm") == 24]
    assert widest, "no loop has 24 multiply-adds"
    moves = [packed(loop, r"vmov\w+ zmm\d+, zmm\d+$", "zmm") for loop in widest]
    assert not any(moves), moves
    assert {sum(line.startswith("prefetch") for line in loop) for loop in widest} == {0, 1}
