#include "linux/helpers.h"

volatile int sink;

struct pair {
	int a, b;
};

extern int other(int);
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

/* One of two functions of this name. */
static separate int duplicate(int a)
{
	sink -= a;
	return (a << 3) + opaque(sink);
}

static separate int partly(struct pair *p, int unused)
{
	if (unlikely(p->a == 0)) {
		complain(p->b);
		return duplicate(p->b) + unused;
	}
	return looping(p->a) + p->b;
}

/* Its last instruction may be the call of a function that never returns. */
static separate int checked(int n)
{
	if (n < sink)
		return middle(n, sink);
	stop(innermost(n));
}

int kept work(int n)
{
	struct pair p = { n, n + 1 };
	int total = duplicate(n);

	switch (n & 7) {
	case 0: total += innermost(n); break;
	case 1: total -= middle(n, total); break;
	case 2: total ^= looping(n); break;
	case 3: total ^= partly(&p, 4); break;
	case 4: complain(n); break;
	case 5: total += checked(n); break;
	case 6: stop(total);
	default: break;
	}
	return total;
}

int kept __init prepare(int n)
{
	struct pair p = { n, 1 };

	return partly(&p, 2) + middle(n, 1);
}

void start(void)
{
	sink = prepare(sink) + work(sink) + other(sink) + third(sink);
	for (;;)
		;
}
