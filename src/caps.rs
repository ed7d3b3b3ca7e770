//! Level 1. Capabilities by name, and the set that a container has
//! ([capabilities(7)](https://man7.org/linux/man-pages/man7/capabilities.7.html)).

use core::ffi::CStr;

use crate::arch::until_nul;

/// The names, by number from 0 on, without their `CAP_`: include/uapi/linux/capability.h.
const NAMES: &[u8] = b"chown dac_override dac_read_search fowner fsetid kill setgid setuid \
    setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner \
    sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource \
    sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin \
    syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore ";

/// The same, each a C string.
static NAMES_AND_NULS: [u8; NAMES.len()] = {
    let mut names = [0; NAMES.len()];
    let mut at = 0;
    while at < NAMES.len() {
        names[at] = if NAMES[at] == b' ' { 0 } else { NAMES[at] };
        at += 1;
    }
    names
};

/// A bit for each, as the kernel has it.
pub type Set = u64;

/// Those that only a later kernel knows, too.
pub const ALL: Set = !0;

pub const SETPCAP: u32 = 8;

/// To become somebody else.
pub const IDS: Set = 1 << 6 | 1 << 7; // setgid, setuid

/// The usual fourteen, which docker and podman give as well: enough to install packages and to
/// drop one's own rights, not enough to touch the machine.
pub const DEFAULT: Set = {
    const FOURTEEN: [u32; 14] = [
        0,       // chown
        1,       // dac_override
        3,       // fowner
        4,       // fsetid
        5,       // kill
        6,       // setgid
        7,       // setuid
        SETPCAP, // to drop more of them
        10,      // net_bind_service
        13,      // net_raw
        18,      // sys_chroot
        27,      // mknod: what is made can't be opened, no mount of the container's allows it
        29,      // audit_write
        31,      // setfcap
    ];
    let mut set = 0;
    let mut at = 0;
    while at < FOURTEEN.len() {
        set |= 1 << FOURTEEN[at];
        at += 1;
    }
    set
};

/// `chown` for 0; a capability that is newer than this list has no name.
pub fn name(number: u32) -> Option<&'static CStr> {
    names().nth(number as usize)
}

fn names() -> impl Iterator<Item = &'static CStr> {
    let mut rest = &NAMES_AND_NULS[..];
    core::iter::from_fn(move || {
        let name = until_nul(rest)?;
        rest = rest.get(name.count_bytes() + 1..)?;
        Some(name)
    })
}

/// A list such as `chown,CAP_SYS_ADMIN`, or `all`; `None` where it names one that there isn't.
#[inline(never)] // smaller alone than among its caller's variables
pub fn parse(list: &[u8]) -> Option<Set> {
    let mut set = 0;
    for word in list.split(|&byte| byte == b',') {
        let bare = match word.split_at_checked(4) {
            Some((prefix, rest)) if is_same(prefix, b"cap_") => rest,
            _ => word,
        };
        if is_same(bare, b"all") {
            set = ALL;
            continue;
        }
        set |= 1 << names().position(|name| is_same(name.to_bytes(), bare))?;
    }
    Some(set)
}

/// In either case. (`eq_ignore_ascii_case` is 400 bytes of vector instructions.)
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        // include/uapi/linux/capability.h
        for (number, expected) in [(0, "chown"), (8, "setpcap"), (21, "sys_admin"), (39, "bpf")] {
            assert_eq!(name(number).map(CStr::to_bytes), Some(expected.as_bytes()));
            assert_eq!(parse(expected.as_bytes()), Some(1 << number));
        }
        assert_eq!(name(40), Some(c"checkpoint_restore"));
        assert_eq!(name(41), None);
    }

    #[test]
    fn a_list_is_of_names_in_either_case_with_or_without_their_prefix() {
        assert_eq!(parse(b"chown,CAP_DAC_OVERRIDE,Cap_Kill"), Some(1 | 1 << 1 | 1 << 5));
        assert_eq!(parse(b"all"), Some(ALL));
        assert_eq!(parse(b"ALL,chown"), Some(ALL));
        for bad in ["", "chown,", ",chown", "cap_", "chow", "chown kill", "cap_cap_chown", "none"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_default_is_fourteen() {
        assert_eq!(DEFAULT, 0xa804_25fb); // what docker's containers show as CapEff
        assert_eq!(DEFAULT.count_ones(), 14);
    }
}
