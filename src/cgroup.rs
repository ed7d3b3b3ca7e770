//! Level 6. The limits: a cgroup of the container's own in each hierarchy that has one of the
//! controllers ([cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)).
//!
//! Where that is, the kernel is asked: /proc/self/cgroup says which hierarchy has a controller and
//! where we are in it. They are mounted below /sys/fs/cgroup, v2 there itself or, beside v1, as
//! `unified`; whether we may write there is seen when we do. The limits are beneath those that hold
//! for us already, or beside us (hazard 1).
//!
//! Hazards:
//! 1. In a v2 hierarchy a cgroup has processes, or children with controllers, not both: the rule
//!    of "no internal processes". We are a process of ours, so the container's is made beside it,
//!    in its parent; beneath it only in the root, where the rule doesn't hold. The root of a
//!    namespace is none, and nothing is beside it. What systemd has handed over to a service of its
//!    own (`Delegate=`) ends above: there we go into a cgroup beneath it ourselves, and the
//!    container's is beside that one.
//! 2. A tinyctr that is killed removes nothing. The next one does, when it looks for a place: a
//!    living owner holds a lock on it. Between mkdir and lock it is nobody's, and may be swept away
//!    by another tinyctr that starts; then the owner takes another name.
//! 3. The lock is on a directory of the host's, which would be a way out for a container's working
//!    directory (CVE-2024-21626). So the child closes it as soon as it is a member.
//! 4. Until execve the child's memory is its parent's. What it takes for an execve beyond its limit
//!    fails (ENOMEM, E2BIG); it kills neither of us, for the kernel spares who is in a vfork
//!    (mm/oom_kill.c, oom_badness).

use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::{ThinCStr, tail};
use crate::buf::{Line, has, take_until};
use crate::error::{Error, On};
use crate::flags::{Clone, O};
use crate::sys;

/// What is written to a file of the new cgroup.
struct Setting {
    file: ThinCStr<'static>,
    /// Empty: the limit.
    value: ThinCStr<'static>,
}

const fn setting(file: &'static CStr, value: &'static CStr) -> Setting {
    Setting { file: ThinCStr::new(file), value: ThinCStr::new(value) }
}

/// A controller, and what a limit is in a v1 and in a v2 hierarchy.
struct Controller {
    name: &'static CStr,
    settings: [&'static [Setting]; 2],
}

/// Hands a controller to the children of a v2 cgroup.
const CONTROL: &CStr = c"../cgroup.subtree_control";

/// In the order of the limits. What comes after the limit itself not every kernel has. Swap is no
/// way round that of memory, and on v2 an end for one process is an end for all.
const CONTROLLERS: &[Controller; 3] = &[
    Controller {
        name: c"memory",
        settings: [
            &[setting(c"memory.limit_in_bytes", c""), setting(c"memory.memsw.limit_in_bytes", c"")],
            &[
                setting(CONTROL, c"+memory"),
                setting(c"memory.max", c""),
                setting(c"memory.swap.max", c"0"),
                setting(c"memory.oom.group", c"1"),
            ],
        ],
    },
    // A quota of each 100 milliseconds, which is the kernel's default.
    Controller {
        name: c"cpu",
        settings: [
            &[setting(c"cpu.cfs_quota_us", c"")],
            &[setting(CONTROL, c"+cpu"), setting(c"cpu.max", c"")],
        ],
    },
    Controller {
        name: c"pids",
        settings: [
            &[setting(c"pids.max", c"")],
            &[setting(CONTROL, c"+pids"), setting(c"pids.max", c"")],
        ],
    },
];

/// How our cgroups are called, before a number.
const NAME: &[u8] = b"tinyctr-";
/// And the one that we ourselves go into. It goes with the service whose it is.
const OURSELVES: &CStr = c"tinyctr";

/// How systemd marks a cgroup that it has handed over, for whoever may see that
/// (<https://systemd.io/CGROUP_DELEGATION>).
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];

const OWN: &CStr = c"/proc/self/cgroup";
const PROCS: &CStr = c"cgroup.procs";
const DIRECTORY: O = O::DIRECTORY.with(O::CLOEXEC);

/// One cgroup of ours.
struct Place {
    /// Of the controller; 0 where there is none, or where it is set.
    limit: u64,
    /// With its NUL.
    path: Line<512>,
    /// Itself, locked; 0 where nothing is ours.
    cgroup: i32,
    /// Its cgroup.procs, open for the child to write to.
    procs: i32,
}

/// The cgroups of the container, by controller. One that is for several is the first one's.
pub struct Cgroups {
    places: [Place; 3],
    /// What an error would be about.
    object: ThinCStr<'static>,
}

impl Cgroups {
    pub const fn none() -> Cgroups {
        const NONE: Place = Place { limit: 0, path: Line::new(), cgroup: 0, procs: 0 };
        Cgroups { places: [NONE; 3], object: ThinCStr::new(OWN) }
    }

    /// Makes the cgroups and sets the limits: of memory, of the processors and of processes, 0
    /// for none. Where one of them can't be set, nothing is left of the others.
    #[inline(never)] // a large frame, and not on the way to the wait
    pub fn make(&mut self, limits: [u64; 3]) -> Result<(), Error<'static>> {
        for (place, limit) in self.places.iter_mut().zip(limits) {
            place.limit = limit;
        }
        let made = self.enter_hierarchies();
        if made.is_err() {
            let _the_first_error_counts = self.remove();
        }
        made.on(self.object.to_cstr())
    }

    fn enter_hierarchies(&mut self) -> Result<(), Errno> {
        each_line(sys::AT_FDCWD, OWN, &mut |line| self.enter_hierarchy(line))?;
        for (place, controller) in self.places.iter().zip(CONTROLLERS) {
            if place.limit != 0 {
                self.object = ThinCStr::new(controller.name);
                return Err(Errno::ENOENT);
            }
        }
        Ok(())
    }

    /// `line` is one of /proc/self/cgroup: `4:cpu,cpuacct:/path` of v1, `0::/path` of v2, which
    /// comes last and has every controller that no other has.
    fn enter_hierarchy(&mut self, line: &[u8]) -> Result<(), Errno> {
        let mut own = line;
        take_until(&mut own, b':');
        let list = take_until(&mut own, b':');
        let v2 = list.is_empty();
        let mut cgroup = 0;
        for (place, controller) in self.places.iter_mut().zip(CONTROLLERS) {
            if place.limit == 0 || !(v2 || has_word(list, controller.name.to_bytes())) {
                continue;
            }
            self.object = ThinCStr::new(controller.name);
            if cgroup == 0 {
                place.make(list, own)?;
                cgroup = place.cgroup;
            }
            let mut number = Line::<24>::new();
            number.push_decimal(place.limit);
            for setting in controller.settings[usize::from(v2)] {
                self.object = setting.file;
                let mut value = setting.value.to_cstr().to_bytes();
                if value.is_empty() {
                    value = number.as_bytes();
                }
                match sys::write_file(cgroup, setting.file.to_cstr(), value) {
                    Err(Errno::ENOENT) if place.limit == 0 => {}
                    answer => answer?,
                }
                if setting.value.to_cstr().is_empty() {
                    place.limit = 0;
                }
            }
        }
        Ok(())
    }

    /// Becomes a member, of the cgroups and then of a namespace that has them for its root.
    #[inline(never)] // packed
    pub fn join(&self, namespace: bool) -> Result<(), Errno> {
        for place in self.places.iter().filter(|place| place.cgroup != 0) {
            sys::write(place.procs, b"0")?; // 0: whoever writes it
            sys::close(place.cgroup)?; // hazard 3
        }
        if namespace { sys::unshare(Clone::NEWCGROUP) } else { Ok(()) }
    }

    /// Whether the kernel has killed somebody in there for want of memory.
    #[inline(never)] // a large frame, and not on the way to the wait
    pub fn ran_out_of_memory(&self) -> bool {
        let [place, ..] = &self.places; // that of memory, where it is limited
        let mut killed = false;
        for file in [c"memory.events", c"memory.oom_control"] {
            let _not_there = each_line(place.cgroup, file, &mut |line| {
                killed |= line.starts_with(b"oom_kill ") && line != b"oom_kill 0";
                Ok(())
            });
        }
        killed
    }

    /// Ends whoever is left in there, and removes the cgroups.
    #[inline(never)] // once
    pub fn remove(&self) -> Result<(), Error<'_>> {
        for place in self.places.iter().filter(|place| place.cgroup != 0) {
            remove(sys::AT_FDCWD, place.path(), place.cgroup).on(place.path())?;
        }
        Ok(())
    }
}

impl Place {
    fn path(&self) -> &CStr {
        self.path.as_cstr().unwrap_or(c"") // which is ENOENT
    }

    /// Makes the cgroup, in the hierarchy with this list of controllers (empty: v2), in which we
    /// are in `own`.
    fn make(&mut self, mut list: &[u8], mut own: &[u8]) -> Result<(), Errno> {
        let mut within = own == b"/";
        self.path.push("/sys/fs/cgroup");
        if list.is_empty() {
            if sys::exists(c"/sys/fs/cgroup/unified/").is_ok() {
                self.path.push("/unified");
            }
            let length = self.path.as_bytes().len();
            self.path.push(own).push("\0");
            if !(is_handed_over(self.path()) && step_aside(self.path())?) {
                while let [rest @ .., last] = own {
                    own = rest; // hazard 1
                    if *last == b'/' {
                        break;
                    }
                }
            }
            self.path.truncate(length);
        } else {
            self.path.push("/").push(take_until(&mut list, b','));
        }
        let mut length = self.path.as_bytes().len();
        self.path.push(own).push("\0");
        if self.path.is_cut() {
            return Err(Errno::ENAMETOOLONG);
        }
        if sys::exists(self.path()).is_ok() {
            length = self.path().count_bytes();
        } else {
            within = true; // the hierarchy is seen from ourselves on
        }
        self.path.truncate(length);
        self.path.push("\0");
        let parent = sys::openat(sys::AT_FDCWD, self.path(), DIRECTORY)?;
        sys::openat(parent, PROCS, O::CLOEXEC)?; // in no other file system
        // Hazard 1. Only the very root has no type, and no cgroup of v1.
        if within && sys::openat(parent, c"cgroup.type", O::CLOEXEC).is_ok() {
            return Err(Errno::EBUSY);
        }
        sweep(parent, NAME);
        let mut number = 0;
        loop {
            self.path.truncate(length);
            self.path.push("/").push(NAME).push_decimal(number).push("\0");
            let answer = self.occupy(parent, length + 1);
            number += 1;
            // There already; or swept away (hazard 2).
            let taken = matches!(answer, Err(Errno::EEXIST | Errno::EAGAIN | Errno::ENOENT));
            if !taken || number > 4096 {
                sys::close(parent)?;
                return answer;
            }
        }
    }

    /// Makes it, whose name begins at `start` of the path, and locks it.
    fn occupy(&mut self, parent: i32, start: usize) -> Result<(), Errno> {
        let name = tail(self.path(), start);
        sys::mkdirat(parent, name, 0o755)?;
        let cgroup = sys::openat(parent, name, DIRECTORY)?;
        sys::flock(cgroup)?;
        // Where that is there, nobody sweeps it away any more.
        self.procs = sys::openat(cgroup, PROCS, O::WRONLY | O::CLOEXEC)?;
        self.cgroup = cgroup;
        Ok(())
    }
}

/// Whether systemd has handed this cgroup over, to whoever is in it.
fn is_handed_over(path: &CStr) -> bool {
    MARKS.iter().any(|mark| sys::getxattr(path, mark, &mut [0]) == Ok(b"1"))
}

/// Goes into a cgroup beneath this one, so that it can have others (hazard 1). False where somebody
/// else is here too, who is not ours to move: then nothing has changed.
#[inline(never)] // once
fn step_aside(path: &CStr) -> Result<bool, Errno> {
    let here = sys::openat(sys::AT_FDCWD, path, DIRECTORY)?;
    match sys::mkdirat(here, OURSELVES, 0o755) {
        Err(Errno::EEXIST) => {} // from before, or another tinyctr's
        made => made?,
    }
    let below = sys::openat(here, OURSELVES, DIRECTORY)?;
    sys::write_file(below, PROCS, b"0")?; // 0: whoever writes it
    let mut alone = true;
    each_line(here, PROCS, &mut |_| {
        alone = sys::rehearses(); // where we are here, too
        Ok(())
    })?;
    if !alone {
        sys::write_file(here, PROCS, b"0")?;
        let _of_another = sys::rmdir(here, OURSELVES);
    }
    sys::close(below)?;
    sys::close(here)?;
    Ok(alone)
}

// --- removing ------------------------------------------------------------------------------------

/// Removes the cgroups in `parent` whose names begin with `prefix`, and which no living tinyctr
/// holds. What can't be removed is left to somebody who can.
#[inline(never)] // a large frame
fn sweep(parent: i32, prefix: &[u8]) {
    let _left_to_others = sys::each_entry(parent, &mut |entry| {
        let mut name = Line::<256>::new();
        let name = name.push(entry).push("\0").as_cstr().unwrap_or(c"");
        // Neither `.` nor `..`; and most entries are files.
        if entry.starts_with(prefix)
            && !entry.starts_with(b".")
            && let Ok(cgroup) = sys::openat(parent, name, DIRECTORY)
        {
            if sys::flock(cgroup).is_ok() {
                let _left_to_others = remove(parent, name, cgroup);
            }
            let _closed = sys::close(cgroup);
        }
        Ok(())
    });
}

/// Removes a cgroup, and with it those that were made in it. Whoever is still in there is killed:
/// v2 has a file for that; of v1, and of kernels before 5.14, the processes are killed one by one,
/// and new ones may come in between. So it is tried again, for 5 seconds.
///
/// There is nothing to wait on that both have: cgroup.events is v2's, a pidfd is of one process.
/// And almost always nobody is left, and nothing is waited for.
fn remove(parent: i32, name: &CStr, cgroup: i32) -> Result<(), Errno> {
    let mut answer = Ok(());
    for _ in 0..500 {
        answer = sys::rmdir(parent, name);
        if answer != Err(Errno::EBUSY) {
            break;
        }
        if sys::write_file(cgroup, c"cgroup.kill", b"1").is_err() {
            each_line(cgroup, PROCS, &mut |line| {
                let pid = line.iter().fold(0_i32, |pid, byte| pid * 10 + i32::from(byte & 15));
                // 0 would be our own group; it is one of another PID namespace.
                if pid == 0 { Ok(()) } else { sys::kill(pid, libc::SIGKILL).or(Ok(())) }
            })?;
        }
        sweep(cgroup, b"");
        sys::sleep_a_little();
    }
    answer
}

// --- lines and words -----------------------------------------------------------------------------

/// Gives each whole line of a file's first page to `take`. What is beyond it counts as not there:
/// more processes than that are killed in more than one turn.
#[inline(never)] // once
fn each_line(
    directory: i32,
    file: &CStr,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut text = [0; 4096];
    let fd = sys::openat(directory, file, O::CLOEXEC)?;
    let mut text = sys::read(fd, &mut text)?;
    while has(text, b'\n') {
        take(take_until(&mut text, b'\n'))?;
    }
    sys::close(fd)
}

fn has_word(mut list: &[u8], word: &[u8]) -> bool {
    while !list.is_empty() {
        if take_until(&mut list, b',') == word {
            return true;
        }
    }
    false
}
