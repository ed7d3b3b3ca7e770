//! In a virtual machine whose root is an initramfs: there the kernel itself refuses pivot_root, and
//! tinyctr is the only program that was copied in.

mod common;

use common::vm::{self, Initramfs};
use common::{compile, copy_image, have, require};

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
    let vm = vm::directory();
    require!(vm.is_some(), vm::NO_VM);
    require!(have("busybox") && have("cc"), "needs busybox (static) and cc");
    let machine = Initramfs::new(INIT, "");
    machine.make_directory("proc");
    copy_image(&machine.root().join("img"));
    compile("escape", &machine.root().join("img/escape"));
    let console = machine.boot(&vm.expect("it is set"), "512", "PATH=/");
    let said = |name: &str| console.said(name);
    let console = &console.0;
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
    assert!(said("after").starts_with("0\n"), "no mount is left: {console}");
}
