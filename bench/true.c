/* The shortest program: exit_group(0). What it takes to start is the price of any start. */
__asm__(".globl _start\n"
	"_start:	xor %edi, %edi\n"
	"	mov $231, %eax\n"
	"	syscall\n");
