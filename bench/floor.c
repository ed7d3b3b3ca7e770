/* The floor: what `tinyctr --bare -q IMAGE COMMAND` asks of the kernel, and nothing else.
 *
 *     floor [-u MAP] IMAGE NAME COMMAND [ARG...]
 *
 * With -u as an ordinary user makes them: in a user namespace, whose ids are mapped by MAP.
 *
 * Same calls, same order, same flags; no options, no messages, no libc at run time. What tinyctr
 * takes longer than this is what tinyctr itself costs. Built by `make bench`:
 *
 *     cc -O2 -static -nostdlib -ffreestanding -fno-stack-protector -o floor floor.c
 */
#define _GNU_SOURCE /* O_PATH */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define GUARD 4096
#define STACK (64 * 1024)

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define CALL(name, a, b, c, d, e) \
	call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

static void must(long result)
{
	if (result < 0)
		CALL(exit_group, 125, 0, 0, 0, 0);
}

struct job {
	const char *image, *name, *map, *const *argv, *const *envp;
};

static long length_of(const char *text)
{
	long length = 0;

	while (text[length])
		length++;
	return length;
}

static void write_file(const char *file, const char *text)
{
	long fd = CALL(openat, AT_FDCWD, file, O_WRONLY | O_CLOEXEC, 0, 0);
	must(fd);
	must(CALL(write, fd, text, length_of(text), 0, 0));
	must(CALL(close, fd, 0, 0, 0, 0));
}

__attribute__((noreturn)) static void child(struct job *job)
{
	if (job->map) {
		write_file("/proc/self/setgroups", "deny");
		write_file("/proc/self/uid_map", job->map);
		write_file("/proc/self/gid_map", job->map);
	}
	must(CALL(sethostname, job->name, length_of(job->name), 0, 0, 0));
	must(CALL(mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0));
	must(CALL(mount, job->image, job->image, 0, MS_BIND | MS_REC, 0));
	long root = CALL(openat, AT_FDCWD, job->image, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0);
	must(root);
	long proc = CALL(openat, root, "proc",
			 O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, 0);
	must(proc);
	must(CALL(fchdir, proc, 0, 0, 0, 0));
	must(CALL(mount, "proc", ".", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	must(CALL(fchdir, root, 0, 0, 0, 0));
	must(CALL(pivot_root, ".", ".", 0, 0, 0));
	must(CALL(umount2, ".", MNT_DETACH, 0, 0, 0));
	must(CALL(chroot, ".", 0, 0, 0, 0));
	must(CALL(execve, job->argv[0], job->argv, job->envp, 0, 0));
	for (;;)
		CALL(exit_group, 127, 0, 0, 0, 0);
}

/* clone(flags, top) and child(job) on the new stack; see src/arch/x86_64/mod.rs. */
long spawn(long flags, void *top, void (*entry)(struct job *), struct job *job);
__asm__("spawn:\n"
	"	mov %rdx, -16(%rsi)\n"
	"	mov %rcx, -8(%rsi)\n"
	"	sub $16, %rsi\n"
	"	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n"
	"	xor %r8d, %r8d\n"
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	pop %rax\n"
	"	pop %rdi\n"
	"	call *%rax\n"
	"1:	ret\n");

__attribute__((noreturn, used)) static void begin(long *stack)
{
	static const char *const envp[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "container=tinyctr", 0
	};
	const char *const *argv = (const char *const *)(stack + 1);
	struct job job = { .envp = envp };
	int status = 0, user = stack[0] > 3 && argv[1][0] == '-';

	if (stack[0] < (user ? 6 : 4))
		must(-1);
	if (user) {
		job.map = argv[2];
		argv += 2;
	}
	job.image = argv[1];
	job.name = argv[2];
	job.argv = argv + 3;
	/* NORESERVE as tinyctr has it: the kernel's work is the same. */
	long base = call(SYS_mmap, 0, GUARD + STACK, 3 /* READ|WRITE */,
			 0x4022 /* PRIVATE|ANONYMOUS|NORESERVE */, -1, 0);
	must(base);
	must(CALL(mprotect, base, GUARD, 0, 0, 0));
	long pid = spawn(CLONE_VM | CLONE_VFORK | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS |
				 CLONE_NEWIPC | CLONE_NEWCGROUP |
				 (user ? CLONE_NEWUSER : 0) | SIGCHLD,
			 (void *)(base + GUARD + STACK), (void (*)(struct job *))child, &job);
	must(pid);
	must(CALL(wait4, pid, &status, 0, 0, 0));
	for (;;)
		CALL(exit_group, status >> 8 & 0xff, 0, 0, 0, 0);
}

__asm__(".globl _start\n"
	"_start:	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call begin\n");
