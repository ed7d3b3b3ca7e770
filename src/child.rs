//! Level 9. THE STORY: what a container is, in the order in which it happens.
//!
//! The child runs on a stack of its own, but in its parent's memory (`CLONE_VM | CLONE_VFORK`):
//! as fast as it gets, and with hazards:
//!
//! 1. No signal handler may run here: it would change the parent's memory. There are none.
//! 2. Nothing is waited for: the parent, asleep until execve, could not help.
//! 3. Nothing is built or formatted, and nothing panics: it was all done in the plan.
//! 4. A failure is told through `Shared`, as a few words; the parent makes a message of it.
//! 5. Until execve, writing to any memory but our own stack and `Shared` writes to the parent's.
//!    (`--trace` does, and formats too: for study, in memory that is its own, see `sys/watch.rs`.)
//!    It is meant so where both are in the same step (`steps::LAST`), and have the same unpacked.
//!
//! With `--init` the memory is a copy, since our init stays; 4 then goes over the wire.

use core::convert::Infallible;
use core::ffi::CStr;
use syscalls::Errno;

use crate::arch::ThinCStr;
use crate::error::{Error, On};
use crate::flags::{Clone, Ms};
use crate::helper::Helper;
use crate::ids::{Identity, User};
use crate::mounts::{self, Mounts};
use crate::plan::{Plan, Root, Shared};
use crate::root::{self, Tree};
use crate::steps::Step;
use crate::sys::{self, Memory, Report, skippable, step};
use crate::{ids, init, lifetime, network, privileges, terminal};

/// Where the clone begins. The new namespaces are there already: clone(2) made them.
pub extern "C" fn child(shared: &Shared) -> ! {
    let plan = shared.plan;
    let Err(error) = enter_container(plan, shared).and_then(|()| match plan.init {
        false => become_command(plan, shared),
        true => be_init(plan, shared),
    });
    let error = error.settled();
    shared.failure.set(Some(error));
    if plan.init {
        tell_failure(plan, error);
    }
    sys::exit_group(error.exit_code())
}

/// Where our memory is not our parent's. Where that is gone nobody needs to know.
#[inline(never)] // packed
fn tell_failure<'a>(plan: &Plan<'a>, error: Error<'a>) {
    if let Some(wire) = plan.wire {
        let _unheard =
            sys::send(wire.childs, &Report { failure: Some(error), ..Report::default() });
    }
}

/// Out of the host's namespaces, into those of the container.
#[inline(never)] // smaller alone than among its caller's variables
fn enter_container<'a>(plan: &Plan<'a>, shared: &Shared<'_, 'a>) -> Result<(), Error<'a>> {
    // How much: the limits hold from here on.
    if let Some(cgroups) = shared.cgroups {
        let namespace = plan.namespaces.contains(Clone::NEWCGROUP);
        step(Step::Join, || cgroups.join(namespace).on(c"cgroup"))?;
    }
    // How long: not longer than our parent.
    if let Some(wire) = plan.wire {
        skippable(Step::DieWithParent, || lifetime::end_with_parent(wire, plan.guarded))?;
    }
    // With what of the caller's: nothing that passes on by itself.
    if plan.privileges.is_some() {
        privileges::shed_habits()?;
    }
    // Who: in a user namespace nobody is mapped yet, and nobody may do what follows.
    if let Some(maps) = &plan.maps {
        skippable(Step::MapIds, || maps.write())?;
    }
    if let Some(helper) = &plan.helper {
        helper.call()?;
        step(Step::MapIds, || become_user(plan, 0, 0, &[]))?;
    }
    // Under which name.
    if let Some(name) = plan.hostname {
        skippable(Step::Hostname, || sys::sethostname(name.to_bytes()).on(name))?;
    }
    // On which network.
    connect(plan, shared)?;
    // Where. First of all: what we mount from here on stays with us.
    if plan.namespaces.contains(Clone::NEWNS) {
        skippable(Step::Private, || sys::mount_propagation(c"/", Ms::REC | Ms::PRIVATE).on(c"/"))?;
    }
    match plan.root {
        Root::Host => {}
        Root::ChrootOnly(image) => root::chroot_only(image)?,
        Root::Image(image) => enter_image(plan, image)?,
    }
    // As whom, by the image's own word.
    let user = match &plan.user {
        Some(identity) => Some(find_user(identity, plan)?),
        None => None,
    };
    // At which terminal.
    if let (Some(terminal), Some(wire)) = (&plan.terminal, plan.wire) {
        let owner = user.as_ref().map(|user| user.uid);
        step(Step::Terminal, || terminal::take(terminal, wire.childs, owner))?;
    }
    if let Some(directory) = plan.workdir {
        let sealed = plan.privileges.is_some();
        skippable(Step::Workdir, || stand_in(directory, sealed))?;
    }
    // With which rights. From here on nothing is mounted any more.
    give_up_rights(plan, user.as_ref())
}

/// Where, with an image: its files, and what it finds in `/dev`, `/proc` and `/sys`.
fn enter_image<'a>(plan: &Plan<'a>, image: &'a CStr) -> Result<(), Error<'a>> {
    let tree = match plan.tree {
        Some(tree) => root::attach(tree, image)?,
        None => {
            root::bind(image)?;
            if plan.mounts.is_some() {
                root::without_devices(image)?;
            }
            root::open(image)?
        }
    };
    match &plan.mounts {
        // On shared mounts, what covers the host's /dev would cover it on the host as well.
        Some(mounts) if !sys::skips(Step::Private) => furnish(tree, mounts)?,
        _ => tree.mount_proc()?, // what ps reads: the processes of this PID namespace
    }
    let host = tree.enter()?;
    root::leave_host(host)
}

#[inline(never)] // packed
fn find_user(identity: &Identity, plan: &Plan) -> Result<User, Error<'static>> {
    let environment = plan.environment.take();
    let user = identity.find(environment);
    plan.environment.set(environment);
    user
}

/// As what.
fn become_command<'a>(plan: &Plan<'a>, shared: &Shared<'_, 'a>) -> Result<Infallible, Error<'a>> {
    if plan.wire.is_some() {
        step(Step::FreeSignals, || sys::block_signals(0).on(c"signals"))?;
    }
    step(Step::Exec, || execute(plan, shared))
}

/// With `--init` we have memory of our own, and stay: the command becomes our child, on memory that
/// we lend it. What becomes of that goes to our parent as a message.
#[inline(never)] // packed
fn be_init<'a>(plan: &Plan<'a>, shared: &Shared<'_, 'a>) -> Result<Infallible, Error<'a>> {
    let command = step(Step::Init, || {
        let (stack, _) = sys::map_memory(plan.page_size, 0, false).on(c"")?;
        sys::clone(Memory::Lent, Clone::empty(), stack, command, shared, None).on(c"")
    })?;
    if let Some(error) = shared.failure.take() {
        return Err(error);
    }
    if let Some(wire) = plan.wire {
        let program = shared.program.get();
        step(Step::Report, || {
            sys::send(wire.childs, &Report { program, ..Report::default() }).on(c"socket")?;
            sys::close(wire.childs).on(c"socket") // nothing more will come
        })?;
    }
    step(Step::Init, || init::run(command))
}

/// Where the clone of our init begins.
extern "C" fn command(shared: &Shared) -> ! {
    let Err(error) = become_command(shared.plan, shared);
    let error = error.settled();
    shared.failure.set(Some(error));
    sys::exit_group(error.exit_code())
}

/// In this order: the filter needs a right, the bounding set another, and so does who becomes
/// somebody else, who then has none.
fn give_up_rights(plan: &Plan, user: Option<&User>) -> Result<(), Error<'static>> {
    if let Some(privileges) = &plan.privileges {
        privileges::limit(privileges)?;
        privileges::bound(privileges)?;
    }
    let mut keep = plan.privileges.as_ref().map(|privileges| privileges.capabilities);
    if let Some(user) = user {
        let (uid, gid, groups) = (user.uid, user.gid, user.groups());
        step(Step::BecomeUser, || become_user(plan, uid, gid, groups))?;
        if uid != 0 {
            keep = Some(0);
        }
    }
    keep.map_or(Ok(()), privileges::cut)
}

/// Becomes somebody else, for whom the kernel has forgotten whom to end with.
#[inline(never)] // packed
fn become_user(plan: &Plan, uid: u32, gid: u32, groups: &[u32]) -> Result<(), Error<'static>> {
    // With one id each they are given up for good; so they may be where we ourselves are.
    if plan.maps.is_none() {
        match sys::setgroups(groups) {
            Err(Errno::EPERM) if ids::groups_are_denied() => {}
            answer => answer.on(c"groups")?,
        }
    }
    sys::setgid(gid).on(c"group")?;
    sys::setuid(uid).on(c"user")?;
    match plan.wire {
        Some(wire) if !sys::skips(Step::DieWithParent) => {
            lifetime::end_with_parent_again(wire, plan.guarded)
        }
        _ => Ok(()),
    }
}

/// Makes something of a network namespace of our own.
fn connect(plan: &Plan, shared: &Shared) -> Result<(), Error<'static>> {
    if plan.loopback {
        step(Step::Network, || sys::raise_loopback().on(c"lo"))?;
    }
    shared.pasta.map_or(Ok(()), Helper::call)
}

/// `/dev`, `/proc` and `/sys` of the container's own, whatever the image has there.
fn furnish(tree: Tree, mounts: &Mounts) -> Result<(), Error<'static>> {
    mounts::make_dev(mounts)?;
    mounts::make_proc(mounts)?;
    mounts::make_sys(mounts)?;
    if mounts.masked {
        mounts::mask(mounts)?;
    }
    if mounts.names != 0 {
        skippable(Step::HostFiles, || match tree.directory(c"etc") {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()), // a link could lead to the host's
            etc => network::share_files(etc.on(c"/etc")?, mounts.names),
        })?;
    }
    mounts::finish_dev(mounts)?;
    skippable(Step::Place, || {
        for (step, path) in [(Step::Dev, c"/dev"), (Step::Proc, c"/proc"), (Step::Sys, c"/sys")] {
            // What was skipped is the host's, and stays there.
            if !sys::skips(step) {
                tree.place(path)?;
            }
        }
        Ok(())
    })
}

/// Changes the working directory. Sealed, to one that is below our root: a link in /proc can lead
/// to another (CVE-2024-21626), and the kernel then calls it unreachable (getcwd(2)).
#[inline(never)] // a page of its frame, which is touched only where a directory was asked for
fn stand_in(directory: &CStr, sealed: bool) -> Result<(), Error<'_>> {
    sys::chdir(directory).on(directory)?;
    let mut path = [0; libc::PATH_MAX as usize];
    if sealed && !sys::getcwd(&mut path).on(directory)?.starts_with(b"/") {
        return Err(Errno::EXDEV).on(directory);
    }
    Ok(())
}

/// The way execvp(3) does it: the next directory where the program isn't in this one, and if one
/// was there but not for us, that is what we say in the end.
fn execute<'a>(plan: &Plan<'a>, shared: &Shared<'_, 'a>) -> Result<Infallible, Error<'a>> {
    let environment = plan.environment.take();
    let mut answer = Errno::ENOENT;
    for program in plan.programs.iter().copied().flatten() {
        shared.program.set(Some(program));
        let own_name = [Some(program), None];
        let argv = plan.argv.unwrap_or(&own_name);
        let Err(errno) = sys::execve(program.to_cstr(), argv, environment);
        match errno {
            Errno::EACCES => answer = errno,
            Errno::ENOENT | Errno::ENOTDIR => {} // not here
            errno => return Err(Error::last(spoken(plan, program), errno)),
        }
    }
    let last = plan.programs.last().copied().flatten();
    let object = last.map_or(ThinCStr::new(c""), |program| spoken(plan, program));
    Err(Error::last(object, answer))
}

/// What the user calls the program: the command as it was given, else the shell's path.
fn spoken<'a>(plan: &Plan<'a>, program: ThinCStr<'a>) -> ThinCStr<'a> {
    let given = plan.argv.and_then(|argv| argv.first().copied().flatten());
    given.unwrap_or(program)
}
