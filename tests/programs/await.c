/* Blocks all signals and waits for them, as inits and servers do: await [SIGNAL]
 *
 * Of one signal alone where that is given, by its number. Says which came, and ends with 6 after
 * the second.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	sigset_t awaited;
	int signal;
	sigfillset(&awaited);
	if (argc > 1) {
		sigemptyset(&awaited);
		sigaddset(&awaited, atoi(argv[1]));
	}
	sigprocmask(SIG_BLOCK, &awaited, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("up");
	for (int count = 0; count < 2; count++) {
		do
			sigwait(&awaited, &signal);
		while (signal == SIGCHLD || signal == SIGCONT);
		printf("got %d\n", signal);
	}
	return 6;
}
