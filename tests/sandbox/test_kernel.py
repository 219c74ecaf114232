"""The raw calls, against what the C library, /proc and the kernel's headers say."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyturn.sandbox import kernel

linux = pytest.mark.skipif(not kernel.syscall_numbers(kernel.MACHINE), reason="needs Linux on x86_64 or aarch64")
CAPABILITIES_OF = """
def capabilities_of_status():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return [int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")]
"""
# In namespaces of its own a process may mount, whoever it is outside.
OWN_MOUNTS = """
user, group, folder = os.getuid(), os.getgid(), os.getcwd()
try:
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
except PermissionError as error:
    sys.exit(f"skip: {error}")
"""


def run(source: str, folder: Path | None = None) -> str:
    """What the program prints, run by a Python of its own; it begins with `kernel` imported."""
    begin = f"import os, sys\nsys.path[:0] = {sys.path!r}\nfrom polyturn.sandbox import kernel\n"
    command = [sys.executable, "-c", begin + source]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    if done.stderr.startswith("skip: "):
        pytest.skip("no namespaces for users here: " + done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def header_numbers(machine: str) -> dict[int, str]:
    """Number to name, from the headers of the kernel."""
    names = ["x86_64-linux-gnu/asm/unistd_64.h", "asm/unistd_64.h"] if machine == "x86_64" else ["asm-generic/unistd.h"]
    for path in (Path("/usr/include") / name for name in names):
        if path.exists() and (machine == "aarch64" or "__NR_arch_prctl" in path.read_text()):
            found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
            own = {"fstatat": "newfstatat"}  # what the generic names stand for on 64 bits
            others = {"syscalls", "arch_specific_syscall"}  # no calls
            return {int(number): own.get(name) or name for name, number in found if name not in others}
    pytest.skip(f"no kernel headers for {machine}")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    ours = {number: name for name, number in kernel.syscall_numbers(machine).items()}
    theirs = header_numbers(machine)
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 290
    assert {number: ours[number] for number in shared} == {number: theirs[number] for number in shared}
    assert not {number for number in theirs.keys() - ours.keys() if number < 403}  # up to 423: for 32 bits alone


def test_names_and_numbers_match_one_to_one() -> None:
    for machine in ("x86_64", "aarch64"):
        numbers = kernel.syscall_numbers(machine)
        assert len(set(numbers.values())) == len(numbers)
        assert (numbers["pidfd_send_signal"], numbers["file_setattr"]) == (424, 469)


@linux
def test_a_call_returns_what_the_kernel_gives() -> None:
    assert kernel.syscall("getpid") == os.getpid()
    buffer = os.pipe()
    try:
        assert kernel.syscall("write", buffer[1], b"abc", 2) == 2
        assert os.read(buffer[0], 9) == b"ab"
    finally:
        os.close(buffer[0])
        os.close(buffer[1])


@linux
def test_a_failed_call_names_itself_and_the_reason() -> None:
    with pytest.raises(FileNotFoundError, match="umount2: No such file or directory") as caught:
        kernel.umount2("/no/such/folder")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="null character"):
        kernel.umount2("/tmp\0/other")


def test_another_processor_has_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MACHINE", "riscv64")
    with pytest.raises(OSError, match=r"getpid: Function not implemented on .*riscv64") as caught:
        kernel.syscall("getpid")
    assert caught.value.errno == errno.ENOSYS


def test_loads_without_the_rest_and_without_slow_modules() -> None:
    source = f"""
import sys
sys.path[:0] = [{str(Path(kernel.__file__).parents[1])!r}]
from sandbox import kernel, landlock, seccomp
print(*sorted({{"typing", "dataclasses", "enum", "re"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-S", "-I", "-c", source], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")


@linux
def test_capabilities_are_those_of_status() -> None:
    told = run(CAPABILITIES_OF + "print(list(kernel.capabilities()) == capabilities_of_status()[:3])")
    assert told == "True\n"


@linux
def test_dropped_capabilities_are_gone_for_good() -> None:
    source = """
before = capabilities_of_status()
kernel.drop_capabilities()
after = capabilities_of_status()
print(after[:3], after[3] == before[3], after[4], *kernel.capabilities())
"""
    assert run(CAPABILITIES_OF + source) == "[0, 0, 0] True 0 0 0 0\n"


@linux
def test_the_bounding_set_empties(tmp_path: Path) -> None:
    source = "before = capabilities_of_status()\nkernel.drop_bounding_set()\nafter = capabilities_of_status()\n"
    assert run(CAPABILITIES_OF + OWN_MOUNTS + source + "print(before[3] > 0, after[3])", tmp_path) == "True 0\n"


@linux
def test_prctl_sets_and_asks() -> None:
    if kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS):
        pytest.skip("privileges cannot grow here in any process")
    source = """
print(kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS))
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
print(kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS))
"""
    assert run(source) == "0\n1\n"


@linux
def test_mount_attributes_reach_the_mounts_below(tmp_path: Path) -> None:
    source = """
kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOEXEC, "size=64k")
os.mkdir(folder + "/below")
kernel.mount("tmpfs", folder + "/below", "tmpfs")
open(folder + "/below/before", "w").close()
print(os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize)
kernel.mount_setattr(folder)
for path in (folder + "/file", folder + "/below/file"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.strerror)
wanted = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
print(os.statvfs(folder + "/below").f_flag & wanted == wanted)
kernel.umount2(folder + "/below")
print(os.listdir(folder + "/below"))
"""
    refused = "Read-only file system\n"
    assert run(OWN_MOUNTS + source, tmp_path) == f"65536\n{refused}{refused}True\n[]\n"
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_new_root_replaces_the_old(tmp_path: Path) -> None:
    source = """
kernel.mount("tmpfs", folder, "tmpfs")
os.mkdir(folder + "/inside")
kernel.mount("/usr", folder + "/inside", None, kernel.MS_BIND | kernel.MS_REC)
os.chdir(folder)
kernel.pivot_root(".", ".")
kernel.umount2(".", kernel.MNT_DETACH)
os.chdir("/")
print(os.listdir("/"), "bin" in os.listdir("/inside"), os.path.exists(folder))
"""
    assert run(OWN_MOUNTS + source, tmp_path) == "['inside'] True False\n"
