#include "linux/helpers.h"

/* The other function of this name, of another size. */
static separate int duplicate(int a)
{
	int r = innermost(a);

	while (r > sink)
		r -= middle(r, a);
	return r;
}

static separate int local(int a)
{
	int r = middle(a, a + 1);

	if (r < 0) {
		int again = looping(r);

		r += again + duplicate(again);
	}
	return r;
}

int kept other(int a) { return local(a) + local(a + a) + duplicate(a); }

int kept one_line(int a) { return innermost(a); }

__attribute__((cold)) int kept chilly(int a) { return looping(local(a)); }

int kept __init late(int a)
{
	return looping(a) - one_line(a);
}
