"""Makes .venv from the lock that fits this machine. Needs nothing but Python's standard library.

Run by make; also by hand: python3 locks/install.py [--airflow] [--check] [FOLDER]
With --airflow it makes .venv-airflow, which has Airflow beside TFX; with --check it only says what
the system lacks.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.8"
# TFX 1.21's wheels are built against glibc 2.39 (Debian 13, Ubuntu 24.04).
NEW_GLIBC = (2, 39)
LOCKS = (
    # lock file, glibc from, Python versions, the one that was tested most first
    ("tfx-1.16.txt", (2, 17), ((3, 11), (3, 10))),
    ("tfx-1.21.txt", NEW_GLIBC, ((3, 13), (3, 12))),
)
# Of an interpreter: its version, whether it can make environments, and where its headers are.
PROBE = (
    "import importlib.util as util, sys, sysconfig; "
    "print('%d.%d' % sys.version_info[:2]); "
    "print(all(map(util.find_spec, ('venv', 'ensurepip')))); "
    "print(sysconfig.get_path('include'))"
)
AIRFLOW_LOCKS = (("airflow-2.11.txt", (2, 17), ((3, 11),)),)


def main():
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    airflow = "--airflow" in sys.argv
    usual = ROOT / (".venv-airflow" if airflow else ".venv")
    folder = Path(folders[0] if folders else usual).absolute()
    python, lock = choose(AIRFLOW_LOCKS if airflow else LOCKS)
    require(python)
    if "--check" in sys.argv:
        return
    print("Python %s and locks/%s go into %s" % (python, lock, folder), flush=True)
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        sys.exit("%s is not empty and no Python environment; name another folder." % folder)
    shutil.rmtree(str(folder), ignore_errors=True)
    run(python, "-m", "venv", str(folder))
    inside = str(folder / "bin" / "python")
    uv = find_uv(inside)
    requirements = str(ROOT / "locks" / lock)
    if uv:
        install = [*uv, "pip", "install", "--quiet", "--python", inside, "--compile-bytecode"]
        run(*install, "-r", requirements)
        run(*install, "--no-deps", "-e", str(ROOT))
    else:
        install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        install += ["--ignore-requires-python"]  # TFX 1.16 says below 3.11, and works with it
        run(*install, "--no-deps", "-r", requirements)
        run(*install, "--no-deps", "-e", str(ROOT))
    print("Ready: %s" % (folder / "bin" / ("airflow" if airflow else "darkroom")))


def choose(locks=LOCKS):
    """The interpreter and the lock; ends with one sentence where there is none."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        sys.exit(
            "darkroom needs Linux on x86_64, the one platform that TFX has wheels for; this is "
            "%s on %s. Use a container or a virtual machine." % (system, machine)
        )
    glibc = tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2] if part.isdigit())
    found = dict(interpreters())
    for lock, glibc_from, versions in locks:
        for version in versions:
            if glibc >= glibc_from and version in found:
                return found[version], lock
    if locks == AIRFLOW_LOCKS:
        sys.exit(
            "Airflow beside TFX needs Python 3.11; found %s. Debian 12 has it as python3; on other "
            "systems pyenv install 3.11 makes it." % named(found)
        )
    sys.exit(
        "darkroom needs Python 3.10 or 3.11 (or 3.12 or 3.13 where glibc is 2.39 or newer; here it "
        "is %s); found %s. Install one: as root, on Debian 12 or 13, or Ubuntu 22.04 or 24.04, "
        "apt-get install python3-venv python3-dev g++."
        % (".".join(map(str, glibc)) or "unknown", named(found))
    )


def require(python):
    """Ends with one sentence where the system lacks anything that the installation needs."""
    version, has_venv, headers = probe(python)
    # The distribution's own Python has packages without a version in their names.
    own = "/usr/bin/python3"
    is_own = os.path.exists(own) and probe(own)[:1] == [version]
    name = "python3" if is_own else "python" + version
    lacks = [name + "-venv"] * (has_venv != "True")
    # pyfarmhash, which TFX needs, has no wheels: it is compiled.
    lacks += [name + "-dev"] * (not os.path.exists(os.path.join(headers, "Python.h")))
    lacks += ["g++"] * (not shutil.which("g++"))
    if lacks:
        sys.exit(
            "Setting darkroom up needs what this system lacks; as root, on Debian or Ubuntu: "
            "apt-get install %s." % " ".join(lacks)
        )


def probe(python):
    """What ``PROBE`` prints of an interpreter, by lines; nothing where it doesn't run."""
    result = subprocess.run([python, "-c", PROBE], stdout=-1, stderr=-3, text=True)
    return result.stdout.splitlines() if result.returncode == 0 else []


def named(found):
    return ", ".join("Python %d.%d" % v for v in sorted(found)) or "no Python that can be used"


def interpreters():
    """(version, path) of each Python on the PATH, or known to pyenv."""
    names = ["python3.%d" % minor for minor in range(10, 14)] + ["python3", "python"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [sys.executable, *map(shutil.which, names)]
    paths += sorted(map(str, pyenv.glob("3.*/bin/python3")), reverse=True)
    for path in reversed([path for path in paths if path]):
        # A pyenv shim answers for a version that is not switched on by failing.
        probed = probe(path)
        if probed:
            yield tuple(map(int, probed[0].split("."))), path


def find_uv(python):
    """Uv's command: the one on the PATH, else installed beside; None where it can't be had."""
    if shutil.which("uv"):
        return ["uv"]
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
        return [python, "-m", "uv"]
    print("uv can't be installed; going on with pip, which takes some minutes.", flush=True)
    return None


def run(*command):
    if subprocess.run(command).returncode != 0:
        sys.exit("Setting up failed at: " + " ".join(command))


if __name__ == "__main__":
    main()
