/* What the other units need, in little: with one of them a program for files that are stored. */
#include "linux/helpers.h"

volatile int sink;

extern int third(int);

separate int opaque(int a)
{
	return a ^ sink;
}

__attribute__((cold)) separate void complain(int a)
{
	sink = middle(a, 3);
}

__attribute__((cold, noreturn)) separate void stop(int a)
{
	for (;;)
		sink = innermost(a);
}

int kept __init prepare(int n)
{
	switch (n) {
	case 0: return looping(n + 2);
	case 1: return middle(n, 1);
	default: stop(n);
	}
}

void start(void)
{
	sink = prepare(sink) + third(sink);
	for (;;)
		;
}
