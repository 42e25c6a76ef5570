/* Inlined helpers, nested three deep, and one static function that stands in several files under one name. */
#ifndef HELPERS_H
#define HELPERS_H

#define always static inline __attribute__((always_inline))
#define separate __attribute__((noinline))
#define kept __attribute__((used))
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __init __attribute__((section(".init.text"), cold))

extern volatile int sink;
extern int opaque(int);
extern void complain(int) __attribute__((cold));
extern void stop(int) __attribute__((cold, noreturn));

always int innermost(int a)
{
	sink += a;
	return opaque(a + 1);
}

always int middle(int a, int b)
{
	int r = innermost(a);

	if (unlikely(r == b))
		complain(r);
	return r + innermost(b);
}

always int looping(int n)
{
	int total = 0;

	for (int i = 0; i < n; i++) {
		int scaled = i + i + i;
		{
			int more = innermost(scaled);

			total += middle(more, scaled);
		}
	}
	return total;
}

#endif
