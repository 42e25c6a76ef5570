/* A unit whose directory and file numbers are not those of the others, and whose code ends with a call. */
#include "../include/linux/helpers.h"
#include "third.h"

int kept third(int a)
{
	if (bounded(a, 9))
		return clamped(a);
	{
		int b = middle(a, 7);

		if (b == a)
			stop(b);
		return clamped(b);
	}
}

void kept __attribute__((noreturn)) leave(int a)
{
	stop(clamped(a));
}
