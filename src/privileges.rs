//! Level 6. What the command may do: the last things before it runs, since what comes before needs
//! the rights that are given up here.
//!
//! Hazard: the order. A filter may be installed by who has no_new_privs or CAP_SYS_ADMIN, so the
//! filter comes before the capabilities go; it lets prctl(2), capset(2) and execve(2) pass.

use syscalls::Errno;

use crate::caps::{self, Set};
use crate::error::{Error, On};
use crate::flags::O;
use crate::seccomp;
use crate::steps::Step;
use crate::sys::{self, skippable};

/// What the command gets.
pub struct Privileges {
    pub capabilities: Set,
    /// execve may give more than that, to set-user-ID programs.
    pub new_privs: bool,
    /// `None`: every system call.
    pub filter: Option<&'static seccomp::Program>,
}

impl Privileges {
    /// Whether the command may change its ids, where it has others. By that the kernel forgets with
    /// whom it was to end; and where it gains rights (`new_privs`).
    pub fn may_change_ids(&self) -> bool {
        self.capabilities & caps::IDS != 0
    }
}

/// What a process has of its caller without having asked for it.
pub fn shed_habits() -> Result<(), Error<'static>> {
    skippable(Step::Keyring, || match sys::keyctl_join_session_keyring() {
        Err(Errno::ENOSYS) => Ok(()), // a kernel without keyrings
        answer => answer.on(c"session keyring"),
    })?;
    skippable(Step::OomScore, expendable)?;
    skippable(Step::CoreDumps, || match sys::limit_core_dumps() {
        Err(Errno::EPERM) => Ok(()), // a hard limit of 0, which is none to raise
        answer => answer.on(c"RLIMIT_CORE"),
    })
}

/// Not spared by the OOM killer, though our caller may be. To be more expendable than he is needs
/// no right, but is not for us to decide.
fn expendable() -> Result<(), Error<'static>> {
    let file = c"/proc/self/oom_score_adj";
    let mut score = [0; 8];
    let fd = match sys::openat(sys::AT_FDCWD, file, O::CLOEXEC) {
        Err(Errno::ENOENT) => return Ok(()), // no proc here
        opened => opened.on(file)?,
    };
    let spared = sys::read(fd, &mut score).on(file)?.starts_with(b"-"); // execve closes it
    if !spared {
        return Ok(());
    }
    sys::write_file(sys::AT_FDCWD, file, b"0").on(file)
}

/// No more rights than these, for the command and all that comes from it.
pub fn limit(privileges: &Privileges) -> Result<(), Error<'static>> {
    skippable(Step::Umask, || {
        sys::umask(0o022);
        Ok(())
    })?;
    skippable(Step::HideMemory, || sys::prctl_set_undumpable().on(c"dumpable"))?;
    if !privileges.new_privs {
        skippable(Step::NoNewPrivs, || sys::prctl_set_no_new_privs().on(c"no_new_privs"))?;
    }
    if let Some(filter) = privileges.filter {
        skippable(Step::Filter, || sys::seccomp_set_mode_filter(filter).on(c"seccomp"))?;
    }
    Ok(())
}

/// First what execve could give back.
pub fn bound(privileges: &Privileges) -> Result<(), Error<'static>> {
    skippable(Step::Capabilities, || bound_capabilities(privileges).on(c"capabilities"))
}

/// Then what we have.
pub fn cut(keep: Set) -> Result<(), Error<'static>> {
    skippable(Step::Capabilities, || cut_capabilities(keep).on(c"capabilities"))
}

fn bound_capabilities(privileges: &Privileges) -> Result<(), Errno> {
    let keep = privileges.capabilities;
    for capability in (0..u64::BITS).filter(|number| keep >> number & 1 == 0) {
        match sys::prctl_capbset_drop(capability) {
            Err(Errno::EINVAL) => break, // the kernel knows no more of them
            // Without CAP_SETPCAP nothing can be taken out of the bounding set. Who has no more
            // than he may keep, and never gains any, needs nothing taken out.
            Err(Errno::EPERM) if !privileges.new_privs && sys::capget()? & !keep == 0 => break,
            answer => answer?,
        }
    }
    Ok(())
}

fn cut_capabilities(keep: Set) -> Result<(), Errno> {
    match sys::capset(keep) {
        Err(Errno::EPERM) => match sys::capget()? & keep {
            all if all == keep => Err(Errno::EPERM),
            less => sys::capset(less),
        },
        answer => answer,
    }
}
