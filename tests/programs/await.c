/* Blocks all signals and waits for them, as inits and servers do: await
 *
 * Says which came, and ends with 6 after the second.
 */
#include <signal.h>
#include <stdio.h>

int main(void)
{
	sigset_t all;
	int signal;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("up");
	for (int count = 0; count < 2; count++) {
		do
			sigwait(&all, &signal);
		while (signal == SIGCHLD || signal == SIGCONT);
		printf("got %d\n", signal);
	}
	return 6;
}
