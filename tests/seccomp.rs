//! The system call filter, held against a list of every call (`tests/golden/`). That list was not
//! made from the filter's tables, but from docker's profile and the kernel's headers. Twice:
//!
//! - an interpreter of BPF runs our program, and one that seccompiler assembles from the list;
//! - the kernel runs our program, and a second one that keeps every call from being made.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use libc::{ENOSYS, EPERM, EXDEV, seccomp_data, sock_filter};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use syscalls::Sysno;
use tinyctr::seccomp::program;

use common::{require, stdout};

// --- the list ------------------------------------------------------------------------------------

/// A line of the list.
struct Entry {
    name: String,
    refusal: Option<Refusal>,
}

struct Refusal {
    errno: i32,
    condition: Option<Condition>,
    /// Capabilities any of which lifts it.
    unless: u64,
}

/// What is refused, by one argument.
struct Condition {
    arg: u8,
    test: Test,
}

enum Test {
    In(Vec<u32>),
    NotIn(Vec<u32>),
    Mask(u32),
}

/// By number from 0 on, as in linux/capability.h.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID \
    SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER \
    SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE \
    SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN \
    SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

/// Those that docker's containers have.
const USUAL: &str = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP \
    NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";

fn capability(name: &str) -> u64 {
    let name = name.trim_start_matches("CAP_");
    1 << CAPABILITIES.split_whitespace().position(|known| known == name).expect(name)
}

fn capabilities(names: &str) -> u64 {
    names.split_whitespace().map(capability).sum()
}

/// No capability, each one, the usual ones, all.
fn capability_sets() -> Vec<u64> {
    let each = CAPABILITIES.split_whitespace().map(capability);
    [0, capabilities(USUAL), capabilities(CAPABILITIES), u64::MAX].into_iter().chain(each).collect()
}

fn list() -> &'static BTreeMap<u32, Entry> {
    static LIST: OnceLock<BTreeMap<u32, Entry>> = OnceLock::new();
    LIST.get_or_init(|| {
        let name = format!("tests/golden/seccomp-{}.txt", std::env::consts::ARCH);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = fs::read_to_string(path).expect("there is a list for this architecture");
        text.lines().filter(|line| !line.starts_with('#')).map(entry).collect()
    })
}

/// `56 clone EPERM if arg0 & 0x7e020000 unless CAP_SYS_ADMIN`
fn entry(line: &str) -> (u32, Entry) {
    let [number, name, verdict] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("a number, a name, a verdict: {line}");
    };
    let (verdict, unless) = verdict.split_once(" unless ").unwrap_or((verdict, ""));
    let (verdict, condition) = match verdict.split_once(" if ") {
        Some((verdict, condition)) => (verdict, Some(condition_of(condition))),
        None => (verdict, None),
    };
    let unless = capabilities(unless);
    let refusal = |errno| Some(Refusal { errno, condition, unless });
    let refusal = match verdict {
        "allow" => None,
        "EPERM" => refusal(EPERM),
        "ENOSYS" => refusal(ENOSYS),
        _ => panic!("{line}"),
    };
    (number.parse().expect(line), Entry { name: name.to_owned(), refusal })
}

fn condition_of(text: &str) -> Condition {
    let (arg, test) = text.strip_prefix("arg").and_then(|it| it.split_once(' ')).expect(text);
    let values = |text: &str| text.split(' ').map(value).collect();
    let test = if let Some(mask) = test.strip_prefix("& ") {
        Test::Mask(value(mask))
    } else if let Some(list) = test.strip_prefix("in ") {
        Test::In(values(list))
    } else {
        Test::NotIn(values(test.strip_prefix("not in ").expect(text)))
    };
    Condition { arg: arg.parse().expect(text), test }
}

fn value(text: &str) -> u32 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.expect(text)
}

#[test]
fn the_list_has_every_call_that_there_is() {
    let listed: Vec<(u32, &str)> =
        list().iter().map(|(number, entry)| (*number, entry.name.as_str())).collect();
    let known = 0..=Sysno::last().id() as usize;
    let known = known.filter_map(Sysno::new).map(|call| (call.id() as u32, call.name()));
    assert_eq!(listed, known.collect::<Vec<_>>());
}

// --- the oracle ----------------------------------------------------------------------------------

/// What seccompiler makes of the list. Each of its programs knows two answers; it takes two.
struct Oracle {
    allow: Vec<sock_filter>,
    refuse: Vec<sock_filter>,
}

impl Oracle {
    fn new(capabilities: u64) -> Oracle {
        let (mut allow, mut refuse) = (BTreeMap::new(), BTreeMap::new());
        for (number, entry) in list() {
            let number = i64::from(*number);
            match &entry.refusal {
                None => drop(allow.insert(number, vec![])),
                Some(refusal) if refusal.unless & capabilities != 0 => {
                    drop(allow.insert(number, vec![]));
                }
                Some(refusal) => {
                    if let Some(condition) = &refusal.condition {
                        allow.insert(number, condition.rules());
                    }
                    if refusal.errno == EPERM {
                        refuse.insert(number, vec![]);
                    }
                }
            }
        }
        let [eperm, enosys] = [EPERM, ENOSYS].map(|errno| SeccompAction::Errno(errno as u32));
        Oracle {
            allow: compiled(allow, SeccompAction::Allow, eperm.clone()),
            refuse: compiled(refuse, eperm, enosys),
        }
    }

    fn answer(&self, data: &Data) -> Answer {
        match run(&self.allow, data).0 {
            Answer::Allow => Answer::Allow,
            _ => run(&self.refuse, data).0,
        }
    }
}

fn compiled(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    found: SeccompAction,
    otherwise: SeccompAction,
) -> Vec<sock_filter> {
    let arch = std::env::consts::ARCH.try_into().expect("seccompiler knows it");
    let filter = SeccompFilter::new(rules, otherwise, found, arch).expect("the rules are sound");
    let program: BpfProgram = filter.try_into().expect("it fits");
    let same =
        |it: seccompiler::sock_filter| sock_filter { code: it.code, jt: it.jt, jf: it.jf, k: it.k };
    program.into_iter().map(same).collect()
}

impl Condition {
    /// What is not refused: any of the rules, each of which is all of its conditions.
    fn rules(&self) -> Vec<SeccompRule> {
        let is = |operator, value: u32| {
            let width = SeccompCmpArgLen::Dword;
            SeccompCondition::new(self.arg, width, operator, value.into()).expect("it is sound")
        };
        let rule = |conditions| SeccompRule::new(conditions).expect("it has conditions");
        match &self.test {
            Test::In(values) => {
                vec![rule(values.iter().map(|value| is(SeccompCmpOp::Ne, *value)).collect())]
            }
            Test::NotIn(values) => {
                values.iter().map(|value| rule(vec![is(SeccompCmpOp::Eq, *value)])).collect()
            }
            Test::Mask(mask) => vec![rule(vec![is(SeccompCmpOp::MaskedEq((*mask).into()), 0)])],
        }
    }

    /// Values at which the test may tip.
    fn edges(&self) -> Vec<u32> {
        match &self.test {
            Test::In(values) | Test::NotIn(values) => {
                values.iter().flat_map(|it| [it.wrapping_sub(1), *it, it.wrapping_add(1)]).collect()
            }
            Test::Mask(_) => (0..32).map(|bit| 1 << bit).collect(),
        }
    }
}

// --- an interpreter ------------------------------------------------------------------------------

/// What a program is asked about.
#[derive(Clone, Copy, Debug)]
struct Data {
    number: u32,
    arch: u32,
    args: [u64; 6],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    Errno(i32),
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = AUDIT_ARCH_X86_64;

/// x32's bit in the number of a call.
const X32: u32 = 0x4000_0000;

impl Data {
    fn native(number: u32, args: [u64; 6]) -> Data {
        Data { number, arch: ARCH, args }
    }

    /// A word of `struct seccomp_data`.
    fn word(&self, offset: usize) -> u32 {
        const NR: usize = offset_of!(seccomp_data, nr);
        const ARCH: usize = offset_of!(seccomp_data, arch);
        const ARGS: usize = offset_of!(seccomp_data, args);
        match offset {
            NR => self.number,
            ARCH => self.arch,
            ARGS.. => {
                let bytes = self.args[(offset - ARGS) / 8].to_ne_bytes();
                let at = (offset - ARGS) % 8;
                u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
            }
            _ => panic!("nobody has to look at {offset}"),
        }
    }
}

/// The answer of a program, and how many instructions that took. Knows the instructions that are
/// used here, as the kernel's documentation (networking/filter) has them.
fn run(program: &[sock_filter], data: &Data) -> (Answer, usize) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const ALWAYS: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let (mut accumulator, mut next, mut steps) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next];
        (next, steps) = (next + 1, steps + 1);
        let is_met = match code {
            LOAD => {
                accumulator = data.word(k as usize);
                continue;
            }
            AND => {
                accumulator &= k;
                continue;
            }
            ALWAYS => {
                next += k as usize;
                continue;
            }
            RETURN => return (answer(k), steps),
            EQUAL => accumulator == k,
            GREATER => accumulator > k,
            AT_LEAST => accumulator >= k,
            ANY_BIT => accumulator & k != 0,
            _ => panic!("an instruction {code:#x}"),
        };
        next += usize::from(if is_met { jt } else { jf });
    }
}

fn answer(value: u32) -> Answer {
    match value & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => Answer::Allow,
        libc::SECCOMP_RET_ERRNO => Answer::Errno((value & libc::SECCOMP_RET_DATA) as i32),
        _ => panic!("an answer {value:#x}"),
    }
}

// --- by interpreter ------------------------------------------------------------------------------

/// Beyond the newest call, for some years.
const NUMBERS: std::ops::RangeInclusive<u32> = 0..=600;

/// Numbers that no call has, here or in x32.
fn strange_numbers() -> impl Iterator<Item = u32> {
    let far = [0x3fff_ffff, X32 + 1000, 0x7fff_ffff, 0x8000_0000, 0xc000_0000, u32::MAX - 1];
    NUMBERS.map(|number| X32 | number).chain(far).chain([u32::MAX]) // -1: a tracer skips a call
}

/// Values that mean something to a condition, their neighbours, and some that mean nothing.
fn edges() -> Vec<u32> {
    let refusals = list().values().filter_map(|entry| entry.refusal.as_ref());
    let conditions = refusals.filter_map(|refusal| refusal.condition.as_ref());
    let edges: BTreeSet<u32> = conditions.flat_map(Condition::edges).chain([12_345]).collect();
    assert!(edges.len() > 40, "the list has conditions");
    edges.into_iter().collect()
}

/// With what the kernel doesn't look at, and a comparison of 64 bits would.
const HIGH_HALVES: [u64; 3] = [0, 1 << 32, 0xffff_ffff << 32];

#[track_caller]
fn agree(ours: &[sock_filter], oracle: &Oracle, data: &Data) -> usize {
    let (answer, steps) = run(ours, data);
    assert_eq!(answer, oracle.answer(data), "{data:x?}");
    steps
}

#[test]
fn every_call_is_answered_as_listed_for_every_capability() {
    for capabilities in capability_sets() {
        let (ours, oracle) = (program(capabilities), Oracle::new(capabilities));
        for number in NUMBERS.chain(strange_numbers()) {
            for args in [[0; 6], [u64::MAX; 6], [1, 2, 3, 4, 5, 6]] {
                agree(&ours, &oracle, &Data::native(number, args));
            }
        }
    }
}

#[test]
fn arguments_are_compared_on_the_half_that_the_kernel_reads() {
    for capabilities in [0, capabilities(USUAL), capability("SYS_ADMIN"), u64::MAX] {
        let (ours, oracle) = (program(capabilities), Oracle::new(capabilities));
        for number in NUMBERS {
            for edge in edges() {
                for high in HIGH_HALVES {
                    let value = u64::from(edge) | high;
                    for args in [[value, 0, 0, 0, 0, 0], [u64::MAX, value, 7, 7, 7, 7]] {
                        agree(&ours, &oracle, &Data::native(number, args));
                    }
                }
            }
        }
    }
}

/// From a fixed seed: a failure comes again.
#[test]
fn a_million_calls_at_random_are_answered_as_listed() {
    let (mut state, edges) = (0x9e37_79b9_7f4a_7c15_u64, edges());
    let mut random = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..50 {
        let capabilities = random() & random();
        let (ours, oracle) = (program(capabilities), Oracle::new(capabilities));
        for _ in 0..20_000 {
            let number = match random() % 8 {
                0 => random() as u32,
                1 => [16, 41, 56, 135][random() as usize % 4], // the ones with conditions
                _ => random() as u32 % 512,
            };
            let args = [0; 6].map(|_: u64| match random() % 4 {
                0 => random(),
                1 => 1 << (random() % 64),
                _ => u64::from(edges[random() as usize % edges.len()]) | (random() << 32),
            });
            agree(&ours, &oracle, &Data::native(number, args));
        }
    }
}

#[test]
fn another_architecture_has_no_calls() {
    for capabilities in [0, u64::MAX] {
        let ours = program(capabilities);
        for arch in [AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, 0, u32::MAX] {
            for number in NUMBERS.chain(strange_numbers()).filter(|_| arch != ARCH) {
                let (answer, _) = run(&ours, &Data { number, arch, args: [0; 6] });
                assert_eq!(answer, Answer::Errno(ENOSYS), "{number:#x} of {arch:#x}");
            }
        }
    }
}

#[test]
fn the_search_is_short() {
    let ours = program(0);
    let steps = |number| run(&ours, &Data::native(number, [0; 6]));
    let allowed = NUMBERS.map(steps).filter(|(answer, _)| *answer == Answer::Allow);
    let all: Vec<usize> = allowed.map(|(_, steps)| steps).collect();
    let (longest, sum) = (all.iter().max().expect("some are allowed"), all.iter().sum::<usize>());
    println!("{} instructions; {longest} at most, {sum} for {} calls", ours.len(), all.len());
    assert!(*longest <= 15, "{longest}");
    assert!(ours.len() <= 100, "{}", ours.len());
}

// --- by the kernel -------------------------------------------------------------------------------

/// The last argument of a call that is to be made, though others are kept from it.
const PLEASE: u64 = 0x7469_6e79;

const NO_FILTER_YET: &str = "needs a process without a filter, on a kernel that has them";

/// Whether what we install is the only filter.
fn is_unfiltered() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    status.lines().any(|line| line == "Seccomp:\t0")
}

/// Keeps every call from being made: where nobody traces, SECCOMP_RET_TRACE means ENOSYS, and it
/// is weaker than an error of another filter. The calls that end with PLEASE are made.
fn keeper() -> [sock_filter; 4] {
    let of = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    let last =
        offset_of!(seccomp_data, args) + 5 * 8 + 4 * usize::from(cfg!(target_endian = "big"));
    [
        of(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, last as u32),
        of(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, PLEASE as u32),
        of(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        of(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_TRACE),
    ]
}

/// Our program, with EXDEV for ENOSYS: that one is what the kernel and the keeper say.
fn with_exdev(mut program: Vec<sock_filter>) -> Vec<sock_filter> {
    for instruction in &mut program {
        if instruction.k == libc::SECCOMP_RET_ERRNO | ENOSYS as u32 {
            instruction.k = libc::SECCOMP_RET_ERRNO | EXDEV as u32;
        }
    }
    program
}

/// seccomp(SECCOMP_SET_MODE_FILTER), for this thread and what it becomes.
fn install(program: &[sock_filter]) -> io::Result<()> {
    let given = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(), // the kernel only reads it
    };
    // SAFETY: no memory is involved.
    let unprivileged = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies `len` instructions and keeps no pointer.
    let installed = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const given) };
    if (unprivileged, installed) == (0, 0) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The errno of a call; 0 where it succeeds.
fn errno_of(number: u32, args: [u64; 6]) -> i32 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the callers choose calls that touch no memory, or a filter that keeps them.
    let result = unsafe { libc::syscall(i64::from(number.cast_signed()), a, b, c, d, e, f) };
    if result == -1 { nix::errno::Errno::last_raw() } else { 0 }
}

/// What `make` puts into `count` words, in a process of its own behind these filters; or the signal
/// that ended it.
fn behind(
    filters: &[&[sock_filter]],
    count: usize,
    make: impl Fn(&mut [i32]),
) -> Result<Vec<i32>, i32> {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut words = vec![0; count];
    // SAFETY: the child makes system calls, allocates nothing, and leaves by exit_group.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            for filter in filters {
                if install(filter).is_err() {
                    leave(1);
                }
            }
            make(&mut words);
            leave(i32::from(!tell(writer.as_raw_fd(), &words)));
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut told = Vec::new();
            reader.read_to_end(&mut told).expect("what the child says");
            match waitpid(child, None).expect("it is ours") {
                WaitStatus::Exited(_, 0) => {}
                WaitStatus::Signaled(_, signal, _) => return Err(signal as i32),
                other => panic!("the child: {other:?}"),
            }
            let word = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
            Ok(told.chunks(size_of::<i32>()).map(word).collect())
        }
    }
}

/// Whether all of it was written. A pipe that is being read takes any length, in parts.
fn tell(to: RawFd, words: &[i32]) -> bool {
    let (mut at, end) = (words.as_ptr_range().start as u64, words.as_ptr_range().end as u64);
    while at < end {
        let (number, to) = (libc::SYS_write, to as u64);
        // SAFETY: the kernel reads the words, which are there, and keeps no pointer.
        let written = unsafe { libc::syscall(number, to, at, end - at, 0_u64, 0_u64, PLEASE) };
        if written <= 0 {
            return false;
        }
        at += written as u64;
    }
    true
}

fn leave(code: i32) -> ! {
    let code = code as u64;
    loop {
        // SAFETY: the process ends here; nothing of it is needed any more.
        unsafe { libc::syscall(libc::SYS_exit_group, code, 0_u64, 0_u64, 0_u64, 0_u64, PLEASE) };
    }
}

/// The kernel's own, in code that it puts into traced programs: they pass every filter, since 6.14
/// and 6.18, and are SIGILL elsewhere.
const PASS_FILTERS: [u32; 2] = [335, 336]; // uretprobe, uprobe

/// None of the calls is made, whatever the filter answers.
#[test]
fn the_kernel_takes_the_program_and_answers_as_listed() {
    require!(is_unfiltered(), NO_FILTER_YET);
    let strange = [X32, X32 | 39, X32 | 512, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let numbers = NUMBERS.filter(|number| !PASS_FILTERS.contains(number));
    let numbers: Vec<u32> = numbers.chain(strange).collect();
    let values: Vec<u64> = edges().iter().map(|edge| u64::from(*edge) | 1 << 32).collect();
    let mut args = vec![[0; 6], [u64::MAX; 6]];
    args.extend(values.iter().map(|value| [*value, *value, 0, 0, 0, 0]));
    let calls: Vec<(u32, [u64; 6])> =
        numbers.iter().flat_map(|number| args.iter().map(|args| (*number, *args))).collect();
    for capabilities in [0, capabilities(USUAL), capability("SYS_ADMIN"), u64::MAX] {
        let ours = with_exdev(program(capabilities).to_vec());
        let told = behind(&[&ours, &keeper()], calls.len(), |words| {
            for (word, (number, args)) in words.iter_mut().zip(&calls) {
                *word = errno_of(*number, *args);
            }
        });
        let (told, oracle) = (told.expect("no signal"), Oracle::new(capabilities));
        assert_eq!(told.len(), calls.len());
        for ((number, args), errno) in calls.iter().zip(told) {
            let answer = match errno {
                ENOSYS => Answer::Allow, // the keeper's word
                EXDEV => Answer::Errno(ENOSYS),
                other => Answer::Errno(other),
            };
            let data = Data::native(*number, *args);
            assert_eq!(answer, oracle.answer(&data), "{data:x?}: errno {errno}");
        }
    }
}

/// A few calls that are made, and harm nothing.
#[test]
fn a_refused_call_fails_and_an_allowed_one_is_made() {
    require!(is_unfiltered(), NO_FILTER_YET);
    let call = |number: i64, first: u64, second: u64| (number as u32, [first, second, 0, 0, 0, 0]);
    let high = 1 << 32;
    let none = u32::MAX.into(); // no descriptor, no address family
    let expected = [
        (call(libc::SYS_getpid, 0, 0), 0),
        (call(libc::SYS_keyctl, none, 0), EPERM),
        (call(libc::SYS_io_uring_setup, 0, 0), EPERM),
        (call(libc::SYS_clone3, 0, 0), ENOSYS),
        (call(i64::from(Sysno::file_getattr.id()), 0, 0), ENOSYS),
        (call(i64::from(X32) | libc::SYS_getpid, 0, 0), ENOSYS),
        (call(-1, 0, 0), ENOSYS),
        (call(libc::SYS_ioctl, none, libc::FIONREAD), libc::EBADF),
        (call(libc::SYS_ioctl, none, libc::TIOCSTI), EPERM),
        (call(libc::SYS_ioctl, none, libc::TIOCSTI | high), EPERM),
        (call(libc::SYS_ioctl, none, libc::TIOCLINUX | high), EPERM),
        (call(libc::SYS_socket, none, 0), libc::EAFNOSUPPORT),
        (call(libc::SYS_socket, libc::AF_ALG as u64, 0), EPERM),
        (call(libc::SYS_socket, libc::AF_VSOCK as u64 | high, 0), EPERM),
        (call(libc::SYS_personality, none, 0), 0),
        (call(libc::SYS_personality, libc::ADDR_NO_RANDOMIZE as u64, 0), EPERM),
        (call(libc::SYS_clone, libc::CLONE_NEWUSER as u64 | high, 0), EPERM),
        (call(libc::SYS_unshare, 0, 0), EPERM),
    ];
    let told = behind(&[&program(capabilities(USUAL))], expected.len(), |words| {
        for (word, ((number, args), _)) in words.iter_mut().zip(&expected) {
            *word = errno_of(*number, *args);
        }
    });
    let expected: Vec<i32> = expected.iter().map(|(_, errno)| *errno).collect();
    assert_eq!(told, Ok(expected));
}

/// getpid, by the door of 32-bit programs.
#[cfg(target_arch = "x86_64")]
fn getpid_of_i386(words: &mut [i32]) {
    let result: u64;
    // SAFETY: getpid (20 there) touches no memory; older kernels clear these registers.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
    }
    words[0] = result as i32;
}

#[cfg(target_arch = "x86_64")]
#[test]
fn int_0x80_is_refused() {
    require!(is_unfiltered(), NO_FILTER_YET);
    let open = behind(&[], 1, getpid_of_i386);
    require!(open.is_ok_and(|words| words[0] > 0), "needs a kernel with i386's system calls");
    assert_eq!(behind(&[&program(u64::MAX)], 1, getpid_of_i386), Ok(vec![-ENOSYS]));
}

/// A command behind the filter of an ordinary container.
fn filtered(command: &mut Command) -> &mut Command {
    let program = program(capabilities(USUAL));
    // SAFETY: two system calls; nothing here allocates.
    unsafe { command.pre_exec(move || install(&program)) }
}

#[test]
fn programs_run_behind_it() {
    require!(is_unfiltered(), NO_FILTER_YET);
    let mut shell = Command::new("sh");
    let said =
        stdout(filtered(shell.args(["-c", "echo $(cat /proc/self/status | grep Seccomp:)"])));
    assert_eq!(said, "Seccomp: 2\n");
}

/// Behind it clone3 does not exist; a C library falls back to clone.
#[test]
fn threads_can_be_made_behind_it() {
    require!(is_unfiltered(), NO_FILTER_YET);
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "a_thread_can_be_made", "--test-threads=2"]).env_remove("TINYCTR_SKIPS");
    let said = stdout(filtered(&mut again));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_thread_can_be_made() {
    assert_eq!(std::thread::spawn(|| 7).join().ok(), Some(7));
}
