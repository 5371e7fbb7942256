# SPDX-License-Identifier: BSD-3-Clause
"""What every guest shares, assembled once: kernel, base initramfs, golden images.

The kernel is the release's own, or with PMDIRECT_GUEST_KERNEL=newest the one of its
backports, or the package that the variable names. The cache directory holds
  kernel-<request>/           the kernel package as downloaded, and its release
  lab-<release>-<hash>/       what guests boot from; <hash> is over these sources; with machines
                              that were saved (lab_state.py)
All appear by an atomic rename, so what is there is complete.
"""

import contextlib
import dataclasses
import fcntl
import glob
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tempfile

import lab_backings
from lab_cpio import Archive, LabError, Missing, elf_closure
from lab_kernel import unwrapped
from lab_reseed import program

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = ("lab_backings.py", "lab_cache.py", "lab_clock.py", "lab_cpio.py", "lab_disk.py", "lab_guest.py",
           "lab_images.py", "lab_kernel.py", "lab_machine.py", "lab_reseed.py", "lab_share.py", "lab_state.py",
           "guest-init.sh")

# The small cloud flavour boots faster; the generic one has every driver.
KERNELS = ("linux-image-cloud-amd64", "linux-image-amd64")
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "nfit", "nd_pmem", "nd_e820",
           "virtio_pmem", "device_dax", "dax_pmem", "ext4", "xfs", "btrfs", "overlay",
           "fuse", "virtiofs", "loop", "dm-mod", "dm-flakey", "dm-log-writes", "erofs")
# Built in, or a faster variant, depending on the kernel.
OPTIONAL_MODULES = ("crc32c_generic", "crc32c_intel")
# As those, and loaded only where asked for: what encrypted directories and quotas need, memory as a disk, other file
# systems.
LAZY_MODULES = ("xts", "cts", "ecb", "sha512_generic", "quota_v2", "brd", "lzo-rle", "zram",
                "nls_cp437", "nls_ascii", "vfat", "exfat", "ntfs3", "nfsd", "nfsv4",
                "9pnet_virtio", "9p")
ARCHIVE_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
HOST_TOOLS = ("qemu-system-x86_64", "busybox", "ldd", "dpkg-deb", "depmod")
GUEST_TOOLS = ("mkfs.ext4", "mkfs.xfs", "xfs_io", "chattr", "lsattr", "dmsetup", "setpriv")
OPTIONAL_GUEST_TOOLS = ("mkfs.btrfs", "mkfs.erofs", "mkfs.vfat", "mkfs.exfat", "mkfs.ntfs",
                        "fuse2fs", "setfattr", "getfattr")
_GOLDEN_NAMES = {b"NVDIMM_PFN_INFO": "fsdax", b"NVDIMM_DAX_INFO": "devdax"}


class Lab:
    """A prepared cache entry."""

    def __init__(self, path):
        self.path = path
        self.kernel = os.path.join(path, "vmlinux")
        self.base = os.path.join(path, "base.cpio")
        self.release = _read(os.path.join(path, "release"))

    def image(self, name):
        return os.path.join(self.path, name + ".img")

    def insmod_order(self, modules):
        """Guest paths of the modules and their dependencies, in loading order."""
        table = _read_dependencies(os.path.join(self.path, "modules.dep"))
        order = []
        optional = [name for name in OPTIONAL_MODULES if _plain(name) in table]
        for name in optional + list(modules):
            order += _with_dependencies(table, name)
        root = "/lib/modules/" + self.release
        return [f"{root}/{path}" for path in dict.fromkeys(order)]


def prepare(report=lambda text: None):
    """Returns the Lab, assembling it first where that is needed."""
    _need_tools(HOST_TOOLS + GUEST_TOOLS)
    root = _root()
    os.makedirs(root, exist_ok=True)
    found = _assembled(root)
    if found:
        return found
    with open(os.path.join(root, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _assembled(root)
        if found:
            return found
        # Only a killed assembly leaves these, and we hold the lock.
        for stale in glob.glob(os.path.join(root, "new-*")):
            shutil.rmtree(stale)
        report("guest lab: assembling, once")
        with new_directory(root) as scratch:
            return _assemble(root, _keep_kernel(root, scratch) or _unpack(_kernel(root), scratch))


def find_tool(name):
    """Path of a host program; administrators' directories need not be in PATH."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name, path=path)


def _need_tools(names):
    lacking = [name for name in names if not find_tool(name)]
    if lacking:
        raise Missing("not installed: " + " ".join(lacking))


def _root():
    chosen = os.environ.get("PMDIRECT_GUEST_CACHE")
    if chosen:
        return os.path.abspath(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "pmdirect-guest")


def _request():
    """The kernel package asked for; "default" and "newest" try KERNELS."""
    return os.environ.get("PMDIRECT_GUEST_KERNEL", "default")


def _assembled(root):
    try:
        release = _read(os.path.join(root, "kernel-" + _request(), "release"))
    except FileNotFoundError:
        return None
    path = os.path.join(root, f"lab-{release}-{_sources_hash()}")
    return Lab(path) if os.path.isdir(path) else None


def _sources_hash():
    digest = hashlib.sha256()
    for name in SOURCES:
        with open(os.path.join(HERE, name), "rb") as stream:
            digest.update(stream.read())
    digest.update(" ".join(filter(find_tool, OPTIONAL_GUEST_TOOLS)).encode())
    return digest.hexdigest()[:12]


def _read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read().strip()


def _write(path, text):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


@contextlib.contextmanager
def new_directory(root):
    """To be filled and then renamed; without that it is removed."""
    path = tempfile.mkdtemp(prefix="new-", dir=root)
    try:
        # mkdtemp's 0700 would hide a shared cache from other users.
        os.chmod(path, 0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, **options)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


# --- The kernel package ---

@dataclasses.dataclass
class _Tree:
    """A kernel package, unpacked."""

    release: str
    prefix: str              # of lib/modules
    image: str
    table: dict              # of modules and what each needs


def _kernel(root):
    return os.path.join(root, "kernel-" + _request())


def _keep_kernel(root, scratch):
    """Downloads the first wanted kernel that has every module; returns it unpacked, None if it was there."""
    final = _kernel(root)
    if os.path.isdir(final):
        return None
    _need_tools(("apt-get", "apt-cache"))
    wanted = KERNELS if _request() in ("default", "newest") else (_request(),)
    reasons = []
    for package in wanted:
        with new_directory(root) as new, new_directory(root) as lists:
            try:
                _download(package, new, _backports(lists) if _request() == "newest" else [])
                tree = _unpack(new, tempfile.mkdtemp(dir=scratch))
                _modules_to_keep(tree, MODULES)
            except LabError as error:
                reasons.append(f"{package}: {error}")
                continue
            _write(os.path.join(new, "release"), tree.release)
            os.rename(new, final)
            return tree
    raise Missing("no usable kernel package; " + "; ".join(reasons))


def _download(package, directory, apt_options):
    listing = _run(["apt-cache", *apt_options, "depends", package])
    match = re.search(r"^\s*Depends: (linux-image-\S+)", listing, re.M)
    concrete = match.group(1) if match else package
    _run(["apt-get", *apt_options, "-q", "download", concrete], cwd=directory)
    (downloaded,) = glob.glob(os.path.join(directory, "*.deb"))
    os.rename(downloaded, os.path.join(directory, "linux.deb"))


def _backports(scratch):
    """Options that show apt the backports of this release and nothing else.

    The source is the one that this machine has the release itself from; what is configured
    stays as it is.
    """
    with open("/etc/os-release", encoding="utf-8") as stream:
        match = re.search(r'^VERSION_CODENAME="?(\w+)', stream.read(), re.M)
    release = match.group(1) if match else "unknown"
    listing = _run(["apt-get", "indextargets", "--format",
                    "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"])
    for line in listing.splitlines():
        codename, component, uri = line.split(" ", 2)
        if (codename, component) == (release, "main"):
            break
    else:
        raise LabError(f"apt has no source of the release {release} to derive its backports from")
    root = os.path.join(scratch, "apt")
    os.makedirs(os.path.join(root, "lists/partial"), exist_ok=True)
    os.makedirs(os.path.join(root, "cache/archives/partial"), exist_ok=True)
    # Otherwise apt takes the keys that it trusts anyway.
    key = f"[signed-by={ARCHIVE_KEYS}] " if os.path.exists(ARCHIVE_KEYS) else ""
    _write(os.path.join(root, "sources.list"), f"deb {key}{uri} {release}-backports main\n")
    options = []
    for setting, value in (("Dir::Etc::SourceList", f"{root}/sources.list"),
                           ("Dir::Etc::SourceParts", "/dev/null"),
                           ("Dir::State::Lists", f"{root}/lists"), ("Dir::Cache", f"{root}/cache"),
                           ("Acquire::Retries", "2"), ("Acquire::http::Timeout", "20"),
                           ("APT::Sandbox::User", "root")):
        options += ["-o", f"{setting}={value}"]
    _run(["apt-get", *options, "-q", "update"])
    return options


def _unpack(kernel, directory):
    _run(["dpkg-deb", "-x", os.path.join(kernel, "linux.deb"), directory])
    images = glob.glob(os.path.join(directory, "boot/vmlinuz-*"))
    for prefix in (directory, os.path.join(directory, "usr")):
        releases = glob.glob(os.path.join(prefix, "lib/modules/*"))
        if images and releases:
            release = os.path.basename(releases[0])
            return _Tree(release, prefix, images[0], _dependencies(release, prefix))
    raise LabError("the package has no kernel, or no modules")


# --- Modules ---

def _plain(name):
    """A module's name as the kernel compares it."""
    return re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(name)).replace("-", "_")


def _dependencies(release, tree):
    _run([find_tool("depmod"), "-b", tree, release])
    return _read_dependencies(os.path.join(tree, "lib/modules", release, "modules.dep"))


def _read_dependencies(path):
    table = {}
    for line in _read(path).splitlines():
        module, needs = line.split(":", 1)
        # depmod lists what must be loaded first last.
        table[_plain(module)] = (module, needs.split()[::-1])
    return table


def _with_dependencies(table, name):
    if _plain(name) not in table:
        return []  # built in: _modules_to_keep() made sure when the lab was assembled
    module, needs = table[_plain(name)]
    return needs + [module]


def _modules_to_keep(tree, names):
    """The modules to keep; LabError for one neither in a file nor built in."""
    listing = os.path.join(tree.prefix, "lib/modules", tree.release, "modules.builtin")
    builtin = {_plain(line) for line in _read(listing).splitlines()}
    lacking = [name for name in names if _plain(name) not in builtin.union(tree.table)]
    if lacking:
        raise LabError("modules missing: " + " ".join(lacking))
    kept = []
    for name in names + OPTIONAL_MODULES + LAZY_MODULES:
        kept += _with_dependencies(tree.table, name)
    return list(dict.fromkeys(kept))


def _uncompressed(path):
    return re.sub(r"(\.ko)\.\w+$", r"\1", path)


def _module_text(path):
    """A module's bytes; those of newer packages are compressed."""
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rb") as stream:
        return stream.read()


# --- The cache entry ---

def _assemble(root, tree):
    with new_directory(root) as new:
        _write_kernel(tree.image, os.path.join(new, "vmlinux"))
        _write(os.path.join(new, "release"), tree.release)
        archive = _base_tree()
        dependencies = _add_modules(archive, tree)
        _write(os.path.join(new, "modules.dep"), dependencies)
        with open(os.path.join(new, "base.cpio"), "wb") as stream:
            stream.write(archive.bytes())
        _make_golden(Lab(new))
        final = os.path.join(root, f"lab-{tree.release}-{_sources_hash()}")
        os.rename(new, final)
    return Lab(final)


def _write_kernel(image, path):
    with open(image, "rb") as stream:
        wrapped = stream.read()
    with open(path, "wb") as stream:
        stream.write(unwrapped(wrapped) or wrapped)


def _base_tree():
    archive = Archive()
    for path in ("/dev", "/proc", "/sys", "/mnt", "/run", "/root", "/t", "/lab"):
        archive.directory(path)
    archive.directory("/tmp", 0o1777)
    busybox = os.path.realpath(find_tool("busybox"))
    archive.copy(busybox, "/bin/busybox")
    for library in elf_closure(busybox):
        archive.copy(library)
    for applet in _run([busybox, "--list"]).split():
        if applet != "busybox":
            archive.symlink("/bin/" + applet, "busybox")
    optional = [tool for tool in OPTIONAL_GUEST_TOOLS if find_tool(tool)]
    for tool in GUEST_TOOLS + tuple(optional):
        real = archive.elf(find_tool(tool))
        link = "/usr/sbin/" + tool
        if link not in archive:
            archive.symlink(link, real)
    archive.file("/etc/passwd", b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    archive.file("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    if os.path.exists("/etc/mke2fs.conf"):
        archive.copy("/etc/mke2fs.conf")
    archive.copy(os.path.join(HERE, "guest-init.sh"), "/init")
    archive.file("/lab/reseed", program(), 0o755)
    return archive


def _add_modules(archive, tree):
    """Adds the modules, uncompressed; returns their modules.dep."""
    host = os.path.join(tree.prefix, "lib/modules", tree.release)
    guest = f"/lib/modules/{tree.release}"
    lines = []
    for module in _modules_to_keep(tree, MODULES):
        name = _uncompressed(module)
        archive.file(f"{guest}/{name}", _module_text(os.path.join(host, module)))
        needs = [_uncompressed(need) for need in reversed(tree.table[_plain(module)][1])]
        lines.append(f"{name}: {' '.join(needs)}\n")
    text = "".join(lines)
    # So that a script's modprobe works too.
    archive.file(f"{guest}/modules.dep", text.encode())
    return text


def _make_golden(lab):
    """Boots once with blank NVDIMMs, and keeps what the kernel made of them."""
    # Imported late: lab_guest needs this module's Lab.
    from lab_guest import Guest, Job
    from lab_images import Images
    images = Images(lab, lab_backings.GOLDEN, lab.path)
    with Guest(lab, lab_backings.GOLDEN, Job(":"), images) as guest:
        guest.start()
        if guest.wait(120) != 0:
            raise LabError("cannot make the golden images:\n" + guest.console_text())
    for path in images.paths:
        # The firmware's order of the NVDIMMs is not that of QEMU's arguments.
        os.rename(path, lab.image(_GOLDEN_NAMES[_info_signature(path)]))


def _info_signature(path):
    """What the info block says that the namespace is for."""
    with open(path, "rb") as stream:
        stream.seek(4096)
        return stream.read(16).rstrip(b"\0")
