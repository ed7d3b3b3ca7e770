/* Dies of a fault of its own. The kernel's signal for that ends even a PID 1, which is spared the
 * one that it sends itself. */
int main(void)
{
	*(volatile int *)0 = 0;
	return 0;
}
