//! Level 6. What a container finds in `/dev`, `/proc` and `/sys`, whatever its image has there.
//!
//! Each is built where the host has its own: our mount namespace is a copy, in which that name may
//! be covered, and no path that is looked up here is the image's. Once it is finished it is moved
//! into the image, in one piece (`root::place`).

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{ThinCStr, tail};
use crate::error::{Error, On};
use crate::flags::{Mnt, MountAttr, Ms};
use crate::steps::Step;
use crate::sys::{self, skippable};

/// What differs from container to container.
pub struct Mounts {
    /// Our own user namespace: no device can be made there.
    pub borrowed: bool,
    /// A group 5 may be mapped.
    pub tty_group: bool,
    /// A network namespace of our own user namespace, so that we may show it in /sys.
    pub own_network: bool,
    /// There is a terminal, so there is a `/dev/console`.
    pub has_console: bool,
    /// The path of the caller's, where the container has none of its own.
    pub console: Option<&'static CStr>,
    /// With a namespace of its own: processes, message queues, and a cgroup to show.
    pub own_pid: bool,
    pub own_ipc: bool,
    pub own_cgroup: bool,
    /// How many of the files that tell names are the host's (`network::FILES`).
    pub names: usize,
    /// What tells or changes too much of the machine is hidden or read-only.
    pub masked: bool,
}

impl Mounts {
    /// Whether parts of `/proc` become read-only while it is so as a whole, from the beginning:
    /// where nobody else has it, its file system too.
    fn proc_begins_read_only(&self) -> bool {
        self.masked && self.own_pid && !sys::skips(Step::Proc) && !sys::skips(Step::Mask)
    }
}

const DEV: &CStr = c"/dev";
const PTS: &CStr = c"/dev/pts";
const CONSOLE: &CStr = c"/dev/console";
const SHM: &CStr = c"/dev/shm";
const MQUEUE: &CStr = c"/dev/mqueue";
const PROC: &CStr = c"/proc";
const SYS: &CStr = c"/sys";
const CGROUP: &CStr = c"/sys/fs/cgroup";

/// An empty directory that can't be written to, until something is mounted there (`finish_dev`):
/// a mask that costs no file system of its own.
const NOTHING: &CStr = PTS;

/// In half the bytes of a `&CStr`: these tables are in every copy of the file.
const fn thin<const N: usize>(paths: [&'static CStr; N]) -> [ThinCStr<'static>; N] {
    let (mut all, mut at) = ([ThinCStr::new(c""); N], 0);
    while at < N {
        all[at] = ThinCStr::new(paths[at]);
        at += 1;
    }
    all
}

struct Device {
    path: ThinCStr<'static>,
    number: [u8; 2],
}

const fn device(path: &'static CStr, number: [u8; 2]) -> Device {
    Device { path: ThinCStr::new(path), number }
}

impl Device {
    fn made_at(&self) -> &'static CStr {
        self.path.to_cstr()
    }

    /// From `/dev` on: the host's, where we are.
    fn at_host(&self) -> &'static CStr {
        tail(self.made_at(), "/dev/".len())
    }
}

/// [null(4)](https://man7.org/linux/man-pages/man4/null.4.html) and its like; their numbers are
/// those of Documentation/admin-guide/devices.txt.
const DEVICES: &[Device; 6] = &[
    device(c"/dev/null", [1, 3]),
    device(c"/dev/zero", [1, 5]),
    device(c"/dev/full", [1, 7]),
    device(c"/dev/random", [1, 8]),
    device(c"/dev/urandom", [1, 9]),
    device(c"/dev/tty", [5, 0]),
];

const LINKS: &[[ThinCStr; 2]; 5] = &[
    thin([c"/proc/self/fd", c"/dev/fd"]),
    thin([c"/proc/self/fd/0", c"/dev/stdin"]),
    thin([c"/proc/self/fd/1", c"/dev/stdout"]),
    thin([c"/proc/self/fd/2", c"/dev/stderr"]),
    thin([c"pts/ptmx", c"/dev/ptmx"]),
];

/// A file system of which nothing is a program, a device, or a way to more rights.
const INERT: Ms = Ms::NOSUID.with(Ms::NODEV).with(Ms::NOEXEC);

/// `/dev`: the devices that every program may expect, terminals and shared memory of its own.
pub fn make_dev(mounts: &Mounts) -> Result<(), Error<'static>> {
    skippable(Step::Dev, || fill_dev(mounts, mounts.borrowed))
}

fn fill_dev(mounts: &Mounts, borrowed: bool) -> Result<(), Error<'static>> {
    if borrowed || mounts.console.is_some() {
        sys::chdir(DEV).on(DEV)?; // what can't be made is borrowed from there
    }
    sys::umask(0);
    sys::mount_with(c"tmpfs", DEV, INERT, c"mode=755,size=64m").on(DEV)?;
    for device in DEVICES {
        match make_device(device, borrowed) {
            // No CAP_MKNOD, or a cgroup of devices around us: once more, with those of the host.
            Err(Errno::EPERM) if !borrowed => {
                sys::umount2(DEV, Mnt::DETACH).on(DEV)?;
                return fill_dev(mounts, true);
            }
            answer => answer.on(device.made_at())?,
        }
    }
    for [target, link] in LINKS {
        let link = link.to_cstr();
        sys::symlinkat(target.to_cstr(), link).on(link)?;
    }
    for (directory, mode) in [(PTS, 0o755), (SHM, 0o1777), (MQUEUE, 0o755)] {
        sys::mkdirat(sys::AT_FDCWD, directory, mode).on(directory)?;
    }
    if mounts.has_console {
        sys::make_file(sys::AT_FDCWD, CONSOLE, 0o600).on(CONSOLE)?;
    }
    if let Some(terminal) = mounts.console {
        let name = tail(terminal, c"/dev/".count_bytes()); // from where we are: the host's
        sys::mount_bind(name, CONSOLE, Ms::empty()).on(CONSOLE)?;
    }
    // The same file system, by a mount that may be written to, and has no devices.
    sys::mount_bind(SHM, SHM, Ms::empty()).on(SHM)?;
    no_more_devices(borrowed, mounts.console.is_some()).on(DEV)
}

/// What is in `/dev` but no device, once its empty directories have served as masks.
pub fn finish_dev(mounts: &Mounts) -> Result<(), Error<'static>> {
    skippable(Step::Dev, || {
        let mount = |options| sys::mount_with(c"devpts", PTS, Ms::NOSUID | Ms::NOEXEC, options);
        match mount(if mounts.tty_group { TERMINALS } else { TERMINALS_OF_ONE }) {
            Err(Errno::EINVAL) => mount(TERMINALS_OF_ONE), // in somebody else's user namespace
            mounted => mounted,
        }
        .on(PTS)?;
        if mounts.own_ipc {
            sys::mount_new(c"mqueue", MQUEUE, INERT).on(MQUEUE)?;
        }
        Ok(())
    })
}

/// Devices work in `/dev` and nowhere else: so nobody may make one there, as root could; and
/// nobody may change the mode of one that is the host's own. To write to a device is no change of
/// its file system.
fn no_more_devices(borrowed: bool, console: bool) -> Result<(), Errno> {
    if borrowed || console {
        match sys::mount_setattr(DEV, MountAttr::RDONLY) {
            Err(Errno::ENOSYS) => {
                // Before Linux 5.12: one by one.
                for device in DEVICES.iter().filter(|_| borrowed) {
                    sys::mount_flags(device.made_at(), SEALED)?;
                }
                if console {
                    sys::mount_flags(CONSOLE, SEALED)?;
                }
            }
            answer => answer?, // and what is in shared memory, which is put right below
        }
        sys::mount_flags(SHM, INERT)?;
    }
    sys::mount_flags(DEV, SEALED)
}

/// `/dev` itself.
const SEALED: Ms = Ms::NOSUID.with(Ms::NOEXEC).with(Ms::RDONLY);

/// [devpts(5)](https://www.kernel.org/doc/html/latest/filesystems/devpts.html): an instance of its
/// own since Linux 4.7, before that by `newinstance`. Group 5 is `tty` wherever there is one.
const TERMINALS: &CStr = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
const TERMINALS_OF_ONE: &CStr = c"newinstance,ptmxmode=0666,mode=0620";

/// A node where we may make one, else the host's own bound to an empty file.
fn make_device(device: &Device, borrowed: bool) -> Result<(), Errno> {
    if borrowed {
        sys::make_file(sys::AT_FDCWD, device.made_at(), 0o666)?;
        sys::mount_bind(device.at_host(), device.made_at(), Ms::empty())
    } else {
        sys::mknodat(device.made_at(), 0o666, device.number)
    }
}

/// `/proc`: what ps reads, the processes of this PID namespace.
pub fn make_proc(mounts: &Mounts) -> Result<(), Error<'static>> {
    // Until `mask` has bound parts of it.
    let flags = if mounts.proc_begins_read_only() { INERT | Ms::RDONLY } else { INERT };
    skippable(Step::Proc, || sys::mount_new(c"proc", PROC, flags).on(PROC))
}

/// `/sys`: read-only, with nothing of the control groups but our own.
pub fn make_sys(mounts: &Mounts) -> Result<(), Error<'static>> {
    let flags = if mounts.masked { INERT | Ms::RDONLY } else { INERT };
    skippable(Step::Sys, || {
        match if mounts.own_network { new_sys(flags) } else { Err(Errno::EPERM) } {
            // The network namespace, which it shows too, belongs to another user namespace.
            Err(Errno::EPERM) => borrow_sys().on(SYS)?,
            // An initramfs may have no such directory. Then the container has none either.
            Err(Errno::ENOENT) => return Ok(()),
            answer => answer.on(SYS)?,
        }
        if !mounts.own_cgroup {
            return Ok(());
        }
        match sys::mount_new(c"cgroup2", CGROUP, flags) {
            // A kernel without it, or without control groups at all: an empty directory stays.
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(()),
            answer => answer.on(CGROUP),
        }
    })
}

/// The host's own sysfs may be the very same one, and is not mounted on itself (EBUSY): so
/// something else comes between the two.
#[inline(never)] // smaller alone than among its caller's variables
fn new_sys(flags: Ms) -> Result<(), Errno> {
    sys::mount_bind(NOTHING, SYS, Ms::empty())?;
    let mounted = sys::mount_new(c"sysfs", SYS, flags);
    if mounted.is_err() {
        sys::umount2(SYS, Mnt::DETACH)?;
    }
    mounted
}

/// The host's `/sys`, all of it read-only; or, before Linux 5.12, an empty directory. The host's
/// control groups are covered: where they are v2, ours are the same file system, which the kernel
/// refuses to mount on itself (EBUSY).
fn borrow_sys() -> Result<(), Errno> {
    sys::mount_bind(SYS, SYS, Ms::REC)?;
    let inert = MountAttr::RDONLY | MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    match sys::mount_setattr(SYS, inert) {
        Err(Errno::ENOSYS) => sys::mount_bind(NOTHING, SYS, Ms::empty()),
        Ok(()) => where_there(sys::mount_bind(NOTHING, CGROUP, Ms::empty())),
        answer => answer,
    }
}

/// What of `/proc` and `/sys` tells about the machine, or about other containers on it.
const HIDDEN_FILES: &[ThinCStr; 7] = &thin([
    c"/proc/interrupts",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/timer_list",
    c"/proc/timer_stats",
]);

const HIDDEN_DIRECTORIES: &[ThinCStr; 6] = &thin([
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/scsi",
    c"/sys/dev/block",
    c"/sys/devices/virtual/powercap",
    c"/sys/firmware",
]);

/// What of `/proc` changes the machine.
const READ_ONLY: &[ThinCStr; 5] =
    &thin([c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"]);

/// Covers what runc and podman cover: with the null device, with nothing, with itself read-only.
pub fn mask(mounts: &Mounts) -> Result<(), Error<'static>> {
    skippable(Step::Mask, || {
        for file in HIDDEN_FILES {
            let file = file.to_cstr();
            where_there(sys::mount_bind(c"/dev/null", file, Ms::empty())).on(file)?;
        }
        for directory in HIDDEN_DIRECTORIES {
            let directory = directory.to_cstr();
            where_there(sys::mount_bind(NOTHING, directory, Ms::empty())).on(directory)?;
        }
        // A bind has the flags of the mount that it is made from: so that one is read-only for as
        // long as this takes.
        let ours = mounts.proc_begins_read_only();
        if !ours {
            sys::mount_flags(PROC, INERT | Ms::RDONLY).on(PROC)?;
        }
        for path in READ_ONLY {
            let path = path.to_cstr();
            where_there(sys::mount_bind(path, path, Ms::empty())).on(path)?;
        }
        if ours { sys::remount(PROC, INERT) } else { sys::mount_flags(PROC, INERT) }.on(PROC)
    })
}

/// Not every kernel has every file.
fn where_there(covered: Result<(), Errno>) -> Result<(), Errno> {
    if covered == Err(Errno::ENOENT) { Ok(()) } else { covered }
}
