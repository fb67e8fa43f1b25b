"""Makes .venv from the lock that fits this machine. Needs nothing but Python's standard library.

Run by make; also by hand: python3 locks/install.py [--airflow] [FOLDER]
With --airflow it makes .venv-airflow, which has Airflow beside TFX.
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
AIRFLOW_LOCKS = (("airflow-2.11.txt", (2, 17), ((3, 11),)),)


def main():
    folders = [argument for argument in sys.argv[1:] if argument != "--airflow"]
    airflow = "--airflow" in sys.argv
    usual = ROOT / (".venv-airflow" if airflow else ".venv")
    folder = Path(folders[0] if folders else usual).absolute()
    python, lock = choose(AIRFLOW_LOCKS if airflow else LOCKS)
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
            "Airflow beside TFX needs Python 3.11 together with its venv module; found %s. Install "
            "it, on Debian or Ubuntu with apt-get install python3.11 python3.11-venv."
            % named(found)
        )
    sys.exit(
        "darkroom needs Python 3.10 or 3.11 (or 3.12 or 3.13 where glibc is 2.39 or newer; here it "
        "is %s) together with its venv module; found %s. Install one, on Debian or Ubuntu with "
        "apt-get install python3.11 python3.11-venv."
        % (".".join(map(str, glibc)) or "unknown", named(found))
    )


def named(found):
    return ", ".join("Python %d.%d" % v for v in sorted(found)) or "no Python that can be used"


def interpreters():
    """(version, path) of each Python on the PATH, or known to pyenv, that can make a venv."""
    names = ["python3.%d" % minor for minor in range(10, 14)] + ["python3", "python"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [sys.executable, *map(shutil.which, names)]
    paths += sorted(map(str, pyenv.glob("3.*/bin/python3")), reverse=True)
    for path in reversed([path for path in paths if path]):
        code = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
        # A pyenv shim answers for a version that is not switched on by failing.
        result = subprocess.run([path, "-c", code], stdout=-1, stderr=-3, text=True)
        if result.returncode == 0:
            yield tuple(map(int, result.stdout.split())), path


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
