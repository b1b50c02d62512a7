"""A SLURM of several nodes on this machine, on loopback, gone when a test ends."""

import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun")
OWN_SLURM = Path("/etc/slurm/slurm.conf")

# what is started so ends with the tests, even with killed ones
WITH_THE_TESTS = ("setpriv", "--pdeathsig", "KILL")

# No control groups: `jobacct_gather` watches the memory. The nodes are as large as they
# are told to be, whatever this machine has.
CONFIG = """\
ClusterName=emulated
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
ReturnToService=2
MinJobAge=3600
KillWait=5
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
    "RealMemory={mem_mb}\n"
)

# The real program, with the configuration: jobs lose SLURM_CONF on the way. Each call
# is written down. Each file in `refusals` lets one call of `sbatch` fail.
WRAPPER = """\
#!/bin/sh
echo {name} $* | tr '\\n' ' ' | sed 's/$/\\n/' >>{folder}/calls
"""
REFUSAL = """\
for token in {folder}/refusals/*; do
  if rm "$token" 2>/dev/null; then
    echo "sbatch: error: Batch job submission failed: Socket timed out" >&2
    exit 1
  fi
done
"""
REAL = 'SLURM_CONF={folder}/slurm.conf exec {real} "$@"\n'


def reason_against() -> str:
    """Return why there can be no emulated SLURM on this machine, "" if it can be."""
    missing = [name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name)]
    if missing:
        return f"not installed (slurm-wlm, munge): {', '.join(missing)}"
    if os.geteuid() != 0:
        return "slurmd has to be started by root"
    if OWN_SLURM.exists() or "SLURM_CONF" in os.environ:
        return "this machine has a SLURM of its own"
    return ""


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def wait_until(is_so, what: str, *, seconds: float = 30) -> None:
    """Wait until something is so; fail if it does not come."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.1)


class Cluster:
    """Nodes `n1`, `n2`, … in a partition; a context manager that ends them all.

    Parameters
    ----------
    folder
        For configuration, state and logs; its path should be short (sockets).
    nodes, cpus, mem_mb
        How many nodes, and how large each of them is said to be.
    """

    def __init__(self, folder: Path, *, nodes: int, cpus: int, mem_mb: int) -> None:
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.daemons: dict[str, subprocess.Popen] = {}
        host = socket.gethostname().split(".")[0]
        port, *ports = free_ports(1 + nodes)
        text = CONFIG.format(folder=folder, host=host, port=port)
        for name, own_port in zip(self.nodes, ports, strict=True):
            text += NODE.format(
                name=name, host=host, port=own_port, cpus=cpus, mem_mb=mem_mb
            )
            (folder / f"spool-{name}").mkdir(parents=True)
        text += f"PartitionName=main Nodes={','.join(self.nodes)} Default=YES\n"
        (folder / "slurm.conf").write_text(text)
        (folder / "cgroup.conf").write_text("")
        for made in ("state", "bin", "refusals"):
            (folder / made).mkdir()
        for name in CLIENTS:
            body = WRAPPER + (REFUSAL if name == "sbatch" else "") + REAL
            wrapper = folder / "bin" / name
            wrapper.write_text(
                body.format(name=name, folder=folder, real=shutil.which(name))
            )
            wrapper.chmod(0o755)

    def __enter__(self) -> "Cluster":
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        # its folder is that of a test, which others may look into
        options = [f"--key-file={key}", f"--socket={self.folder}/munge.socket"]
        options += [f"--pid-file={self.folder}/munged.pid", "--force", "--foreground"]
        options += [f"--log-file={self.folder}/munged.log"]
        options += [f"--seed-file={self.folder}/munge.seed"]
        try:
            self._start("munged", *options)
            socket_file = self.folder / "munge.socket"
            wait_until(socket_file.exists, "munged")
            self.start_controller()
            for name in self.nodes:
                self._start("slurmd", "-D", "-N", name, called=name)
            wait_until(self.is_idle, "idle nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if "slurmctld" in self.daemons:
            self.call("scancel", "--full", "--user=root")
            until = time.monotonic() + 60
            while self.call("squeue", "--noheader") and time.monotonic() < until:
                time.sleep(0.5)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self, program: str, *options: str, called: str = "") -> None:
        command = [*WITH_THE_TESTS, shutil.which(program), *options]
        with (self.folder / f"{called or program}.out").open("a") as out:
            self.daemons[called or program] = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env={**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf"},
            )

    def start_controller(self) -> None:
        """Start slurmctld, with what it last knew of jobs."""
        self._start("slurmctld", "-D")

    def stop_controller(self) -> None:
        """End slurmctld; jobs run on."""
        daemon = self.daemons.pop("slurmctld")
        daemon.terminate()
        daemon.wait(30)

    def is_idle(self) -> bool:
        """Tell whether all nodes are there, with nothing to do."""
        seen = self.call("sinfo", "--noheader", "--Node", "--format=%T").split()
        return seen == ["idle"] * len(self.nodes)

    def call(self, name: str, *options: str) -> str:
        """Return what a program of SLURM says."""
        return subprocess.run(
            [shutil.which(name), *options],
            env={**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        ).stdout

    def refuse(self, times: int) -> None:
        """Let `sbatch` fail so many times."""
        for number in range(times):
            (self.folder / f"refusals/{number}").touch()

    @property
    def path(self) -> str:
        """A PATH on which the programs of this cluster are first."""
        return f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}"

    def calls(self) -> list[str]:
        """Return all calls of its programs since the last time, but those of `call`."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return lines

    def counted(self) -> Counter:
        """Return how often each program was called since the last time."""
        return Counter(line.split()[0] for line in self.calls())
