//! In a virtual machine whose root is an initramfs: there the kernel itself refuses pivot_root, and
//! tinyctr is the only program that was copied in.
//!
//! `TINYCTR_VM` names a directory with `qemu` (a program that takes the options of
//! qemu-system-x86_64) and `vmlinuz`; `tests/get-vm` makes one.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{binary, compile, copy_image, have, require, run, tempdir};

/// What the machine does. Each answer stands between lines that name it.
const INIT: &str = r#"#!/busybox sh
/busybox mount -t proc proc /proc
say() { echo "<$1>"; shift; "$@"; echo "status $?"; echo "</>"; }
echo host-only > /secret
say ps /tinyctr -q /img ps ax -o pid,args
say trace /tinyctr -q --trace /img true
say mounts /tinyctr -q --bare /img cat /proc/self/mountinfo
say sealed /tinyctr -q /img grep CapEff /proc/self/status
say devices /tinyctr -q /img ls /dev
say escape /tinyctr -q /img /escape /secret
say chroot /tinyctr -q --bare --ns uts /img /escape /secret
say after /busybox grep -c /img /proc/self/mountinfo
/busybox poweroff -f
"#;

#[test]
fn on_an_initramfs_the_root_is_covered_and_holds() {
    let vm = std::env::var_os("TINYCTR_VM").map(PathBuf::from);
    require!(vm.is_some(), "needs TINYCTR_VM, which tests/get-vm makes");
    require!(have("busybox") && have("cc"), "needs busybox (static) and cc");
    let console = boot(&vm.expect("it is set"));
    let said = |name: &str| -> &str {
        let start = console.find(&format!("<{name}>")).unwrap_or_else(|| panic!("{console}"));
        let rest = &console[start..];
        &rest[..rest.find("</>").unwrap_or_else(|| panic!("{console}"))]
    };
    assert!(said("ps").contains("1 ps ax -o pid,args"), "{console}");
    assert!(said("ps").contains("status 0"), "{console}");
    for call in [
        "pivot_root(\".\", \".\") = -1 EINVAL",
        "mount(\".\", \"/\", NULL, MS_MOVE, NULL) = 0",
        "chroot(\".\") = 0",
    ] {
        assert!(said("trace").contains(call), "{call} in {console}");
    }
    assert_eq!(said("mounts").matches(" - ").count(), 2, "the root and /proc: {console}");
    assert!(said("sealed").contains("00000000a80425fb"), "fourteen capabilities: {console}");
    assert!(said("devices").contains("urandom"), "{console}");
    assert!(!said("escape").contains("host-only"), "{console}");
    assert!(said("escape").contains("status 1"), "the climb ended inside: {console}");
    assert!(said("chroot").contains("host-only"), "a plain chroot does not hold: {console}");
    assert!(said("after").contains("\r\n0\r\n"), "no mount is left: {console}");
}

/// Boots, and returns what the serial console said.
fn boot(vm: &Path) -> String {
    let directory = tempdir();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("proc")).expect("a place");
    fs::write(root.join("init"), INIT).expect("it can be written");
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::copy(binary(), root.join("tinyctr")).expect("the one program that is copied in");
    let busybox = run(Command::new("sh").args(["-c", "command -v busybox"])).stdout;
    fs::copy(busybox.trim(), root.join("busybox")).expect("it was just found");
    copy_image(&root.join("img"));
    compile("escape", &root.join("img/escape"));
    let initramfs = directory.path().join("initramfs");
    let pack = r#"cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null > "$2""#;
    let packed = run(Command::new("sh").args(["-c", pack, "sh"]).args([&root, &initramfs]));
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
    let mut qemu = Command::new(vm.join("qemu"));
    qemu.args(["-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-kernel"]);
    qemu.arg(vm.join("vmlinuz")).arg("-initrd").arg(&initramfs);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 PATH=/"]).stdin(Stdio::null());
    run(&mut qemu).stdout
}
